"""Clients for target accounts: the hub's role assumes the target's, once an hour and errand.

Sources: STS AssumeRole, 'Passing session tags in AWS STS', 'Monitor and control actions taken
with assumed roles' (SourceIdentity), 'Session policies'.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from botocore.config import Config

from sageops.adapters.trouble import troubles
from sageops.model import Errand
from sageops.names import bucket, partition, target_role_arn
from sageops.policy import Target

__all__ = ["CONFIG", "Targets", "session_policy"]

# The worst case of a call, three tries of ten seconds, stays well below a function's timeout.
# (`max_attempts` would be three *more* tries: botocore, 'Retries'.)
CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10
)
# Credentials are renewed when less than this is left of them.
_MARGIN = timedelta(minutes=5)
# A tag's value where there is none: STS takes no condition on an empty one for a value.
_NOT_SAID = "unknown"


class Targets:
    """Hands out clients that act in a target account, for one errand each.

    The release is in the session's name, and in its tags and source identity, so CloudTrail of
    the target account shows for whose sake each call was made. A session can change the errand's
    endpoint and no other. Credentials live in memory only, and no repr shows them.
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
        if credentials is None or self._is_ending(credentials):
            # Errands come and go, and a client takes some of a function's memory.
            ending = {k for k, v in self._credentials.items() if self._is_ending(v)}
            self._clients = {k: v for k, v in self._clients.items() if k[0] not in ending}
            self._credentials = {k: v for k, v in self._credentials.items() if k not in ending}
            credentials = self._credentials[errand] = self._assume(errand)
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

    def _is_ending(self, credentials: dict[str, Any]) -> bool:
        left: timedelta = credentials["Expiration"] - self._clock()
        return left < _MARGIN

    def _assume(self, errand: Errand) -> dict[str, Any]:
        target = errand.target
        arn = self._role_arn(target)
        fix = (
            f"Deploy target.yaml in account {target.account}, with this hub's role and ExternalId, "
            "and name the account in the hub's TargetAccounts."
        )
        who = _plain(f"sageops-{errand.release}")
        # The trust policy of target.yaml asks for all three.
        tags = {
            "sageops:release": errand.release,
            "sageops:stage": errand.stage or _NOT_SAID,
            "sageops:approver": errand.approved_by or _NOT_SAID,
        }
        with troubles(f"sts:AssumeRole of {arn}", target.account, fix):
            answer = self._sts.assume_role(
                RoleArn=arn,
                RoleSessionName=who,
                ExternalId=self._external_id,
                SourceIdentity=who,
                Tags=[{"Key": k, "Value": _tag(v)} for k, v in tags.items()],
                Policy=session_policy(errand),
            )
        credentials: dict[str, Any] = answer["Credentials"]
        return credentials


def session_policy(errand: Errand) -> str:
    """What is left of the target role for one errand: its endpoint, its release's artefacts.

    The session may do what both this and the role's policies allow, so this says which things,
    and leaves to target.yaml what may be done with them. At most 2048 characters (AssumeRole).
    SageMaker writes names in ARNs in small letters in places, so both spellings are allowed.
    """
    target = errand.target
    group = errand.release.partition("/")[0]
    here = f"arn:{partition(target)}:%s:{target.region}:{target.account}:"
    sagemaker = here % "sagemaker"
    ours = [
        f"{sagemaker}{name}"
        for endpoint in dict.fromkeys((target.endpoint, target.endpoint.lower()))
        for name in (
            f"endpoint/{endpoint}",
            f"endpoint-config/{endpoint}-v*",
            f"model/{endpoint}-v*",
        )
    ]
    registry = [f"{sagemaker}model-package-group/{group}", f"{sagemaker}model-package/{group}/*"]
    copies = f"arn:{partition(target)}:s3:::{bucket(target)}/{errand.release}/*"
    statements = [
        _allow("sagemaker:*", [*ours, *registry]),
        # An endpoint taken over goes back to a configuration of any name.
        _allow(
            ["sagemaker:CreateEndpoint", "sagemaker:DescribeEndpointConfig", _UPDATE],
            [f"{sagemaker}endpoint-config/*"],
        ),
        _allow(
            ["cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"],
            [f"{here % 'cloudwatch'}alarm:sageops/{target.endpoint}-v*"],
        ),
        _allow("s3:PutObject", [copies]),
        {"Effect": "Allow", "NotAction": _CUT, "Resource": "*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


_UPDATE = "sagemaker:UpdateEndpoint"
# What the statements above say; the rest of the role's policies reads, or is bound in them.
_CUT = ["sagemaker:*", "cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms", "s3:PutObject"]


def _allow(actions: str | list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _plain(text: str) -> str:
    """A session name or source identity: 2 to 64 of ASCII letters, digits and `=,.@-`."""
    return re.sub(r"[^\w=,.@-]", "-", text, flags=re.ASCII)[:64]


def _tag(text: str) -> str:
    """A tag's value: up to 256 letters, digits, spaces and `_.:/=+-@`."""
    return re.sub(r"[^\w .:/=+@-]", "-", text)[:256]
