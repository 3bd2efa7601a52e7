"""What every part of the simulator shares: one account's SageMaker in one Region."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from local.clock import Clock

__all__ = [
    "Containers",
    "Document",
    "Operation",
    "Outside",
    "Reply",
    "Run",
    "ServiceError",
    "Site",
    "copied",
]

# The API's own JSON documents. They stop at the adapters; only this simulator and they see them.
Document = dict[str, Any]
T = TypeVar("T")
_CHANGING = (dict, list)


def copied(value: T) -> T:
    """A copy of a document, or of a part of one, that shares nothing that can change.

    Mappings and lists are copied; all else in a document is immutable, and is not even visited.
    `copy.deepcopy` does the same in several times the time, which is a good part of that of a
    simulated call.
    """
    made: Any = value
    if isinstance(value, dict):
        made = {k: copied(v) if isinstance(v, _CHANGING) else v for k, v in value.items()}
    elif isinstance(value, list):
        made = [copied(v) if isinstance(v, _CHANGING) else v for v in value]
    copy: T = made
    return copy


class ServiceError(Exception):
    """What SageMaker answers instead of a result.

    `code` as in the service model's error shapes, or the common codes `ValidationException`,
    `ThrottlingException`, `AccessDeniedException`, `InternalFailure`.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class Outside(Protocol):
    """The rest of the cloud, as far as SageMaker touches it; `account`, `region` are the site's."""

    def publish(
        self, account: str, region: str, detail_type: str, detail: Document, resources: list[str]
    ) -> None:
        """Put an event with source `aws.sagemaker` on the account's default bus."""

    def put_metric(
        self,
        account: str,
        region: str,
        name: str,
        dimensions: Mapping[str, str],
        values: list[float],
        namespace: str = "AWS/SageMaker",
    ) -> None:
        """Add observations to a CloudWatch metric, stamped with the present minute."""

    def alarm_state(self, account: str, region: str, name: str) -> str | None:
        """`OK`, `ALARM`, `INSUFFICIENT_DATA`; None when there is no such alarm."""

    def read(self, account: str, uri: str) -> bytes:
        """An S3 object as this account's SageMaker sees it. Raises `ServiceError`."""

    def write(self, account: str, uri: str, body: bytes) -> None:
        """Write an S3 object into one of this account's buckets."""


@dataclass
class Site:
    """SageMaker of one account in one Region; `state` is each module's own, under its own key."""

    account: str
    region: str
    clock: Clock
    outside: Outside
    containers: "Containers"
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.clock.now

    def arn(self, kind: str, name: str) -> str:
        """`arn:aws:sagemaker:REGION:ACCOUNT:kind/name`."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name}"


# One API operation: (site, parameters) -> answer. Raises ServiceError.
# `caller` of a change is the ARN in `parameters["@caller"]`, where a front door knows it.
Operation = Callable[[Site, Document], Document]


@dataclass(frozen=True)
class Reply:
    """What a model's container answered to `POST /invocations`."""

    status: int
    body: bytes
    content_type: str
    latency: timedelta


@dataclass(frozen=True)
class Run:
    """What a job's container left behind: its files by output folder, then by relative path."""

    exit_code: int
    message: str
    outputs: dict[str, dict[str, bytes]]


class Containers(Protocol):
    """The machines that SageMaker would start: they really run the code they are given."""

    def ping(self, artifact: bytes, environment: Mapping[str, str]) -> bool:
        """Start the model in `artifact`; whether it passes `GET /ping`, the health check."""

    def invoke(
        self,
        artifact: bytes,
        environment: Mapping[str, str],
        body: bytes,
        content_type: str,
        accept: str,
    ) -> Reply:
        """One request to the model in `artifact` (a `model.tar.gz`), by the container contract."""

    def run(
        self,
        program: str,
        source: bytes,
        arguments: list[str],
        environment: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, bytes]],
        outputs: list[str],
    ) -> Run:
        """Run a job's `program` out of `source` (a `tar.gz` of a source folder).

        `inputs` are files to lay down before it, by folder (`/opt/ml/processing/input/model`) and
        relative path; `outputs` are the folders to bring back. No shell, a time limit, its own
        temporary root that stands for `/`.
        """
