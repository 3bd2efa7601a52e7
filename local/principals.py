"""Who calls: clients of an account's administrator, and of the roles that services assume.

Documentation: IAM user guide, "Roles terms and concepts". moto tells accounts apart by whose
credentials sign a call, so everybody here has the credentials of an assumed role;
`local.authorization` checks the calls of all but the administrator.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3
from botocore.config import Config
from moto.sts.models import sts_backends

from local.actions import Need
from local.authorization import ADMINISTRATOR, Authorization
from local.clock import Clock

__all__ = ["Credentials", "NotAssumable", "Principals"]

_LIFETIME = timedelta(hours=12)
# An answer that needs a retry will not get better within one moment of virtual time.
_ONE_ATTEMPT = Config(retries={"mode": "standard", "total_max_attempts": 1})


class NotAssumable(Exception):
    """The role does not exist, or its trust policy does not let the service in."""


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
    authorization: Authorization
    # The typed overloads want the service's name as a literal.
    _session: Any = field(default_factory=boto3.Session)
    _clients: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def administrator(self, service: str, account: str, region: str | None = None) -> Any:
        """A boto3 client that may do everything in `account`."""
        role = f"arn:aws:iam::{account}:role/{ADMINISTRATOR}"
        return self._client(service, role, ADMINISTRATOR, region)

    def role(self, service: str, role: str, principal: str, session: str, source: str = "") -> Any:
        """A client that acts as `role` (ARN), assumed by a service such as `lambda.amazonaws.com`.

        `source` is the ARN that the service acts for. Raises `NotAssumable`.
        """
        self.check_assumable(role, principal, source)
        return self._client(service, role, session, None)

    def check_assumable(self, role: str, principal: str, source: str = "") -> None:
        """Raise `NotAssumable` unless the role's trust policy lets the service in."""
        account = role.split(":")[4]
        decision = self.authorization.service_may(
            principal, "sts:AssumeRole", role, source_arn=source, source_account=account
        )
        if not decision.allowed:
            raise NotAssumable(f"{role} does not exist, or does not trust {principal}")

    def check_permitted(self, role: str, needs: Iterable[Need]) -> None:
        """Raise `PermissionError` unless a service may do all this with `role`."""
        for need in needs:
            found = self.authorization.permits(role, need.action, need.resource, need.context)
            if not found.allowed:
                raise PermissionError(
                    f"The provided execution role {role} does not have permissions to call "
                    f"{need.action} on {need.resource}"
                )

    def credentials(self, role: str, session: str) -> Credentials:
        """New credentials of `role` (ARN)."""
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
