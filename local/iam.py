"""May this principal do that? IAM's documented evaluation logic, as pure functions.

Sources are pages of the IAM User Guide: 'Policy evaluation logic' and its page on requests within
one account, 'Cross-account policy evaluation logic', 'JSON policy element reference' (Principal,
NotPrincipal, Action, Resource, Condition operators, Multivalued context keys, Variables and tags),
'Global condition context keys', 'Troubleshoot access denied error messages'; and 'Key policies'
of the KMS Developer Guide.

What a policy asks and this module does not know is an error, never a guess: an unknown element or
operator when the policy is parsed, an unknown context key when a condition needs it.
"""

import base64
import functools
import ipaddress
import itertools
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal

__all__ = [
    "Condition",
    "Decision",
    "Matched",
    "Policy",
    "PolicyError",
    "Principal",
    "Request",
    "Statement",
    "UnknownConditionKey",
    "combined",
    "decide",
    "explain",
    "matches_action",
    "parse",
]

Effect = Literal["Allow", "Deny"]
Source = Literal["identity", "resource", "session", "boundary"]


class PolicyError(ValueError):
    """A policy document that IAM would refuse, or that uses what this evaluator does not know."""


class UnknownConditionKey(PolicyError):
    """A condition asks a context key that nothing here fills, so its answer would be a guess."""


# Context keys (lower case) that may be absent from a request and then really are absent in AWS
# too: whoever makes a request fills them whenever AWS would. A name ending in `/` or `:` stands
# for all keys that start so. Every other key must be in the request, or asking it is an error.
_MAY_BE_ABSENT = (
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principaltag/",
    "aws:principaltype",
    "aws:requesttag/",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceowner",
    "aws:sourceorgid",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:tagkeys",
    "aws:userid",
    "aws:username",
    "application-autoscaling:scalable-dimension",
    "application-autoscaling:service-namespace",
    "cloudwatch:alarmactions",
    "cloudwatch:namespace",
    "dynamodb:enclosingoperation",
    "dynamodb:returnconsumedcapacity",
    "dynamodb:returnvalues",
    "dynamodb:select",
    "events:detail-type",
    "events:eventbusinvocation",
    "events:source",
    "iam:passedtoservice",
    "kms:calleraccount",
    "kms:encryptioncontext:",
    "kms:encryptioncontextkeys",
    "kms:grantisforawsresource",
    "kms:grantoperations",
    "kms:requestalias",
    "kms:viaservice",
    "s3:delimiter",
    "s3:max-keys",
    "s3:prefix",
    "s3:requestobjecttag/",
    "s3:requestobjecttagkeys",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-copy-source",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-storage-class",
    "sagemaker:acceleratortypes",
    "sagemaker:customermetadataproperties/",
    "sagemaker:customermetadatapropertiestoremove",
    "sagemaker:instancetypes",
    "sagemaker:maxruntimeinseconds",
    "sagemaker:modelapprovalstatus",
    "sagemaker:modelarn",
    "sagemaker:modellifecycle:stage",
    "sagemaker:modellifecycle:stagestatus",
    "sagemaker:networkisolation",
    "sagemaker:outputkmskey",
    "sagemaker:serverlessmaxconcurrency",
    "sagemaker:serverlessmemorysize",
    "sagemaker:taggingaction",
    "sagemaker:targetmodel",
    "sagemaker:volumekmskey",
    "sts:externalid",
    "sts:rolesessionname",
    "sts:sourceidentity",
    "sts:transitivetagkeys",
)


@dataclass(frozen=True)
class Principal:
    """Who asks: a role's session, or a service (`account` and the ARNs are then empty)."""

    account: str = ""
    arn: str = ""
    """`arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, or the user's ARN."""
    role: str = ""
    """`arn:aws:iam::ACCOUNT:role/PATH/ROLE`; empty for a user."""
    service: str = ""
    """`events.amazonaws.com`; empty for a role or a user."""


@dataclass(frozen=True)
class Request:
    """One action on one resource. `resource` is an ARN, or `*` for an action that takes none.

    `context` maps context keys, any case, to their values; several values make a multivalued key.
    `absent` are keys, lower case, or starts of keys that are known not to be in the request.
    """

    principal: Principal
    action: str
    resource: str
    resource_account: str
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    @functools.cached_property
    def lowered(self) -> Mapping[str, tuple[str, ...]]:
        """The context by lower-case key: keys are not case-sensitive, their values are."""
        return {key.lower(): tuple(values) for key, values in self.context.items()}


@dataclass(frozen=True)
class Condition:
    """One operator on one key: `ForAllValues:StringLikeIfExists`, `aws:TagKeys`, the values."""

    quantifier: Literal["", "ForAllValues", "ForAnyValue"]
    operator: str
    if_exists: bool
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """One statement; a tuple that is None is an element that the statement does not have."""

    policy: str
    index: int
    sid: str
    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...] | None
    principals: tuple[tuple[str, str], ...] | None
    not_actions: bool
    not_resources: bool
    not_principals: bool
    conditions: tuple[Condition, ...]
    variables: bool
    """Whether `${…}` is replaced: only in policies of version 2012-10-17."""

    @property
    def label(self) -> str:
        """The statement's Sid, else its place in the policy, from 0."""
        return self.sid or str(self.index)


@dataclass(frozen=True)
class Policy:
    """One parsed document. `name` tells people and records which."""

    name: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Matched:
    """A statement that applied to the request; `pattern` is the action of it that matched."""

    source: Source
    policy: str
    statement: str
    effect: Effect
    pattern: str


@dataclass(frozen=True)
class Decision:
    """`matched` are all statements that applied; `blame` is the kind of policy that refused."""

    allowed: bool
    matched: tuple[Matched, ...]
    blame: Source | None = None
    explicit: bool = False


class _Grant(IntEnum):
    """How directly a resource policy names the caller; more is more direct."""

    NONE = 0
    ACCOUNT = 1  # delegates to the account: its own identity policies must allow too
    ROLE = 2  # limited by an implicit deny in session policies and boundaries
    SESSION = 3  # limited by neither


# --- parsing ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def parse(document: str, name: str) -> Policy:
    """Parse a policy's JSON text. Raises `PolicyError`, naming the policy and the statement."""
    content = json.loads(document)
    version = content.get("Version", "2008-10-17")
    if version not in {"2008-10-17", "2012-10-17"}:
        raise PolicyError(f"{name}: Version {version!r} is none of IAM's")
    return Policy(
        name,
        tuple(
            _statement(name, index, raw, variables=version == "2012-10-17")
            for index, raw in enumerate(_listed(content["Statement"]))
        ),
    )


def combined(name: str, policies: Iterable[Policy]) -> Policy:
    """One policy with the statements of all (session policies count as one: they add up)."""
    return Policy(name, tuple(itertools.chain.from_iterable(each.statements for each in policies)))


_ELEMENTS = {
    *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"),
    *("Resource", "NotResource", "Condition"),
}


def _statement(policy: str, index: int, raw: Mapping[str, Any], *, variables: bool) -> Statement:
    where = f"{policy} statement {raw.get('Sid', index)}"
    if unknown := raw.keys() - _ELEMENTS:
        raise PolicyError(f"{where}: unknown element {sorted(unknown)}")
    if raw.get("Effect") not in {"Allow", "Deny"}:
        raise PolicyError(f"{where}: Effect is neither Allow nor Deny")
    if ("Action" in raw) == ("NotAction" in raw):
        raise PolicyError(f"{where}: needs one of Action and NotAction")
    for one, other in (("Resource", "NotResource"), ("Principal", "NotPrincipal")):
        if one in raw and other in raw:
            raise PolicyError(f"{where}: has both {one} and {other}")
    resources = raw.get("Resource", raw.get("NotResource"))
    principals = raw.get("Principal", raw.get("NotPrincipal"))
    return Statement(
        policy=policy,
        index=index,
        sid=raw.get("Sid", ""),
        effect=raw["Effect"],
        actions=tuple(_listed(raw.get("Action", raw.get("NotAction")))),
        resources=None if resources is None else tuple(_listed(resources)),
        principals=None if principals is None else _principals(where, principals),
        not_actions="NotAction" in raw,
        not_resources="NotResource" in raw,
        not_principals="NotPrincipal" in raw,
        conditions=tuple(_conditions(where, raw.get("Condition", {}))),
        variables=variables,
    )


def _principals(where: str, raw: str | Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if isinstance(raw, str):
        if raw != "*":
            raise PolicyError(f"{where}: Principal {raw!r} is neither '*' nor an object")
        return (("AWS", "*"),)
    if unknown := raw.keys() - {"AWS", "Service", "Federated", "CanonicalUser"}:
        raise PolicyError(f"{where}: unknown kind of principal {sorted(unknown)}")
    named = tuple((kind, value) for kind, values in raw.items() for value in _listed(values))
    for kind, value in named:
        if "*" in value and value != "*":
            raise PolicyError(f"{where}: a principal takes no wildcard within a name: {value}")
        if kind == "AWS" and value != "*" and not re.fullmatch(r"\d{12}|arn:.+|A[A-Z0-9]+", value):
            raise PolicyError(f"{where}: {value!r} is no AWS principal")
    return named


def _conditions(where: str, raw: Mapping[str, Mapping[str, Any]]) -> Iterable[Condition]:
    for name, tests in raw.items():
        quantifier, _, rest = name.rpartition(":")
        base = rest.removesuffix("IfExists")
        if quantifier not in {"", "ForAllValues", "ForAnyValue"} or base not in _OPERATORS:
            raise PolicyError(f"{where}: unknown condition operator {name}")
        if base == "Null" and name != "Null":
            raise PolicyError(f"{where}: Null takes no quantifier and no IfExists")
        for key, values in tests.items():
            yield Condition(
                quantifier,  # type: ignore[arg-type]  # one of the three, checked above
                base,
                base != rest,
                key,
                tuple(_text(value) for value in _listed(values)),
            )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- matching --------------------------------------------------------------------------------


def matches_action(pattern: str, action: str) -> bool:
    """Whether an Action pattern covers the action; upper and lower case are the same."""
    return _wild(pattern.lower()).fullmatch(action.lower()) is not None


@functools.lru_cache(maxsize=8192)
def _wild(pattern: str) -> re.Pattern[str]:
    """`*` any characters, `?` any one."""
    return re.compile(_translated(pattern, any_run=".*", any_one="."), re.DOTALL)


@functools.lru_cache(maxsize=8192)
def _arn_wild(pattern: str) -> re.Pattern[str]:
    """A resource pattern: wildcards stay within a segment, save a `*` that ends its segment.

    'JSON policy elements: Resource': such a `*` can expand to match beyond the colon boundaries.
    """
    ends = [
        _translated(segment[:-1], any_run="[^:]*", any_one="[^:]") + ".*"
        if segment.endswith("*")
        else _translated(segment, any_run="[^:]*", any_one="[^:]")
        for segment in pattern.split(":")
    ]
    return re.compile(":".join(ends), re.DOTALL)


def _translated(pattern: str, *, any_run: str, any_one: str) -> str:
    wild = {"*": any_run, "?": any_one}
    return "".join(wild.get(each) or re.escape(_literal(each)) for each in pattern)


# What a variable brought in is compared as it stands, so its wildcards travel as other characters.
_SHIELDED = str.maketrans({"*": "\ue000", "?": "\ue001"})
_UNSHIELDED = str.maketrans({"\ue000": "*", "\ue001": "?"})


def _literal(text: str) -> str:
    return text.translate(_UNSHIELDED)


_VARIABLE = re.compile(r"\$\{\s*([^},]+?)\s*(?:,\s*'([^']*)'\s*)?\}")


class _Unset(Exception):
    """A policy variable whose key the request does not have; the element matches nothing."""


def _expanded(text: str, statement: Statement, request: Request) -> str:
    if not statement.variables or "${" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        key, default = found.group(1), found.group(2)
        if key in {"*", "?", "$"}:
            return key.translate(_SHIELDED)
        values = _context(key, statement, request)
        if values is not None and len(values) > 1:
            raise PolicyError(f"{statement.policy}: ${{{key}}} has several values")
        if not values:
            if default is None:
                raise _Unset(key)
            return default.translate(_SHIELDED)
        return values[0].translate(_SHIELDED)

    return _VARIABLE.sub(value, text)


def _context(key: str, statement: Statement, request: Request) -> tuple[str, ...] | None:
    """The key's values; None when the request has no such key. Raises `UnknownConditionKey`."""
    lowered = key.lower()
    if lowered in request.lowered:
        return request.lowered[lowered]
    for known in (*_MAY_BE_ABSENT, *request.absent):
        if lowered == known or (known[-1] in "/:" and lowered.startswith(known)):
            return None
    raise UnknownConditionKey(
        f"{statement.policy} statement {statement.label} asks {key} "
        f"for {request.action} on {request.resource}, which is not modelled"
    )


def _matched_action(statement: Statement, request: Request) -> str | None:
    """The pattern that covers the action, or None. With NotAction: all its patterns, by comma."""
    hit = next((each for each in statement.actions if matches_action(each, request.action)), None)
    if statement.not_actions:
        return "!" + ",".join(statement.actions) if hit is None else None
    return hit


def _matches_resource(statement: Statement, request: Request) -> bool:
    if statement.resources is None:  # a role's trust policy
        return True
    return statement.not_resources != any(
        _covers_resource(each, statement, request) for each in statement.resources
    )


def _covers_resource(pattern: str, statement: Statement, request: Request) -> bool:
    if pattern == "*":
        return True
    try:
        expanded = _expanded(pattern, statement, request)
    except _Unset:
        return False
    return _arn_wild(expanded).fullmatch(request.resource) is not None


def _named(kind: str, value: str, caller: Principal) -> _Grant:
    match kind:
        case "Service":
            named = bool(caller.service) and value in {caller.service, "*"}
            return _Grant.ROLE if named else _Grant.NONE
        case "AWS":
            return _named_aws(value, caller)
        case _:  # federated and canonical users never call here
            return _Grant.NONE


def _named_aws(value: str, caller: Principal) -> _Grant:
    if value == "*":
        return _Grant.ROLE
    if not caller.account:
        return _Grant.NONE
    if value in {caller.account, f"arn:aws:iam::{caller.account}:root"}:
        return _Grant.ACCOUNT
    if value == caller.role or (value == caller.arn and not caller.role):
        return _Grant.ROLE
    return _Grant.SESSION if value == caller.arn else _Grant.NONE


def _grant(statement: Statement, request: Request) -> _Grant:
    """How the statement's Principal names the caller; NONE when it does not apply to them."""
    caller = request.principal
    if statement.principals is None:
        raise PolicyError(f"{statement.policy}: a resource policy's statement needs a Principal")
    grants = [_named(kind, value, caller) for kind, value in statement.principals]
    if not statement.not_principals:
        return max(grants, default=_Grant.NONE)
    # 'NotPrincipal': to exempt a session, its account, its role and itself must all be named.
    needed = (
        {_Grant.ACCOUNT, _Grant.ROLE, _Grant.SESSION}
        if caller.role
        else {_Grant.ROLE}
        if caller.service
        else {_Grant.ACCOUNT, _Grant.ROLE}
    )
    return _Grant.NONE if needed <= set(grants) else _Grant.ROLE


# --- conditions ------------------------------------------------------------------------------


def _same(wanted: str, actual: str) -> bool:
    return _literal(wanted) == actual


def _same_letters(wanted: str, actual: str) -> bool:
    return _literal(wanted).casefold() == actual.casefold()


def _like(wanted: str, actual: str) -> bool:
    return _wild(wanted).fullmatch(actual) is not None


def _arn_like(wanted: str, actual: str) -> bool:
    """Each of the six components on its own; 'Amazon Resource Name (ARN) condition operators'."""
    patterns, parts = wanted.split(":", 5), actual.split(":", 5)
    return len(patterns) == len(parts) == 6 and all(map(_like, patterns, parts))


def _bool(wanted: str, actual: str) -> bool:
    return wanted.lower() == actual.lower()


def _binary(wanted: str, actual: str) -> bool:
    return base64.b64decode(wanted, validate=True) == base64.b64decode(actual, validate=True)


def _within(wanted: str, actual: str) -> bool:
    network, address = ipaddress.ip_network(wanted, strict=False), ipaddress.ip_address(actual)
    return network.version == address.version and address in network


def _moment(text: str) -> datetime:
    """ISO 8601 or epoch seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text) and len(text) != 4:
        return datetime.fromtimestamp(float(text), UTC)
    moment = datetime.fromisoformat(f"{text}-01-01" if len(text) == 4 else text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# The comparison is `actual OPERATOR wanted`, as in "aws:CurrentTime is less than the value".
def _ordered(
    read: Callable[[str], Any], compare: Callable[[Any, Any], bool]
) -> Callable[[str, str], bool]:
    return lambda wanted, actual: compare(read(actual), read(wanted))


_ORDERS = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}

# operator -> (does one wanted value match one actual value, is the operator a negation of that)
_OPERATORS: Mapping[str, tuple[Callable[[str, str], bool], bool]] = {
    "StringEquals": (_same, False),
    "StringNotEquals": (_same, True),
    "StringEqualsIgnoreCase": (_same_letters, False),
    "StringNotEqualsIgnoreCase": (_same_letters, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_arn_like, False),
    "ArnLike": (_arn_like, False),
    "ArnNotEquals": (_arn_like, True),
    "ArnNotLike": (_arn_like, True),
    "Bool": (_bool, False),
    "BinaryEquals": (_binary, False),
    "IpAddress": (_within, False),
    "NotIpAddress": (_within, True),
    **{f"Numeric{name}": (_ordered(Decimal, test), False) for name, test in _ORDERS.items()},
    "NumericNotEquals": (_ordered(Decimal, operator.eq), True),
    **{f"Date{name}": (_ordered(_moment, test), False) for name, test in _ORDERS.items()},
    "DateNotEquals": (_ordered(_moment, operator.eq), True),
    "Null": (_bool, False),
}


def _holds(condition: Condition, statement: Statement, request: Request) -> bool:
    actual = _context(condition.key, statement, request)
    if condition.operator == "Null":
        return any(_bool(value, str(not actual).lower()) for value in condition.values)
    test, negated = _OPERATORS[condition.operator]
    if not actual:  # absent: 'IfExists', and negated operators, then hold; ForAllValues always does
        if condition.quantifier == "ForAnyValue":
            return condition.if_exists
        return condition.if_exists or negated or condition.quantifier == "ForAllValues"
    wanted = tuple(_wanted(condition, statement, request))
    each = [any(test(value, one) for value in wanted) != negated for one in actual]
    match condition.quantifier:
        case "ForAllValues":
            return all(each)
        case "ForAnyValue":
            return any(each)
        case _:
            if len(actual) > 1:
                raise PolicyError(
                    f"{statement.policy} statement {statement.label}: {condition.key} has several "
                    f"values here; {condition.operator} needs ForAllValues or ForAnyValue"
                )
            return each[0]


def _wanted(condition: Condition, statement: Statement, request: Request) -> Iterable[str]:
    """The values with variables filled in; one whose variable is not set can match nothing."""
    takes_variables = condition.operator.startswith(("String", "Arn"))
    for value in condition.values:
        try:
            yield _expanded(value, statement, request) if takes_variables else value
        except _Unset:
            continue


# --- deciding --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outcome:
    """What one kind of policy says of a request."""

    allows: _Grant
    denies: bool
    matched: tuple[Matched, ...]


def _outcome(source: Source, policies: Sequence[Policy], request: Request) -> _Outcome:
    allows, denies, matched = _Grant.NONE, False, []
    for statement in itertools.chain.from_iterable(each.statements for each in policies):
        pattern = _matched_action(statement, request)
        if pattern is None or not _matches_resource(statement, request):
            continue
        grant = _grant(statement, request) if source == "resource" else _Grant.ROLE
        if grant is _Grant.NONE:
            continue
        if not all(_holds(each, statement, request) for each in statement.conditions):
            continue
        matched.append(
            Matched(source, statement.policy, statement.label, statement.effect, pattern)
        )
        if statement.effect == "Deny":
            denies = True
        else:
            allows = max(allows, grant)
    return _Outcome(allows, denies, tuple(matched))


def decide(  # noqa: PLR0913  # the policy kinds of the documented evaluation
    request: Request,
    identity_policies: Sequence[Policy],
    resource_policy: Policy | None = None,
    session_policy: Policy | None = None,
    permissions_boundary: Policy | None = None,
    *,
    resource_policy_required: bool = False,
) -> Decision:
    """Decide one request.

    - A matching Deny in any policy refuses.
    - Within one account identity *or* resource policy must allow. A resource policy that names
      the account delegates: identity policies must allow too. One that names the role (or `*`)
      suffices, within the session policy and the boundary; one that names the session suffices.
    - Across accounts both must allow.
    - `resource_policy_required` (KMS keys, role trust policies): without the resource policy's
      consent nothing is allowed, in the same account either.
    - Session policy and boundary each narrow what identity policies allow.
    - A service has no identity policies: the resource policy alone decides.

    Raises `PolicyError` when a policy asks what is not modelled.
    """
    identity = _outcome("identity", identity_policies, request)
    resource = _outcome("resource", [resource_policy] if resource_policy else [], request)
    session = _outcome("session", [session_policy] if session_policy else [], request)
    boundary = _outcome("boundary", [permissions_boundary] if permissions_boundary else [], request)
    outcomes: dict[Source, _Outcome] = {
        "identity": identity,
        "resource": resource,
        "session": session,
        "boundary": boundary,
    }
    matched = tuple(itertools.chain.from_iterable(each.matched for each in outcomes.values()))
    for source, outcome in outcomes.items():
        if outcome.denies:
            return Decision(False, matched, source, explicit=True)

    blame = _lacking(
        request,
        identity=bool(identity.allows),
        resource=resource.allows,
        session=session_policy is None or bool(session.allows),
        boundary=permissions_boundary is None or bool(boundary.allows),
        required=resource_policy_required,
    )
    return Decision(blame is None, matched, blame)


def _lacking(
    request: Request,
    *,
    identity: bool,
    resource: _Grant,
    session: bool,
    boundary: bool,
    required: bool,
) -> Source | None:
    """The kind of policy whose consent is missing; None when the request is allowed."""
    if request.principal.service:
        return None if resource else "resource"
    same_account = request.principal.account == request.resource_account
    if same_account and resource is _Grant.SESSION:
        return None
    if not same_account:
        granted = identity and bool(resource)
    elif required:
        granted = resource is _Grant.ROLE or (resource is _Grant.ACCOUNT and identity)
    else:
        granted = identity or resource is _Grant.ROLE
    if not granted:
        return "resource" if identity or (required and not resource) else "identity"
    if not session:
        return "session"
    return None if boundary else "boundary"


_POLICY_NAMES: Mapping[Source, tuple[str, str]] = {
    "identity": ("an identity-based policy", "no identity-based policy"),
    "resource": ("a resource-based policy", "no resource-based policy"),
    "session": ("a session policy", "no session policy"),
    "boundary": ("a permissions boundary", "no permissions boundary"),
}


def explain(request: Request, decision: Decision, action: str = "") -> str:
    """The message of AWS's AccessDenied; `action` as this service spells it in messages.

    A role's trust policy is not told of, and an action without resource names none.
    """
    action = action or request.action
    caller = request.principal.arn or request.principal.service
    message = f"User: {caller} is not authorized to perform: {action}"
    if request.resource != "*":
        message += f" on resource: {request.resource}"
    if decision.blame is None:
        return message
    with_deny, without = _POLICY_NAMES[decision.blame]
    if decision.blame == "resource" and request.action.startswith("sts:"):
        return message
    if decision.explicit:
        return f"{message} with an explicit deny in {with_deny}"
    return f"{message} because {without} allows the {action} action"
