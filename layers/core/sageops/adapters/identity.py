"""Clients for target accounts: the hub's role assumes the target's, once an hour and release.

Sources: STS AssumeRole, 'Passing session tags in AWS STS', 'Monitor and control actions taken
with assumed roles' (SourceIdentity).
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from botocore.config import Config

from sageops.adapters.trouble import troubles
from sageops.model import Errand
from sageops.names import target_role_arn
from sageops.policy import Target

__all__ = ["CONFIG", "Targets"]

# The worst case of a call, three tries of ten seconds, stays well below a function's timeout.
# (`max_attempts` would be three *more* tries: botocore, 'Retries'.)
CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10
)
# Credentials are renewed when less than this is left of them.
_MARGIN = timedelta(minutes=5)


class Targets:
    """Hands out clients that act in a target account, for one release each.

    The release is in the session's name, and in its tags and source identity, so CloudTrail of
    the target account shows for whose sake each call was made. Credentials live in memory only.
    """

    def __init__(
        self,
        session: Any,
        external_id: str,
        clock: Callable[[], datetime],
        role_arn: Callable[[Target], str] = target_role_arn,
    ) -> None:
        """`role_arn` says which role of a target's account is assumed."""
        self._session = session
        self._sts = session.client("sts", config=CONFIG)
        self._external_id = external_id
        self._clock = clock
        self._role_arn = role_arn
        self._credentials: dict[Errand, dict[str, Any]] = {}
        self._clients: dict[tuple[Errand, str], Any] = {}

    def client(self, errand: Errand, service: str) -> Any:
        """A client of `service` in the errand's account and Region. Raises `TroubleError`."""
        credentials = self._credentials.get(errand)
        if credentials is None or credentials["Expiration"] - self._clock() < _MARGIN:
            credentials = self._credentials[errand] = self._assume(errand)
            self._clients = {k: v for k, v in self._clients.items() if k[0] != errand}
        if (errand, service) not in self._clients:
            self._clients[errand, service] = self._session.client(
                service,
                region_name=errand.target.region,
                aws_access_key_id=credentials["AccessKeyId"],
                aws_secret_access_key=credentials["SecretAccessKey"],
                aws_session_token=credentials["SessionToken"],
                config=CONFIG,
            )
        return self._clients[errand, service]

    def _assume(self, errand: Errand) -> dict[str, Any]:
        target = errand.target
        arn = self._role_arn(target)
        fix = (
            f"Deploy target.yaml in account {target.account}, with this hub's role and ExternalId."
        )
        who = _plain(f"sageops-{errand.release}")
        tags = {"sageops:release": errand.release, "sageops:approved-by": errand.approved_by}
        with troubles(f"sts:AssumeRole of {arn}", target.account, fix):
            answer = self._sts.assume_role(
                RoleArn=arn,
                RoleSessionName=who,
                ExternalId=self._external_id,
                SourceIdentity=who,
                Tags=[{"Key": k, "Value": _tag(v)} for k, v in tags.items() if v],
            )
        credentials: dict[str, Any] = answer["Credentials"]
        return credentials


def _plain(text: str) -> str:
    """A session name or source identity: 2 to 64 of letters, digits and `=,.@-`."""
    return re.sub(r"[^\w=,.@-]", "-", text)[:64]


def _tag(text: str) -> str:
    """A tag's value: up to 256 letters, digits, spaces and `_.:/=+-@`."""
    return re.sub(r"[^\w .:/=+@-]", "-", text)[:256]
