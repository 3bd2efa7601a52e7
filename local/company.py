"""The world outside SageOps, in small: three accounts, a training pipeline, people and customers.

The demo and the functional tests play it. It deploys the real templates, and after that only does
what a world does: time passes, somebody edits the pipeline, approves, aborts, sends requests.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import boto3
from sageops.adapters.store import Table
from sageops.conditions import phase
from sageops.model import EndpointSeen, Entry, Head, Phase, Release
from typer.testing import CliRunner

from cli.main import app
from local.authorization import ORGANIZATION
from local.cloud import Cloud
from local.simulator.site import Containers, ServiceError
from local.simulator.traffic import ModelError
from pipelines.data import Request, requests
from pipelines.register import upsert

__all__ = [
    "GROUP",
    "HUB",
    "PRODUCTION",
    "READERS",
    "REGION",
    "STAGING",
    "Company",
    "Customers",
    "company",
    "deployed",
]

HUB, STAGING, PRODUCTION = "111111111111", "222222222222", "333333333333"
REGION = "eu-west-1"
GROUP = "churn"
PIPELINE = "churn-training"
ACCOUNTS = {"staging": STAGING, "production": PRODUCTION}
ROOT = Path(__file__).parent.parent
POLICY = ROOT / "policies" / "churn.yaml"
# Early enough for the first night.
START = datetime(2026, 1, 5, 1, 30, tzinfo=UTC)
_IMAGE = f"{HUB}.dkr.ecr.{REGION}.amazonaws.com/sagemaker-scikit-learn:1.2-1"
_TRAINING_ROLE = "churn-training"
# Who reads the hub's registry from production, where a policy says `registry: hub`.
_READERS = "model-readers"
READERS = f"arn:aws:iam::{PRODUCTION}:role/{_READERS}"


@dataclass
class Customers:
    """Requests that go to one endpoint, real rows one after the other, until they are stopped."""

    answered: int = 0
    failed: int = 0
    going: bool = True

    def stop(self) -> None:
        self.going = False


@dataclass
class Company:
    """A hub with its target accounts. `outputs` are the stacks' outputs, by account; `group` is the
    model group that all below is about."""

    cloud: Cloud
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    group: str = GROUP

    # --- what people do ------------------------------------------------------------------------

    def command(self, *arguments: str, by: str = "ml-platform") -> str:
        """Run `sageops` as a person of the hub account; what it prints. Raises on failure."""
        answer = CliRunner().invoke(app, list(arguments), env=self.credentials(by))
        if answer.exception is not None and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        if answer.exit_code:
            raise RuntimeError(f"sageops {' '.join(arguments)}: {answer.output}")
        return answer.output

    def credentials(self, person: str) -> dict[str, str]:
        """The environment of somebody who is signed in to the hub account."""
        role = f"arn:aws:iam::{HUB}:role/administrator"
        sts = self.cloud.client("sts")
        got = sts.assume_role(RoleArn=role, RoleSessionName=person)["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": got["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": got["SecretAccessKey"],
            "AWS_SESSION_TOKEN": got["SessionToken"],
            "AWS_REGION": REGION,
        }

    def decide(self, version: int, status: str, by: str = "model-owner") -> None:
        """Approve or reject a version in the registry, as the console does."""
        self._sagemaker(by).update_model_package(
            ModelPackageArn=self.package_arn(version), ModelApprovalStatus=status
        )

    def set_stage(self, version: int, stage: str, status: str, by: str = "model-owner") -> None:
        """Say what stage a version is in, as Studio's 'Update model lifecycle' does."""
        self._sagemaker(by).update_model_package(
            ModelPackageArn=self.package_arn(version),
            ModelLifeCycle={"Stage": stage, "StageStatus": status},
        )

    def _sagemaker(self, person: str) -> Any:
        who = self.credentials(person)
        return boto3.Session(
            who["AWS_ACCESS_KEY_ID"], who["AWS_SECRET_ACCESS_KEY"], who["AWS_SESSION_TOKEN"], REGION
        ).client("sagemaker")

    def edit_pipeline(self, **defaults: str | int | float) -> None:
        """Change how the next model is trained (`pipelines.definition.PARAMETERS`)."""
        upsert(
            self.cloud.client("sagemaker"),
            self.cloud.client("s3"),
            name=PIPELINE,
            group=GROUP,
            role_arn=f"arn:aws:iam::{HUB}:role/{_TRAINING_ROLE}",
            image_uri=_IMAGE,
            bucket=self.outputs[HUB]["ModelBucketName"],
            defaults=defaults,
        )

    def invoke(self, stage: str, body: bytes, content_type: str) -> bytes:
        """One request to a stage's endpoint. Raises `ModelError`, `ServiceError`."""
        account, endpoint = ACCOUNTS[stage], f"{self.group}-{stage}"
        return self._ask(account, endpoint, body, content_type)

    def _ask(self, account: str, endpoint: str, body: bytes, content_type: str) -> bytes:
        return self.cloud.simulator.invoke(
            account, REGION, endpoint, body, content_type, "application/json"
        ).body

    def train(self, **defaults: str | int | float) -> str:
        """Train and register a version now, without waiting for the night; the execution's ARN."""
        self.edit_pipeline(**defaults)
        sagemaker = self.cloud.client("sagemaker")
        arn: str = sagemaker.start_pipeline_execution(PipelineName=PIPELINE)["PipelineExecutionArn"]
        return arn

    def register_again(self, version: int) -> None:
        """Register the model of a version once more, as a new version."""
        sagemaker = self.cloud.client("sagemaker")
        old = sagemaker.describe_model_package(ModelPackageName=self.package_arn(version))
        containers = old["InferenceSpecification"]["Containers"]
        for container in containers:
            container.pop("ImageDigest", None)
        sagemaker.create_model_package(
            ModelPackageGroupName=GROUP,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={**old["InferenceSpecification"], "Containers": containers},
            ModelMetrics=old["ModelMetrics"],
        )

    def customers(self, stage: str, per_minute: int, rows: Iterable[Request] = ()) -> Customers:
        """Let requests arrive at a stage's endpoint, four times a minute, from now on: these rows
        one after the other, or all of the data set's."""
        return self.customers_of(ACCOUNTS[stage], f"{self.group}-{stage}", per_minute, rows)

    def customers_of(
        self, account: str, endpoint: str, per_minute: int, rows: Iterable[Request] = ()
    ) -> Customers:
        """The same, of an endpoint of any name."""
        customers, arriving = Customers(), cycle(rows or requests())

        def arrive() -> None:
            if not customers.going:
                return
            for _ in range(per_minute // 4):
                row = next(arriving)
                try:
                    self._ask(account, endpoint, row.body, row.content_type)
                except (ModelError, ServiceError):
                    customers.failed += 1
                customers.answered += 1
            self.cloud.clock.after(timedelta(seconds=15), arrive)

        arrive()
        return customers

    # --- what time does ------------------------------------------------------------------------

    def wait(self, **span: float) -> None:
        """Let time pass."""
        self.cloud.clock.run_for(timedelta(**span))

    def wait_until(self, version: int, *phases: Phase, hours: float = 12) -> None:
        """Let time pass until the version is in one of these phases, and a moment longer, so that
        it is told, too. Raises TimeoutError."""
        end = self.cloud.clock.now + timedelta(hours=hours)
        calls = -1
        while True:
            # Only a function can have changed it.
            if calls != len(self.cloud.invocations):
                calls = len(self.cloud.invocations)
                if self.phase(version) in phases:
                    break
            if self.cloud.clock.now >= end:
                found = self.phase(version)
                raise TimeoutError(
                    f"{self.group}/{version} is {found} after {hours} h, not {phases}"
                )
            self.wait(seconds=15)
        self.wait(seconds=2)

    # --- what is -------------------------------------------------------------------------------

    @property
    def table(self) -> Table:
        return Table(self.cloud.client("dynamodb"), self.outputs[HUB]["TableName"])

    def head(self) -> Head:
        return self.table.head(self.group) or Head(self.group)

    def release(self, version: int) -> Release | None:
        return self.table.release(self.group, version)

    def phase(self, version: int) -> Phase | None:
        release = self.release(version)
        return None if release is None else phase(release.conditions)

    def log(self) -> list[Entry]:
        return self.table.log(self.group)

    def endpoint(self, stage: str) -> EndpointSeen | None:
        """What the simulator itself says of a stage's endpoint."""
        try:
            seen = self.cloud.simulator.call(
                ACCOUNTS[stage],
                REGION,
                "DescribeEndpoint",
                {"EndpointName": f"{self.group}-{stage}"},
            )
        except ServiceError:
            return None
        return EndpointSeen(
            seen["EndpointStatus"],
            seen["EndpointConfigName"],
            seen["LastModifiedTime"],
            seen.get("PendingDeploymentSummary", {}).get("EndpointConfigName", ""),
            seen.get("FailureReason", ""),
        )

    def serves(self, stage: str) -> int | None:
        """The version that a stage's endpoint serves, by the name of its configuration."""
        seen = self.endpoint(stage)
        if seen is None or seen.status != "InService":
            return None
        return int(seen.config.rpartition("-v")[2].partition("-")[0])

    def package_arn(self, version: int) -> str:
        return f"arn:aws:sagemaker:{REGION}:{HUB}:model-package/{self.group}/{version}"

    def approval(self, version: int) -> str:
        seen = self.cloud.simulator.call(
            HUB, REGION, "DescribeModelPackage", {"ModelPackageName": self.package_arn(version)}
        )
        return str(seen["ModelApprovalStatus"])


@contextmanager
def deployed(containers: Containers | None = None, start: datetime = START) -> Iterator[Company]:
    """Open the embedded cloud and deploy the stacks, and no more."""
    with Cloud(start, HUB, REGION, containers) as cloud:
        it = Company(cloud)
        _deploy(it)
        yield it


@contextmanager
def company(
    containers: Containers | None = None, policy: Path = POLICY, start: datetime = START
) -> Iterator[Company]:
    """Open the embedded cloud, deploy the stacks and push the policy, as an installation would."""
    with deployed(containers, start) as it:
        cloud = it.cloud
        cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=GROUP)
        _role(cloud.client("iam"), _TRAINING_ROLE, {"Service": "sagemaker.amazonaws.com"})
        it.edit_pipeline()
        it.command("policy", "push", str(policy), "--by", "ml-platform")
        it.wait(seconds=1)
        yield it


def _deploy(it: Company) -> None:
    secret = "sageops-demo-company"
    known = {"ExternalId": secret, "OrganizationId": ORGANIZATION}
    _role(it.cloud.client("iam", PRODUCTION), _READERS, {"AWS": PRODUCTION})
    hub = {"TargetAccounts": f"{STAGING},{PRODUCTION}", "ReaderRoleArns": READERS, **known}
    made = it.outputs[HUB] = it.cloud.deploy(ROOT / "template.yaml", HUB, "sageops", hub)
    target = {
        "HubAccountId": HUB,
        "HubBusArn": made["BusArn"],
        "HubReconcileRoleArn": made["ReconcileRoleArn"],
        "HubModelBucketName": made["ModelBucketName"],
        "HubModelKeyArn": made["ModelKeyArn"],
        **known,
        "HubObserverRoleArns": made["ObserverRoleArns"],
    }
    for account in (STAGING, PRODUCTION):
        it.outputs[account] = it.cloud.deploy(
            ROOT / "target.yaml", account, "sageops-target", target
        )


def _role(iam: Any, name: str, principal: dict[str, str]) -> None:
    """A role that `principal` may assume, and that may do nothing yet."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
