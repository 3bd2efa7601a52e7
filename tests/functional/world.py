"""The product in the embedded cloud, with models whose artefacts say how they behave.

One cloud serves all tests of a module: each has a model group of its own in it, with its own
policy and endpoints, and looks at nothing but that.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

import msgspec
import yaml
from sageops.model import Head, Release

from local.company import ACCOUNTS, HUB, PRODUCTION, REGION, Company, Customers, company
from local.inbox import Message
from local.lambdas import Invocation, LostFunction
from local.simulator.service import Simulator
from local.simulator.site import Containers, Document, Reply, Run, ServiceError
from pipelines.data import Request

__all__ = [
    "AFTER_THE_NIGHT",
    "CANARY",
    "GATED",
    "IMAGE",
    "MIXED_ROWS",
    "STAGE",
    "STAGING",
    "Call",
    "Model",
    "Models",
    "State",
    "World",
    "arriving",
    "effects",
    "entries",
    "figures",
    "go",
    "mail",
    "opened",
    "policy_file",
    "register",
    "stage",
    "to_canary",
    "to_gate",
]

IMAGE = f"{HUB}.dkr.ecr.{REGION}.amazonaws.com/models:1"
# Past the nightly schedule, so that nothing is trained that a test did not ask for.
AFTER_THE_NIGHT = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)


# ---------------------------------------------------------------- models


@dataclass(frozen=True)
class Model:
    """A model that needs no training: its artefact is this, as JSON, and its container obeys it.

    Bodies with `fails_on` in them are answered with status 500; `slow_ms` is real time.
    """

    name: str = "good"
    answer: str = '{"predictions": [0]}'
    fails_on: str = ""
    slow_ms: int = 0
    healthy: bool = True

    @property
    def artefact(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@dataclass
class Models:
    """`Containers` for such models. What else there is runs on `machines`, where there are any;
    without them a training run leaves behind a model of this `accuracy` that answers well."""

    machines: Containers | None = None
    accuracy: float = 0.95

    def ping(self, artifact: bytes, environment: Mapping[str, str]) -> bool:
        model = _model(artifact)
        if model is None and self.machines is not None:
            return self.machines.ping(artifact, environment)
        return model is None or model.healthy

    def invoke(
        self,
        artifact: bytes,
        environment: Mapping[str, str],
        body: bytes,
        content_type: str,
        accept: str,
    ) -> Reply:
        model = _model(artifact)
        if model is None and self.machines is not None:
            return self.machines.invoke(artifact, environment, body, content_type, accept)
        return _answer(model or Model("trained"), body)

    def run(
        self,
        program: str,
        source: bytes,
        arguments: list[str],
        environment: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, bytes]],
        outputs: list[str],
    ) -> Run:
        if self.machines is not None:
            return self.machines.run(program, source, arguments, environment, inputs, outputs)
        report = json.dumps({"metrics": {"accuracy": {"value": self.accuracy}}}).encode()
        files = {
            "train": {"train.csv": b"0,1\n"},
            "test": {"test.csv": b"0,1\n"},
            "model": {"model.joblib": b"trained"},
            "evaluation": {"evaluation.json": report},
        }
        return Run(0, "", {folder: files[folder.rpartition("/")[2]] for folder in outputs})


def _model(artifact: bytes) -> Model | None:
    return Model(**json.loads(artifact)) if artifact.startswith(b"{") else None


def _answer(model: Model, body: bytes) -> Reply:
    time.sleep(model.slow_ms / 1000)  # the model's own slowness
    if model.fails_on and model.fails_on in body.decode():
        return Reply(500, b"division by zero", "text/plain", timedelta(milliseconds=1))
    return Reply(200, model.answer.encode(), "application/json", timedelta(milliseconds=1))


# ---------------------------------------------------------------- policies

CANARY: Document = {
    "strategy": "canary",
    "canary_percent": 10,
    "canary_minutes": 4,
    "bake_minutes": 1,
}


def stage(name: str, **changes: Any) -> Document:
    """A stage of a policy that is soon done; its endpoint is `<group>-<name>`."""
    quick = {
        "name": name,
        "serving": {"instance_type": "ml.m5.large", "instance_count": 1},
        "rollout": {"strategy": "all_at_once"},
        "checks": {
            "smoke": [{"body": "{}", "expect": "predictions"}],
            "alarms": {"error_percent": 1, "min_requests": 5},
            "bake_minutes": 1,
        },
        "gate": "auto",
    }
    return quick | changes


STAGING = stage("staging")
# Production, its gate open, and with a person at its gate.
STAGE = stage(
    "production",
    serving={"instance_type": "ml.m5.large", "instance_count": 10},
    rollout=CANARY,
)
GATED = STAGE | {"gate": "manual"}


def policy_file(folder: Path, group: str, *stages: Document, **more: Any) -> Path:
    """A file with a policy of these stages, and `more`, for a group."""
    written = [
        {
            "target": {
                "account": ACCOUNTS[each["name"]],
                "region": REGION,
                "endpoint": f"{group}-{each['name']}",
            }
        }
        | each
        for each in stages
    ]
    file = folder / f"{group}.yaml"
    file.write_text(yaml.safe_dump({"group": group, "stages": written, **more}))
    return file


# ---------------------------------------------------------------- the world


@dataclass(frozen=True)
class Call:
    """A request that reached SageMaker. `error` is the code of its refusal."""

    at: datetime
    account: str
    caller: str
    operation: str
    parameters: Document
    error: str = ""

    @property
    def is_the_products(self) -> bool:
        return "/sageops" in self.caller


# Operation, moment, and what the call is about.
Crash = tuple[str, Literal["before", "after"], str]


@dataclass(frozen=True)
class State:
    """All that can be seen of a group."""

    head: Head
    releases: tuple[Release, ...]
    endpoints: tuple[object, ...]
    log: int
    mail: int
    effects: Mapping[str, int]


@dataclass
class World:
    """A company with all that SageMaker was asked for, and the groups that tests opened in it."""

    company: Company
    models: Models
    calls: list[Call]
    crashes: list[Crash]
    folder: Path
    _groups: int = 0
    _expected: list[str] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def group(self, *stages: Document) -> Company:
        """A new model group under a policy of these stages; without any, it has no policy yet."""
        self._groups += 1
        it = replace(self.company, group=f"model-{self._groups:03d}")
        sagemaker = it.cloud.client("sagemaker")
        sagemaker.create_model_package_group(ModelPackageGroupName=it.group)
        if stages:
            self.push(it, *stages)
            it.wait(seconds=1)
        return it

    def push(self, it: Company, *stages: Document, **more: Any) -> str:
        """Push a policy of these stages, and `more`, for the group; what the command says."""
        file = self.policy_file(it, *stages, **more)
        return it.command("policy", "push", str(file), "--by", "owner")

    def policy_file(self, it: Company, *stages: Document, **more: Any) -> Path:
        """A policy of these stages, and `more`, for the group."""
        return policy_file(self.folder, it.group, *stages, **more)

    def forget(self, it: Company) -> None:
        """Nothing is wanted of the group any more: what it left behind concerns no other test."""
        table, dynamodb = it.outputs[HUB]["TableName"], it.cloud.client("dynamodb")
        left = dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"GROUP#{it.group}"}},
            ProjectionExpression="pk, sk",
        )
        for key in [*left["Items"], {"pk": {"S": "GROUPS"}, "sk": {"S": it.group}}]:
            dynamodb.delete_item(TableName=table, Key={"pk": key["pk"], "sk": key["sk"]})
        for account in ACCOUNTS.values():
            cloudwatch = it.cloud.client("cloudwatch", account)
            alarms = cloudwatch.describe_alarms(AlarmNamePrefix=f"sageops/{it.group}-")
            names = [alarm["AlarmName"] for alarm in alarms["MetricAlarms"]]
            if names:
                cloudwatch.delete_alarms(AlarmNames=names)

    def expect(self, *words: str) -> None:
        """What goes wrong with one of these words in it is what the test is about."""
        self._expected += words

    def went_wrong(self) -> list[str]:
        """What failed, was lost, refused or left in a dead-letter queue since this was last asked,
        and was not expected."""
        cloud = self.company.cloud
        found = [
            *(_failure(each) for each in self._new("calls", cloud.invocations)),
            *(f"lost: {each.why}" for each in self._new("lost", cloud.lost)),
            *(each.message for each in self._new("denied", cloud.authorization.denials)),
            *self._dead_letters(),
        ]
        expected, self._expected = self._expected, []
        return [each for each in found if each and not any(word in each for word in expected)]

    def state(self, it: Company) -> State:
        """What is so now; the count of the head's writes and its next look are left out."""
        return State(
            msgspec.structs.replace(it.head(), revision=0, wake_at=None),
            tuple(it.table.releases(it.group)),
            tuple(it.endpoint(stage) for stage in ACCOUNTS),
            len(it.log()),
            len(mail(it)),
            effects(self, it),
        )

    def crash_at(self, operation: str, when: Literal["before", "after"], of: str = "") -> None:
        """Let the worker of the product's next call of the operation be gone: before SageMaker
        hears of it, or after it did what it was asked for. `of`: the call's parameters name it."""
        self.crashes.append((operation, when, of))

    def invocations_of(self, function: str, event_id: str) -> list[Invocation]:
        """The calls of a function with the event of that id."""
        return [
            each
            for each in self.company.cloud.invocations
            if each.function == function
            and isinstance(each.event, dict)
            and each.event.get("id") == event_id
        ]

    def _new(self, what: str, items: list[Any]) -> list[Any]:
        begin = self._seen.get(what, 0)
        self._seen[what] = len(items)
        return items[begin:]

    def _dead_letters(self) -> Iterator[str]:
        sqs, main = self.company.cloud.client("sqs"), self.company.outputs[HUB]["QueueUrl"]
        for url in sqs.list_queues()["QueueUrls"]:
            while url != main:
                answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
                for letter in answer.get("Messages", []):
                    yield f"dead letter in {url.rpartition('/')[2]}: {letter['Body']}"
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])
                if not answer.get("Messages"):
                    break


def _failure(call: Invocation) -> str:
    if call.error:
        return f"{call.function}: {call.error}"
    lines = (line for line in call.log.splitlines() if '"level":"ERROR"' in line)
    return next((f"{call.function}: {line}" for line in lines), "")


@contextmanager
def opened(models: Models, start: datetime, folder: Path) -> Iterator[World]:
    """Open a company and watch what it asks of SageMaker."""
    with ExitStack() as stack:
        # botocore's pauses between its own tries take no virtual time, and need take no real one.
        paused = SimpleNamespace(sleep=lambda _: None)
        stack.enter_context(patch("botocore.endpoint.time", paused))
        it = stack.enter_context(company(models, start=start))
        calls, crashes = stack.enter_context(_watched(it.cloud.simulator))
        yield World(it, models, calls, crashes, folder)


@contextmanager
def _watched(simulator: Simulator) -> Iterator[tuple[list[Call], list[Crash]]]:
    calls: list[Call] = []
    crashes: list[Crash] = []
    call = simulator.call

    def crash(operation: str, when: Literal["before", "after"], about: Document) -> None:
        for planned in crashes:
            if planned[:2] == (operation, when) and planned[2] in str(about):
                crashes.remove(planned)
                raise LostFunction("the worker is gone")

    def watched(
        account: str, region: str, operation: str, parameters: Document, caller: str = ""
    ) -> Document:
        error = ""
        crash(operation, "before", parameters)
        try:
            answer = call(account, region, operation, parameters, caller)
        except ServiceError as refused:
            error = refused.code
            raise
        finally:
            now = datetime.now(UTC)
            calls.append(Call(now, account, caller, operation, parameters, error))
        crash(operation, "after", parameters)
        return answer

    with patch.object(simulator, "call", watched):
        yield calls, crashes


# ---------------------------------------------------------------- what people do, and what they see


def register(
    it: Company,
    model: Model | None = None,
    status: str = "PendingManualApproval",
    image: str = IMAGE,
    **more: Any,
) -> int:
    """Register a version with this artefact, to be approved or in that status; its number. `more`
    are members of CreateModelPackage."""
    model = model or Model()
    bucket = it.outputs[HUB]["ModelBucketName"]
    key = f"{it.group}/{model.name}/model.tar.gz"
    it.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=model.artefact)
    container = {
        "Image": image,
        "ModelDataUrl": f"s3://{bucket}/{key}",
    }
    made = it.cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName=it.group,
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        **more,
    )
    return int(made["ModelPackageArn"].rpartition("/")[2])


def go(it: Company, model: Model | None = None) -> int:
    """Register a version, approve it, and wait until it is live; its number."""
    version = register(it, model)
    it.decide(version, "Approved")
    it.wait_until(version, "Live", hours=2)
    return version


def to_canary(it: Company) -> None:
    """Let time pass until one of production's ten new instances has traffic. Raises
    TimeoutError."""
    for _ in range(60):
        if _with_traffic(it) == 1:
            return
        it.wait(seconds=15)
    raise TimeoutError(f"{it.group}-production is in no canary")


def _with_traffic(it: Company) -> int | None:
    name = {"EndpointName": f"{it.group}-production"}
    seen = it.cloud.simulator.call(PRODUCTION, REGION, "DescribeEndpoint", name)
    variants = seen.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
    return next((int(each["CurrentInstanceCount"]) for each in variants), None)


def to_gate(it: Company, version: int) -> None:
    """Let time pass until the version waits for a person at production's gate."""
    it.wait(seconds=1)
    it.wait_until(version, "AwaitingApproval", hours=2)


# One request in ten is `odd`.
MIXED_ROWS = [
    Request(json.dumps({"row": row}).encode(), "application/json", 0)
    for row in ["plain"] * 6 + ["odd"] + ["plain"] * 3
]


@contextmanager
def arriving(
    it: Company, per_minute: int = 120, rows: list[Request] | None = None
) -> Iterator[Customers]:
    """Within it, customers' requests come in to production."""
    customers = it.customers("production", per_minute, rows or MIXED_ROWS)
    try:
        yield customers
    finally:
        customers.stop()


def mail(it: Company, what: str | None = None) -> list[Message]:
    """The messages about the group; of one event (`Live`), or all of them."""
    return [
        message
        for message in it.cloud.inbox
        if message.attributes.get("group") == it.group
        and what in (None, message.attributes["event"])
    ]


def figures(message: Message) -> dict[str, str]:
    """The figures in a message, a line each."""
    found = (line.partition(":") for line in message.body.splitlines() if line.startswith("  "))
    return {name.strip(): value.strip() for name, _, value in found}


def entries(it: Company, version: int, stage: str | None = None) -> list[str]:
    """What the log says happened to a version, in order; in one stage, or in all."""
    return [
        entry.what
        for entry in it.log()
        if entry.version == version and stage in (None, entry.stage)
    ]


def effects(world: World, it: Company) -> Mapping[str, int]:
    """What the product changed for the group, by operation; refused calls, too, as such."""
    counted: Counter[str] = Counter()
    for call in world.calls:
        changes = not call.operation.startswith(("Describe", "List"))
        if call.is_the_products and changes and it.group in str(call.parameters):
            counted[f"{call.operation} {call.error}".strip()] += 1
    for stage, account in ACCOUNTS.items():
        versions = it.cloud.client("s3", account).list_object_versions(
            Bucket=it.outputs[account]["ArtifactBucketName"], Prefix=f"{it.group}/"
        )
        counted[f"CopyObject to {stage}"] += len(versions.get("Versions", []))
    return counted
