"""Least privilege in the embedded cloud: every call of a role is checked before it is sent.

botocore's own events carry it: `before-parameter-build` shows a call's parameters, `before-call`
its credentials, and an answer returned from there replaces the request, so a denial is raised by
botocore itself, as the service's own error. Events are registered once, when this module is first
imported (as moto does), and look at nothing until `install`. Import it before the first client.

Who is checked: credentials of a role's session (their access key is in moto's STS). Everyone else
is the administrator: the process's own credentials, IAM users, and sessions of `exempt` roles.
A session's trust is checked when a checked session assumes the role; an administrator assumes
what he likes, as Lambda does with the roles of its functions.

Policies are read from moto at each call, so what a stack, or a test, changes is true at once.
"""

import contextlib
import itertools
import json
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.handlers import BUILTIN_HANDLERS
from moto.awslambda.models import lambda_backends
from moto.dynamodb.models import dynamodb_backends
from moto.ecr.models import ecr_backends
from moto.events.models import events_backends
from moto.iam.models import Role, iam_backends
from moto.kms.models import kms_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from moto.sts.models import sts_backends

from local.actions import Call, Need, needs
from local.iam import (
    Decision,
    Matched,
    Policy,
    Principal,
    Request,
    combined,
    decide,
    explain,
    matches_action,
    parse,
)

__all__ = [
    "ADMINISTRATOR",
    "ORGANIZATION",
    "Authorization",
    "Denial",
    "Session",
    "Unused",
    "install",
    "remove_statement",
    "uninstall",
]

ADMINISTRATOR = "administrator"
"""The role, in no account's IAM, whose sessions are the embedded cloud's own."""

ORGANIZATION = "o-sageopsdemo"
"""The organisation to which every account of the embedded cloud belongs."""

# Services whose resource policy must always consent: 'Key policies in AWS KMS', role trust.
_ALWAYS_ASK_RESOURCE = {"kms", "sts"}


@dataclass(frozen=True)
class Session:
    """A role's session: what STS remembers of an AssumeRole."""

    role: str
    """The role's ARN."""
    name: str
    policy: Policy | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    source_identity: str = ""
    expires: datetime | None = None
    """None for a session that an administrator made: Lambda keeps a function's fresh."""

    @property
    def account(self) -> str:
        return _account(self.role)

    @property
    def arn(self) -> str:
        role = self.role.rpartition("/")[2]
        return f"arn:aws:sts::{self.account}:assumed-role/{role}/{self.name}"

    @property
    def principal(self) -> Principal:
        return Principal(account=self.account, arn=self.arn, role=self.role)


@dataclass(frozen=True)
class Denial:
    """A call that was refused: `service` and `operation` as botocore names them."""

    session: str
    service: str
    operation: str
    action: str
    resource: str
    message: str


@dataclass(frozen=True, order=True)
class Unused:
    """An action that a role's policy allows and that nothing has used."""

    role: str
    policy: str
    statement: str
    action: str


# --- where policies are kept -----------------------------------------------------------------


def _account(arn: str) -> str:
    return arn.split(":")[4]


def _role(arn: str) -> Role | None:
    roles = iam_backends[_account(arn)]["aws"].roles.values()
    return next((each for each in roles if each.arn == arn), None)


def _existing(arn: str) -> Role:
    if (role := _role(arn)) is None:
        raise LookupError(f"{arn} is not in IAM")
    return role


def _document(policy: Any) -> str:
    """JSON text of a policy, which moto keeps as text, bytes or an object."""
    if isinstance(policy, bytes):
        return policy.decode()
    return policy if isinstance(policy, str) else json.dumps(policy)


def _managed(arn: str, account: str) -> Policy:
    held = iam_backends[account]["aws"].managed_policies[arn]
    version = next(each for each in held.versions if each.version_id == held.default_version_id)
    return parse(_document(version.document), arn)


def _identity_policies(role: Role) -> list[Policy]:
    """Inline and attached policies of a role."""
    inline = [parse(_document(text), name) for name, text in role.policies.items()]
    return inline + [_managed(arn, role.account_id) for arn in role.managed_policies]


def _boundary(role: Role) -> Policy | None:
    arn = role.permissions_boundary_arn
    return _managed(arn, role.account_id) if arn else None


def _bucket_owner(arn: str) -> str:
    """The account of a bucket or an object; empty when there is no such bucket."""
    owner: str = s3_backends.bucket_accounts.get(_bucket_name(arn), ("aws", ""))[1]
    return owner


def _bucket_name(arn: str) -> str:
    return arn.removeprefix("arn:aws:s3:::").partition("/")[0]


def _bucket_policy(arn: str) -> Any:
    owner = _bucket_owner(arn)
    return s3_backends[owner]["aws"].buckets[_bucket_name(arn)].policy if owner else None


def _key_policy(arn: str) -> Any:
    *_, region, account, resource = arn.split(":")
    key = kms_backends[account][region].keys.get(resource.removeprefix("key/"))
    return key and key.policy


def _queue_policy(arn: str) -> Any:
    *_, region, account, name = arn.split(":")
    queue = sqs_backends[account][region].queues.get(name)
    return queue and queue.policy


def _topic_policy(arn: str) -> Any:
    *_, region, account, _ = arn.split(":")
    topic = sns_backends[account][region].topics.get(arn)
    return topic and topic.policy


def _bus_policy(arn: str) -> Any:
    *_, region, account, resource = arn.split(":")
    bus = events_backends[account][region].event_buses.get(resource.removeprefix("event-bus/"))
    return bus and bus.policy


def _function_policy(arn: str) -> Any:
    region, account = arn.split(":")[3:5]
    function = lambda_backends[account][region].get_function_by_arn(arn)
    if function is None or not function.policy.statements:
        return None
    return function.policy.get_policy()["Policy"]


def _table_policy(arn: str) -> Any:
    region, account = arn.split(":")[3:5]
    held = dynamodb_backends[account][region].resource_policies.get(arn.partition("/index/")[0])
    return held and held.policy_doc


def _repository_policy(arn: str) -> Any:
    *_, region, account, resource = arn.split(":")
    held = ecr_backends[account][region].repositories.get(resource.removeprefix("repository/"))
    return held and held.policy


def _trust_policy(arn: str) -> Any:
    role = _role(arn)
    return role and role.assume_role_policy_document


_RESOURCE_POLICIES: Mapping[str, Callable[[str], Any]] = {
    "dynamodb": _table_policy,
    "ecr": _repository_policy,
    "events": _bus_policy,
    "kms": _key_policy,
    "lambda": _function_policy,
    "s3": _bucket_policy,
    "sns": _topic_policy,
    "sqs": _queue_policy,
    "sts": _trust_policy,
}


def remove_statement(role_arn: str, policy: str, sid: str) -> None:
    """Take a statement out of a role's inline policy, for good (a test's way to a missing one).

    Raises `LookupError` when there is no such role, policy or statement.
    """
    role = _existing(role_arn)
    if policy not in role.policies:
        raise LookupError(f"{role_arn} has no inline policy {policy}: {sorted(role.policies)}")
    document = json.loads(_document(role.policies[policy]))
    statements = document["Statement"]
    statements = statements if isinstance(statements, list) else [statements]
    kept = [each for each in statements if each.get("Sid") != sid]
    if len(kept) == len(statements):
        raise LookupError(f"{policy} of {role_arn} has no statement {sid}")
    role.policies[policy] = json.dumps({**document, "Statement": kept})


# --- deciding --------------------------------------------------------------------------------


@dataclass
class Authorization:
    """What is checked and what was seen; made by `install`, ended by `uninstall` or `with`."""

    exempt: frozenset[str]
    organization: str
    group_policy: Callable[[str], str | None]
    resource_tags: Callable[[str], Mapping[str, str]] | None
    denials: list[Denial] = field(default_factory=list)
    _sessions: dict[str, Session] = field(default_factory=dict)
    _revoked: list[tuple[str, str, str]] = field(default_factory=list)
    _used: set[Unused] = field(default_factory=set)
    _requests: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __enter__(self) -> "Authorization":
        return self

    def __exit__(self, *_: object) -> None:
        uninstall()

    @contextlib.contextmanager
    def revoke(self, role_arn: str, action: str, resource: str = "*") -> Iterator[None]:
        """Within it, the role's policies do not allow `action` (a pattern) on `resource` (one too).

        As if the statement were missing: Deny statements and resource policies stay.
        Raises `LookupError` when there is no such role.
        """
        _existing(role_arn)
        entry = (role_arn, action, resource)
        self._revoked.append(entry)
        try:
            yield
        finally:
            self._revoked.remove(entry)

    def unused(self, roles: Iterable[str]) -> list[Unused]:
        """The actions that these roles' policies allow and that no allowed call has needed."""
        allowed = (
            Unused(role, policy.name, statement.label, action)
            for role in roles
            for policy in _identity_policies(_existing(role))
            for statement in policy.statements
            if statement.effect == "Allow"
            for action in (
                ["!" + ",".join(statement.actions)] if statement.not_actions else statement.actions
            )
        )
        return sorted(set(allowed) - self._used)

    def permits(
        self,
        role_arn: str,
        action: str,
        resource: str = "*",
        context: Mapping[str, Sequence[str]] | None = None,
    ) -> Decision:
        """May a service do this *with the role* it was given (EventBridge, Lambda, SageMaker)?

        The use is recorded. Raises `LookupError` when there is no such role.
        """
        _existing(role_arn)
        session = Session(role_arn, "service")
        region = resource.split(":")[3] if resource.count(":") >= 5 else ""
        return self._decide(session, Need(action, resource, context or {}), region)[1]

    def service_may(
        self,
        service: str,
        action: str,
        resource: str,
        *,
        source_arn: str = "",
        source_account: str = "",
    ) -> Decision:
        """May the service itself (`events.amazonaws.com`) do this, by the resource's policy?

        For `sts:AssumeRole` that is the role's trust policy.
        """
        context = {
            "aws:PrincipalIsAWSService": ["true"],
            "aws:PrincipalServiceName": [service],
            "aws:SecureTransport": ["true"],
            **({"aws:SourceArn": [source_arn]} if source_arn else {}),
            **(
                {
                    "aws:SourceAccount": [source_account],
                    "aws:SourceOrgID": [self.organization],
                }
                if source_account
                else {}
            ),
        }
        owner = _bucket_owner(resource) if resource.startswith("arn:aws:s3:") else ""
        request = Request(
            Principal(service=service), action, resource, owner or _account(resource), context
        )
        return decide(request, [], self._resource_policy(request))

    def session(self, access_key: str) -> Session | None:
        """The session to check for these credentials; None for an administrator's.

        Raises `LookupError` for a session of a role that never was, so that nobody is an
        administrator by a slip: name such roles in `exempt`.
        """
        if access_key not in self._sessions:
            held = _moto_session(access_key)
            if held is None:
                return None
            policy = parse(_document(held.policy), "session policy") if held.policy else None
            self._remember(access_key, Session(held.role_arn, held.session_name, policy))
        session = self._sessions[access_key]
        return None if session.role.rpartition("/")[2] in self.exempt else session

    def check(self, call: Call, session: Session) -> tuple[Need, str] | None:
        """The first permission that the call lacks, with AWS's message; None when allowed."""
        for need in needs(call):
            request, decision = self._decide(session, need, call.region)
            if not decision.allowed:
                message = _message(request, decision)
                self.denials.append(
                    Denial(
                        session.arn,
                        call.service,
                        call.operation,
                        need.action,
                        need.resource,
                        message,
                    )
                )
                return need, message
        return None

    def assumed(
        self,
        parameters: Mapping[str, Any],
        credentials: Mapping[str, Any],
        caller: Session | None,
    ) -> None:
        """Remember what an AssumeRole made. Raises `LookupError` as `session` does."""
        inherited = {tag: caller.tags[tag] for tag in caller.transitive} if caller else {}
        tags = {tag["Key"]: tag["Value"] for tag in parameters.get("Tags", ())}
        policies = [parse(parameters["Policy"], "session policy")] if "Policy" in parameters else []
        policies += [
            _managed(each["arn"], _account(parameters["RoleArn"]))
            for each in parameters.get("PolicyArns", ())
        ]
        self._remember(
            credentials["AccessKeyId"],
            Session(
                role=parameters["RoleArn"],
                name=parameters["RoleSessionName"],
                policy=combined("session policies", policies) if policies else None,
                tags={**tags, **inherited},
                transitive=(*inherited, *parameters.get("TransitiveTagKeys", ())),
                source_identity=parameters.get("SourceIdentity")
                or (caller.source_identity if caller else ""),
                expires=credentials["Expiration"] if caller else None,
            ),
        )

    def _remember(self, access_key: str, session: Session) -> None:
        if session.role.rpartition("/")[2] not in self.exempt and _role(session.role) is None:
            raise LookupError(
                f"a session of {session.role}, which is not in IAM: "
                "create the role, or name it in `exempt` when it is an administrator's"
            )
        self._sessions[access_key] = session

    def _decide(self, session: Session, need: Need, region: str) -> tuple[Request, Decision]:
        role = _existing(session.role)
        request = self._request(session, role, need, region)
        decision = decide(
            request,
            self._without_revoked(_identity_policies(role), request),
            self._resource_policy(request),
            session.policy,
            _boundary(role),
            resource_policy_required=need.action.partition(":")[0] in _ALWAYS_ASK_RESOURCE,
        )
        if decision.allowed:
            self._used.update(_use(session.role, each) for each in decision.matched)
        return request, decision

    def _without_revoked(self, policies: list[Policy], request: Request) -> list[Policy]:
        if not any(
            role == request.principal.role
            and matches_action(action, request.action)
            and matches_action(resource, request.resource)
            for role, action, resource in self._revoked
        ):
            return policies
        return [
            Policy(each.name, tuple(s for s in each.statements if s.effect == "Deny"))
            for each in policies
        ]

    def _resource_policy(self, request: Request) -> Policy | None:
        service, resource = request.action.partition(":")[0].lower(), request.resource
        if resource == "*":
            return None
        if found := re.fullmatch(
            r"(arn:aws:sagemaker:.+):model-package(?:-group)?/([^/]+).*", resource
        ):
            document = self.group_policy(f"{found[1]}:model-package-group/{found[2]}")
        else:
            read = _RESOURCE_POLICIES.get(service)
            document = read(resource) if read else None
        return parse(_document(document), f"policy of {resource}") if document else None

    def _request(self, session: Session, role: Role, need: Need, region: str) -> Request:
        """The request with the global condition keys ('AWS global condition context keys')."""
        now = datetime.now(UTC)
        owner = session.account
        if need.resource.startswith("arn:aws:s3:"):
            owner = _bucket_owner(need.resource) or owner
        elif need.resource != "*":
            owner = _account(need.resource) or owner
        tags = {**{tag["Key"]: tag["Value"] for tag in _role_tags(role)}, **session.tags}
        context: dict[str, Sequence[str]] = {
            "aws:CurrentTime": [now.isoformat()],
            "aws:EpochTime": [str(int(now.timestamp()))],
            "aws:PrincipalAccount": [session.account],
            "aws:PrincipalArn": [session.role],
            "aws:PrincipalIsAWSService": ["false"],
            "aws:PrincipalOrgID": [self.organization],
            "aws:PrincipalType": ["AssumedRole"],
            "aws:RequestedRegion": [region],
            "aws:ResourceAccount": [owner],
            "aws:ResourceOrgID": [self.organization],
            "aws:SecureTransport": ["true"],
            "aws:userid": [f"{role.id}:{session.name}"],
            # A key that S3, SQS or SNS uses for the caller is asked by that service.
            "aws:ViaAWSService": ["true" if "kms:ViaService" in need.context else "false"],
            **{f"aws:PrincipalTag/{key}": [value] for key, value in tags.items()},
            **(
                {"aws:SourceIdentity": [session.source_identity]} if session.source_identity else {}
            ),
            **({"s3:ResourceAccount": [owner]} if need.action.startswith("s3:") else {}),
            **need.context,
        }
        absent: tuple[str, ...] = ()
        if self.resource_tags is not None and need.resource != "*":
            for key, value in self.resource_tags(need.resource).items():
                context[f"aws:ResourceTag/{key}"] = [value]
            absent = ("aws:resourcetag/",)
        return Request(session.principal, need.action, need.resource, owner, context, absent)


def _role_tags(role: Role) -> list[dict[str, str]]:
    tags = role.tags
    return list(tags.values()) if isinstance(tags, dict) else list(tags or ())


def _use(role: str, matched: Matched) -> Unused:
    return Unused(role, matched.policy, matched.statement, matched.pattern)


def _moto_session(access_key: str) -> Any:
    if not access_key.startswith("ASIA"):  # 'IAM identifiers': temporary credentials of STS
        return None
    for backends in sts_backends.values():
        held = backends["aws"].get_assumed_role_from_access_key(access_key)
        if held is not None:
            return held
    return None


# How services spell an action in their messages, where that differs from the policy's.
_SPELLING: Mapping[str, Callable[[str], str]] = {
    "sqs": str.lower,
    "sns": lambda action: action.replace("sns:", "SNS:"),
}


def _message(request: Request, decision: Decision) -> str:
    service = request.action.partition(":")[0]
    action = _SPELLING.get(service, str)(request.action)
    message = explain(request, decision, action)
    if service == "s3":  # 'Troubleshoot access denied (403 Forbidden) errors in Amazon S3'
        message = message.replace(request.resource, f'"{request.resource}"')
    return message


# --- the hook --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Codes:
    """How a service says no: error codes and HTTP status."""

    denied: str = "AccessDeniedException"
    expired: str = "ExpiredTokenException"
    invalid: str = "UnrecognizedClientException"
    status: int = 400


_QUERY = _Codes("AccessDenied", "ExpiredToken", "InvalidClientTokenId", 403)
_REST = _Codes("AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", 403)
_CODES: Mapping[str, _Codes] = {
    "s3": _Codes("AccessDenied", "ExpiredToken", "InvalidAccessKeyId", 403),
    "sns": _Codes("AuthorizationError", "ExpiredToken", "InvalidClientTokenId", 403),
    **dict.fromkeys(("sts", "iam", "cloudwatch", "sqs"), _QUERY),
    **dict.fromkeys(("lambda", "scheduler", "sagemaker-runtime"), _REST),
}

_PARAMETERS, _SESSION = "sageops.parameters", "sageops.session"

_installed: Authorization | None = None


def install(
    *,
    exempt: Collection[str] = (ADMINISTRATOR,),
    organization: str = ORGANIZATION,
    group_policy: Callable[[str], str | None] = lambda _: None,
    resource_tags: Callable[[str], Mapping[str, str]] | None = None,
) -> Authorization:
    """Check every call from now on, until `uninstall` or the end of `with`.

    `exempt` are names of roles whose sessions are an administrator's. `group_policy` gives the
    resource policy of a model package group by its ARN, which moto does not keep. `resource_tags`
    gives an ARN's tags; without it a policy that asks `aws:ResourceTag/…` is an error.
    Raises `RuntimeError` when it is installed already.
    """
    global _installed  # noqa: PLW0603  # botocore's handlers belong to the process
    if _installed is not None:
        raise RuntimeError("authorization is installed already")
    _installed = Authorization(frozenset(exempt), organization, group_policy, resource_tags)
    return _installed


def uninstall() -> None:
    """Check nothing any more."""
    global _installed  # noqa: PLW0603  # as in `install`
    _installed = None


def _see_parameters(params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Keep the call's parameters, which later handlers may still complete in place."""
    context[_PARAMETERS] = params


def _check_call(
    model: Any, request_signer: Any, context: dict[str, Any], **_: Any
) -> tuple[AWSResponse, dict[str, Any]] | None:
    """The answer that replaces the request when it is refused; None lets it through."""
    credentials = getattr(request_signer, "_credentials", None)  # botocore has no public way
    if _installed is None or credentials is None:
        return None
    session = _installed.session(credentials.get_frozen_credentials().access_key)
    context[_SESSION] = session
    if session is None:
        return None
    service, region = model.service_model.service_name, context["client_region"]
    codes = _CODES.get(service, _Codes())
    if _role(session.role) is None:
        return _refusal(codes.invalid, "The security token included in the request is invalid", 403)
    if session.expires is not None and session.expires <= datetime.now(UTC):
        return _refusal(codes.expired, "The security token included in the request is expired", 403)
    call = Call(
        service,
        model.name,
        context[_PARAMETERS],
        session.account,
        region,
        transitive_tags={key: session.tags[key] for key in session.transitive},
        source_identity=session.source_identity,
    )
    lacking = _installed.check(call, session)
    if lacking is None:
        return None
    if model.http["method"] == "HEAD":  # such an answer has no body to carry code and message
        return _refusal("403", "Forbidden", 403)
    return _refusal(codes.denied, lacking[1], codes.status)


def _refusal(code: str, message: str, status: int) -> tuple[AWSResponse, dict[str, Any]]:
    assert _installed is not None
    metadata = {
        "RequestId": str(uuid.UUID(int=next(_installed._requests))),
        "HTTPStatusCode": status,
        "HTTPHeaders": {},
        "RetryAttempts": 0,
    }
    parsed = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return AWSResponse("", status, HTTPHeaders(), None), parsed


def _see_session(
    http_response: AWSResponse, parsed: Mapping[str, Any], context: dict[str, Any], **_: Any
) -> None:
    """Keep the tags and the source identity of a new session, which moto forgets."""
    if _installed is not None and http_response.status_code < 300:
        _installed.assumed(context[_PARAMETERS], parsed["Credentials"], context.get(_SESSION))


BUILTIN_HANDLERS.extend(
    [
        ("before-parameter-build", _see_parameters),
        ("before-call", _check_call),
        ("after-call.sts.AssumeRole", _see_session),
    ]
)
