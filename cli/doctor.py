"""`sageops doctor`: whether all that a release needs is there, in the hub and in every target.

It changes nothing. What it cannot look at is a finding, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from botocore.exceptions import ClientError
from sageops.adapters.trouble import message_of
from sageops.policy import Target

from cli.hub import Hub

__all__ = ["Finding", "examine"]

FUNCTIONS = ("intake", "reconcile", "sweep", "notify", "report", "board", "act")
_QUEUES = {
    "DeadLetterQueueUrl": "mend what the log of reconcile says, then: sageops redrive",
    "UndeliveredQueueUrl": "docs/runbooks/undelivered.md",
    "UntoldQueueUrl": "docs/runbooks/untold.md",
}
_TOPICS = ("ActionTopicArn", "AlertTopicArn", "InfoTopicArn", "OperationsTopicArn")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fix` says what to do where it is not `good`."""

    what: str
    good: bool
    said: str
    fix: str = ""


def examine(hub: Hub) -> Iterator[Finding]:
    """Everything, one after the other."""
    for name in FUNCTIONS:
        yield _tried(f"function {name}", partial(_function, hub, name))
    for output, fix in _QUEUES.items():
        yield _tried(output, partial(_queue, hub, output, fix))
    for output in _TOPICS:
        yield _tried(output, partial(_topic, hub, output))
    for bus in ("default", "sageops"):
        yield _tried(f"rules on bus {bus}", partial(_rules, hub, bus))
    for schedule in ("sweep", "nightly"):
        yield _tried(f"schedule {schedule}", partial(_schedule, hub, schedule))
    yield _tried("alarms", partial(_alarms, hub))
    for target in _targets(hub):
        yield from _target(hub, target)


def _tried(what: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except ClientError as error:
        return Finding(what, False, message_of(error), "Ask for the right to look, or deploy anew.")


def _function(hub: Hub, name: str) -> Finding:
    full = f"{hub.stack}-{name}"
    found = hub.client("lambda").get_function_configuration(FunctionName=full)
    state = found.get("State", "Active")
    return Finding(
        f"function {name}", state == "Active", f"{full} is {state}", "Deploy template.yaml anew."
    )


def _queue(hub: Hub, output: str, fix: str) -> Finding:
    answer = hub.client("sqs").get_queue_attributes(
        QueueUrl=hub.output(output), AttributeNames=["ApproximateNumberOfMessages"]
    )
    count = int(answer["Attributes"]["ApproximateNumberOfMessages"])
    what = output.removesuffix("Url")
    return Finding(what, count == 0, f"{count} messages in it", fix)


def _topic(hub: Hub, output: str) -> Finding:
    answer = hub.client("sns").list_subscriptions_by_topic(TopicArn=hub.output(output))
    states = [each["SubscriptionArn"] for each in answer["Subscriptions"]]
    pending = states.count("PendingConfirmation")
    said = f"{len(states)} subscriptions, {pending} not confirmed"
    good = len(states) > pending
    fix = "Subscribe somebody (NotificationEmail), and confirm what AWS mails."
    return Finding(output.removesuffix("Arn"), good, said, fix)


def _rules(hub: Hub, bus: str) -> Finding:
    answer = hub.client("events").list_rules(EventBusName=bus)
    ours = [each for each in answer["Rules"] if each["Name"].startswith(f"{hub.stack}-")]
    off = [each["Name"] for each in ours if each["State"] != "ENABLED"]
    said = f"{len(ours)} rules, off: {', '.join(off) or 'none'}"
    fix = "Enable them, or deploy template.yaml anew."
    return Finding(f"rules on bus {bus}", bool(ours) and not off, said, fix)


def _schedule(hub: Hub, name: str) -> Finding:
    found = hub.client("scheduler").get_schedule(Name=f"{hub.stack}-{name}")
    said = f"{found['ScheduleExpression']} is {found['State']}"
    return Finding(f"schedule {name}", found["State"] == "ENABLED", said, "Enable it.")


def _alarms(hub: Hub) -> Finding:
    answer = hub.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{hub.stack}-")
    states = {each["AlarmName"]: each["StateValue"] for each in answer["MetricAlarms"]}
    loud = [name for name, state in states.items() if state == "ALARM"]
    said = f"{len(states)} alarms, going off: {', '.join(loud) or 'none'}"
    fix = "The alarm's description names its runbook."
    return Finding("alarms", bool(states) and not loud, said, fix)


def _targets(hub: Hub) -> list[Target]:
    """Every target of the policies in force, once an account and endpoint."""
    found: dict[Target, None] = {}
    for group in hub.table.groups():
        spec = hub.table.group_spec(group)
        pushed = hub.table.policy(group, spec.policy_version) if spec is not None else None
        if pushed is not None:
            found |= dict.fromkeys(stage.target for stage in pushed.policy.stages)
    return list(found)


def _target(hub: Hub, target: Target) -> Iterator[Finding]:
    """The functions that enter a target account try it themselves: their roles are the question."""
    for name in ("reconcile", "board"):
        what = f"{name} enters account {target.account} for {target.endpoint}"
        yield _tried(what, partial(_entered, hub, name, target, what))


def _entered(hub: Hub, name: str, target: Target, what: str) -> Finding:
    asked = {"probe": msgspec.to_builtins(target)}
    answer = hub.client("lambda").invoke(
        FunctionName=f"{hub.stack}-{name}", Payload=msgspec.json.encode(asked)
    )
    if "FunctionError" in answer:
        return Finding(what, False, "the function failed", f"Read the log of {hub.stack}-{name}.")
    found: Any = msgspec.json.decode(answer["Payload"].read())
    return Finding(what, not found["problem"], found["problem"] or "it may", found["problem"])
