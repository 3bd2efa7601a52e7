"""Each sample in `events/` meets exactly the rules that it should, on its way to the hub."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sageops.events import parse
from sageops.messages import ENDINGS

from local.patterns import matches
from tests.template.stacks import (
    HUB,
    PRODUCTION,
    REGION,
    ROOT,
    STAGING,
    logical,
    of_type,
    resolved,
    translated,
)

SAMPLES = ROOT / "events"

GROUP = (f"group#{HUB}#{REGION}#churn", ("hub IntakePackage",))
PIPELINE = (f"pipeline#{HUB}#{REGION}#churn-training", ("hub IntakePipeline",))
ENDPOINT = ("target ForwardEndpoints", "hub IntakeEndpoint")
DEPLOYMENT = ("target ForwardEndpoints", "hub IntakeDeployment")
ALARM = ("target ForwardAlarms", "hub IntakeAlarm")
STAGED = f"endpoint#{STAGING}#{REGION}#churn"
PRODUCED = f"endpoint#{PRODUCTION}#{REGION}#churn"

# Sample, the resource it is about, and the rules it meets on its way.
EXPECTED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "model-package.pending": GROUP,
    "model-package.approved": GROUP,
    "model-package.approved.without-updated-fields": GROUP,
    "model-package.approved.metadata-written": GROUP,
    "model-package.approved.stage-edited": GROUP,
    "model-package.rejected": GROUP,
    "pipeline.succeeded": PIPELINE,
    "pipeline.failed": PIPELINE,
    "pipeline.stopped": PIPELINE,
    "pipeline.completed-with-failures": PIPELINE,
    "endpoint.in-service": (PRODUCED, ENDPOINT),
    "endpoint.in-service.rolled-back": (PRODUCED, ENDPOINT),
    "endpoint.in-service.camel-case": (STAGED, ENDPOINT),
    "endpoint.failed": (STAGED, ENDPOINT),
    "endpoint.out-of-service": (PRODUCED, ENDPOINT),
    "endpoint.rolling-back": (PRODUCED, ENDPOINT),
    "endpoint.update-rollback-failed": (PRODUCED, ENDPOINT),
    "endpoint.deleting": (STAGED, ENDPOINT),
    "endpoint-deployment.creating": (PRODUCED, DEPLOYMENT),
    "endpoint-deployment.updating": (PRODUCED, DEPLOYMENT),
    "endpoint-deployment.activating-traffic": (PRODUCED, DEPLOYMENT),
    "endpoint-deployment.baking": (PRODUCED, DEPLOYMENT),
    "endpoint-deployment.deleting": (PRODUCED, DEPLOYMENT),
    # An alarm of ours is about the endpoint in its name.
    "alarm.alarm": (PRODUCED, ALARM),
    "alarm.alarm.named-by-policy": (f"alarm#{PRODUCTION}#{REGION}#checkout-abandoned", ALARM),
}
# These reach no function. Some are forwarded: the hub's rules decide, not each account's.
UNMATCHED: Mapping[str, tuple[str, ...]] = {
    "unmatched/model-package.of-no-group": (),
    "unmatched/pipeline.executing": (),
    "unmatched/pipeline.stopping": (),
    "unmatched/pipeline-step.succeeded": (),
    "unmatched/endpoint.creating": ("target ForwardEndpoints",),
    "unmatched/endpoint.updating": ("target ForwardEndpoints",),
    "unmatched/endpoint.system-updating": ("target ForwardEndpoints",),
    "unmatched/endpoint.of-foreign-account": ("target ForwardEndpoints",),
    "unmatched/alarm.ok": (),
    "unmatched/alarm.insufficient-data": (),
    "unmatched/alarm.created": (),
    "unmatched/alarm.of-autoscaling": (),
    "unmatched/alarm.of-foreign-account": ("target ForwardAlarms",),
}
# The rule on what we say ourselves; not an event that intake knows.
OUR_OWN = "ReportEnded"
VARIANT_STATUSES = {"Creating", "Updating", "ActivatingTraffic", "Baking", "Deleting"}


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return event


def rules(name: str, targets: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Logical id, bus and pattern of every rule of a stack."""
    for rule, properties in of_type(translated(name), "AWS::Events::Rule").items():
        bus = logical(properties["EventBusName"]) if "EventBusName" in properties else "default"
        yield rule, bus, resolved(name, properties["EventPattern"], targets)


def route(
    event: Mapping[str, Any], targets: tuple[str, ...] = (STAGING, PRODUCTION)
) -> tuple[str, ...]:
    """The rules that an event meets: those of its account's default bus, then, if one of them
    forwards it, those of the hub's bus. An account that is not the hub is taken to have the target
    stack, also one that the hub does not count among its own."""
    account = "hub" if event["account"] == HUB else "target"
    stack = "template.yaml" if account == "hub" else "target.yaml"
    own = [
        rule
        for rule, bus, pattern in rules(stack, targets)
        if bus == "default" and matches(pattern, event)
    ]
    forwarded = any(rule.startswith("Forward") for rule in own)
    in_hub = [
        rule
        for rule, bus, pattern in rules("template.yaml", targets)
        if forwarded and bus == "Bus" and matches(pattern, event)
    ]
    return (*(f"{account} {rule}" for rule in own), *(f"hub {rule}" for rule in in_hub))


def normalised(status: str) -> str:
    return status.replace("_", "").lower()


def test_every_sample_is_in_the_table() -> None:
    files = {
        str(path.relative_to(SAMPLES).with_suffix("")) for path in Path(SAMPLES).rglob("*.json")
    }
    assert files == set(EXPECTED) | set(UNMATCHED)


@pytest.mark.parametrize("name", EXPECTED)
def test_sample_meets_its_rules(name: str) -> None:
    assert route(sample(name)) == EXPECTED[name][1]


@pytest.mark.parametrize("name", EXPECTED)
def test_sample_names_its_resource(name: str) -> None:
    event = sample(name)
    cause, resource = parse(event)
    assert (cause.id, cause.detail_type) == (event["id"], event["detail-type"])
    assert resource.key == EXPECTED[name][0]


@pytest.mark.parametrize("name", UNMATCHED)
def test_unmatched_sample_reaches_no_function(name: str) -> None:
    assert route(sample(name)) == UNMATCHED[name]


@pytest.mark.parametrize("name", [*EXPECTED, *UNMATCHED])
def test_sample_is_a_full_envelope(name: str) -> None:
    event = sample(name)
    assert set(event) == {
        "version",
        "id",
        "detail-type",
        "source",
        "account",
        "time",
        "region",
        "resources",
        "detail",
    }
    assert event["resources"]
    for arn in event["resources"]:
        assert arn.split(":")[3:5] == [event["region"], event["account"]]


def test_samples_have_ids_of_their_own() -> None:
    ids = [sample(name)["id"] for name in [*EXPECTED, *UNMATCHED]]
    assert len(ids) == len(set(ids))


def test_every_rule_of_a_function_has_a_sample() -> None:
    met = {rule for _, route in EXPECTED.values() for rule in route}
    every = {
        f"hub {rule}"
        for rule, _, _ in rules("template.yaml", ())
        if "Forward" not in rule and rule != OUR_OWN
    }
    assert every | {"target ForwardEndpoints", "target ForwardAlarms"} == met


def test_a_report_is_written_at_exactly_the_ends_that_messages_link_one_at() -> None:
    [(bus, pattern)] = [
        (bus, pattern) for rule, bus, pattern in rules("template.yaml", ()) if rule == OUR_OWN
    ]
    assert bus == "Bus"
    assert pattern == {
        "source": ["sageops"],
        "detail-type": [f"SageOps {what}" for what in ENDINGS],
    }


def test_every_status_of_a_pattern_has_a_sample() -> None:
    """The two spellings of an endpoint's status count as one."""
    wanted = {
        normalised(status)
        for _, _, pattern in rules("template.yaml", ())
        for field in ("ModelApprovalStatus", "currentPipelineExecutionStatus", "EndpointStatus")
        for status in pattern.get("detail", {}).get(field, [])
    }
    shown = {
        normalised(event["detail"][field])
        for event in map(sample, EXPECTED)
        if "PendingDeploymentSummary" not in event["detail"]
        for field in ("ModelApprovalStatus", "currentPipelineExecutionStatus", "EndpointStatus")
        if field in event["detail"]
    }
    assert wanted <= shown


def test_every_status_of_a_deployment_has_a_sample() -> None:
    """Page 'Events that SageMaker sends to EventBridge', the statuses of `VariantStatus`."""
    shown = {
        status["Status"]
        for name in EXPECTED
        if name.startswith("endpoint-deployment.")
        for detail in [sample(name)["detail"]]
        for variant in detail.get("PendingDeploymentSummary", detail)["ProductionVariants"]
        for status in variant["VariantStatus"]
    }
    assert shown == VARIANT_STATUSES


@pytest.mark.parametrize(
    "status",
    ["InService", "Failed", "OutOfService", "RollingBack", "UpdateRollbackFailed", "Deleting"],
)
def test_the_spelling_of_the_api_is_taken_too(status: str) -> None:
    event = sample("endpoint.in-service")
    event["detail"]["EndpointStatus"] = status
    assert route(event) == ENDPOINT


def test_the_odd_forms_are_among_the_samples() -> None:
    """A time in epoch milliseconds, no tags, and fields that some real events leave out."""
    assert sample("endpoint.in-service")["time"].isdigit()
    assert sample("endpoint.in-service")["detail"]["Tags"] == {}
    bare = sample("model-package.approved.without-updated-fields")["detail"]
    assert "UpdatedModelPackageFields" not in bare
    assert "previousModelApprovalStatus" not in bare
    assert "previousPipelineExecutionStatus" not in sample("unmatched/pipeline.executing")["detail"]


def test_the_hub_may_be_a_target_account() -> None:
    event = sample("endpoint.in-service") | {"account": HUB}
    assert route(event, targets=(HUB, PRODUCTION)) == (
        "hub ForwardEndpoints",
        "hub IntakeEndpoint",
    )
    assert route(event) == ("hub ForwardEndpoints",)
