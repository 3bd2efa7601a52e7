"""Who calls: clients of an account's administrator and of roles, and what a service may do.

Documentation: IAM user guide, "Roles terms and concepts"; moto tells accounts apart by whose
credentials sign a call, so everybody here has the credentials of an assumed role.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.config import Config
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from local.clock import Clock
from local.iam import Policy, Principal, Request, decide, parse

__all__ = ["ADMINISTRATOR", "Credentials", "NotAssumable", "Principals", "service_may"]

# The session's role exists in no account: nobody's policies are asked about its calls.
ADMINISTRATOR = "administrator"

_LIFETIME = timedelta(hours=12)
# An answer that needs a retry will not get better within one moment of virtual time.
_ONE_ATTEMPT = Config(retries={"mode": "standard", "total_max_attempts": 1})


class NotAssumable(Exception):
    """The role does not exist, or its trust policy does not name the service."""


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials of an assumed role, as the environment of a function holds them."""

    access_key: str
    secret_key: str
    token: str


@dataclass
class Principals:
    """Makes and keeps clients; one botocore session serves them all."""

    clock: Clock
    region: str
    # The typed overloads want the service's name as a literal.
    _session: Any = field(default_factory=boto3.Session)
    _clients: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def administrator(self, service: str, account: str, region: str | None = None) -> Any:
        """A boto3 client that may do everything in `account`."""
        role = f"arn:aws:iam::{account}:role/{ADMINISTRATOR}"
        return self._client(service, role, ADMINISTRATOR, region)

    def role(self, service: str, role: str, principal: str, session: str) -> Any:
        """A client that acts as `role` (ARN), assumed by a service such as `lambda.amazonaws.com`.

        Raises `NotAssumable`.
        """
        self.check_assumable(role, principal)
        return self.assumed(service, role, session)

    def assumed(self, service: str, role: str, session: str) -> Any:
        """A client that acts as `role` (ARN), whose trust policy the caller has checked."""
        return self._client(service, role, session, None)

    def check_assumable(
        self, role: str, principal: str, context: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Raise `NotAssumable` unless the role's trust policy lets the service in."""
        account = role.split(":")[4]
        found = _role(role)
        if found is None:
            raise NotAssumable(f"{role} does not exist")
        trust = parse(_text(found.assume_role_policy_document), f"{role} trust policy")
        asked = {"aws:SourceAccount": [account], **(context or {})}
        request = Request(Principal(service=principal), "sts:AssumeRole", role, account, asked)
        if not decide(request, [], trust, resource_policy_required=True).allowed:
            raise NotAssumable(f"{role} does not trust {principal}")

    def credentials(self, role: str, session: str) -> Credentials:
        """New credentials of `role`, good for 12 virtual hours."""
        account = role.split(":")[4]
        assumed = sts_backends[account]["aws"].assume_role(
            region_name=self.region,
            role_session_name=session,
            role_arn=role,
            policy="",
            duration=int(_LIFETIME.total_seconds()),
            external_id="",
        )
        return Credentials(assumed.access_key_id, assumed.secret_access_key, assumed.session_token)

    def _client(self, service: str, role: str, session: str, region: str | None) -> Any:
        region = region or self.region
        # Nothing here outlives its credentials: they are renewed when half their life is over.
        age = int(self.clock.now.timestamp() // (_LIFETIME.total_seconds() / 2))
        key = (service, role, session, region, str(age))
        if key not in self._clients:
            credentials = self.credentials(role, session)
            self._clients[key] = self._session.client(
                service,
                region_name=region,
                aws_access_key_id=credentials.access_key,
                aws_secret_access_key=credentials.secret_key,
                aws_session_token=credentials.token,
                config=_ONE_ATTEMPT,
            )
        return self._clients[key]


def service_may(  # noqa: PLR0913  # what a resource policy can ask about
    principal: str,
    action: str,
    resource: str,
    policy: str | None,
    source: str,
    context: Mapping[str, Sequence[str]] | None = None,
) -> bool:
    """Whether a resource's own policy (JSON) lets a service act on it for `source` (ARN)."""
    if policy is None:
        return False
    asked = {
        "aws:SourceArn": [source],
        "aws:SourceAccount": [source.split(":")[4]],
        "aws:SecureTransport": ["true"],
        **(context or {}),
    }
    request = Request(Principal(service=principal), action, resource, resource.split(":")[4], asked)
    return decide(request, [], parse(policy, f"{resource} policy")).allowed


def role_may(
    role: str,
    action: str,
    resource: str,
    policy: str | None,
    context: Mapping[str, Sequence[str]],
) -> bool:
    """Whether `role` (ARN) may act on `resource`: by its policies, and the resource's (JSON)."""
    account = role.split(":")[4]
    session = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/service"
    request = Request(
        Principal(account=account, arn=session, role=role),
        action,
        resource,
        resource.split(":")[4],
        {
            "aws:PrincipalArn": [role],
            "aws:PrincipalAccount": [account],
            "aws:SecureTransport": ["true"],
            **context,
        },
    )
    resource_policy = None if policy is None else parse(policy, f"{resource} policy")
    return decide(request, _policies_of(role), resource_policy).allowed


def _policies_of(role: str) -> list[Policy]:
    found = _role(role)
    if found is None:
        return []
    managed = [(name, each.document) for name, each in found.managed_policies.items()]
    return [
        parse(_text(document), f"{role} {name}")
        for name, document in [*found.policies.items(), *managed]
    ]


def _role(arn: str) -> Any:
    backend = iam_backends[arn.split(":")[4]]["aws"]
    return next((role for role in backend.roles.values() if role.arn == arn), None)


def _text(document: Any) -> str:
    return unquote(document) if isinstance(document, str) else json.dumps(document)
