"""The world around the simulator, and its two doors."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from local.clock import Clock
from local.simulator import validation
from local.simulator.service import Simulator
from local.simulator.site import Reply, Run, ServiceError

ACCOUNT = "333333333333"
REGION = "eu-west-1"
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sageops-model-execution"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/sklearn:1.7"


class Refused(Exception):
    """What both doors raise instead of an answer, in one form."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True)
class Event:
    at: datetime
    account: str
    detail_type: str
    detail: dict[str, Any]
    resources: list[str]


@dataclass
class World:
    """The rest of the cloud, kept in dictionaries: objects, alarms, events, metrics."""

    clock: Clock
    objects: dict[str, bytes] = field(default_factory=dict)
    alarms: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    # Values by metric name and dimensions, and the minute they were stamped with.
    metrics: dict[tuple[str, frozenset[tuple[str, str]]], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    puts: list[tuple[datetime, str]] = field(default_factory=list)

    def publish(
        self,
        account: str,
        region: str,
        detail_type: str,
        detail: dict[str, Any],
        resources: list[str],
    ) -> None:
        self.events.append(Event(self.clock.now, account, detail_type, detail, resources))

    def put_metric(
        self,
        account: str,
        region: str,
        name: str,
        dimensions: Mapping[str, str],
        values: list[float],
        namespace: str = "AWS/SageMaker",
    ) -> None:
        self.metrics[name, frozenset(dimensions.items())].extend(values)
        self.puts.append((self.clock.now.replace(second=0, microsecond=0), name))

    def alarm_state(self, account: str, region: str, name: str) -> str | None:
        return self.alarms.get(name)

    def read(self, account: str, uri: str) -> bytes:
        if uri not in self.objects:
            raise ServiceError("AccessDenied", f"{uri} cannot be read by {account}", 403)
        return self.objects[uri]

    def write(self, account: str, uri: str, body: bytes) -> None:
        self.objects[uri] = body

    def statuses(self, detail_type: str = "SageMaker Endpoint State Change") -> list[str]:
        chosen = [e.detail["EndpointStatus"] for e in self.events if e.detail_type == detail_type]
        return [str(status) for status in chosen]


class Machines:
    """Containers whose artefact says what they answer: `STATUS:body`, after 20 milliseconds.

    One that says `sick` does not pass the health check.
    """

    def ping(self, artifact: bytes, environment: Mapping[str, str]) -> bool:
        return artifact != b"sick"

    def invoke(
        self,
        artifact: bytes,
        environment: Mapping[str, str],
        body: bytes,
        content_type: str,
        accept: str,
    ) -> Reply:
        status, _, answer = artifact.partition(b":")
        kind = environment.get("CONTENT_TYPE", accept)
        return Reply(int(status), answer + body, kind, timedelta(milliseconds=20))

    def run(
        self,
        program: str,
        source: bytes,
        arguments: list[str],
        environment: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, bytes]],
        outputs: list[str],
    ) -> Run:
        raise NotImplementedError("no endpoint runs a job")


@dataclass(frozen=True)
class Answer:
    body: bytes
    content_type: str
    variant: str


class Direct:
    """`Simulator.call`, whose answers must fit the operation's output shape."""

    name = "direct"

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            answer = self._simulator.call(ACCOUNT, REGION, operation, parameters)
        except ServiceError as error:
            raise Refused(error.code, error.message, error.status) from error
        shape = validation.output_shape(operation)
        if shape is not None:
            report = ParamValidator().validate(answer, shape)
            assert not report.has_errors(), report.generate_report()
        return answer

    def invoke(
        self,
        endpoint: str,
        body: bytes = b"",
        accept: str = "text/csv",
        variant: str | None = None,
    ) -> Answer:
        try:
            got = self._simulator.invoke(
                ACCOUNT, REGION, endpoint, body, "text/csv", accept, variant
            )
        except ServiceError as error:
            raise Refused(error.code, error.message, error.status) from error
        return Answer(got.body, got.content_type, got.variant)


class Boto3:
    """boto3 against moto with the plug-in, as an assumed role of the account."""

    name = "boto3"

    def __init__(self) -> None:
        sts = boto3.client("sts", region_name=REGION)
        role = f"arn:aws:iam::{ACCOUNT}:role/sageops-target"
        assumed = sts.assume_role(RoleArn=role, RoleSessionName="contract")["Credentials"]
        session = boto3.Session(
            assumed["AccessKeyId"],
            assumed["SecretAccessKey"],
            assumed["SessionToken"],
            region_name=REGION,
        )
        # The service is to refuse what is wrong, not the client; and at once.
        config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
        self.control = session.client("sagemaker", config=config)
        self.runtime = session.client("sagemaker-runtime", config=config)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        method = self.control.meta.method_to_api_mapping
        python_name = next(name for name, api in method.items() if api == operation)
        try:
            answer: dict[str, Any] = getattr(self.control, python_name)(**parameters)
        except ClientError as error:
            raise _refused(error) from error
        del answer["ResponseMetadata"]
        return answer

    def invoke(
        self,
        endpoint: str,
        body: bytes = b"",
        accept: str = "text/csv",
        variant: str | None = None,
    ) -> Answer:
        target = {} if variant is None else {"TargetVariant": variant}
        try:
            got = self.runtime.invoke_endpoint(
                EndpointName=endpoint, Body=body, ContentType="text/csv", Accept=accept, **target
            )
        except ClientError as error:
            raise _refused(error) from error
        return Answer(got["Body"].read(), got["ContentType"], got["InvokedProductionVariant"])


def _refused(error: ClientError) -> Refused:
    detail, metadata = error.response["Error"], error.response["ResponseMetadata"]
    return Refused(detail["Code"], detail["Message"], metadata["HTTPStatusCode"])
