"""EventBridge: buses, rules and targets, as templates made them in moto, really delivering.

Documentation: EventBridge user guide, "Events", "Targets", "How EventBridge retries delivering
events", "Using dead-letter queues", "Sending and receiving events between AWS accounts", "Input
transformation"; SageMaker developer guide, "Events that Amazon SageMaker AI sends".
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from moto.events.models import events_backends

from local.clock import Clock
from local.delivery import Delivery, Undeliverable
from local.lambdas import Lambdas
from local.patterns import matches
from local.principals import NotAssumable, Principals

__all__ = ["Arrival", "Envelope", "Events"]

Envelope = Mapping[str, Any]
_SERVICE = "events.amazonaws.com"
_DEFAULT_ATTEMPTS = 185
_DEFAULT_AGE = 86400
# Exponential with jitter in AWS; the steps are not published [unverified].
_LONGEST_WAIT = timedelta(minutes=10)


@dataclass(frozen=True)
class Arrival:
    """An event on a bus."""

    at: datetime
    account: str
    bus: str
    envelope: Envelope


@dataclass
class _Fault:
    """What a test does to matching events on their way to their first bus."""

    applies: Callable[[Envelope], bool]
    copies: int
    delay: timedelta
    times: int | None


@dataclass
class Events:
    """Every account's buses."""

    clock: Clock
    principals: Principals
    delivery: Delivery
    lambdas: Lambdas
    arrived: list[Arrival] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _outages: dict[str, datetime] = field(default_factory=dict)

    def publish(  # noqa: PLR0913  # the parts of an envelope
        self,
        account: str,
        region: str,
        source: str,
        detail_type: str,
        detail: Mapping[str, Any],
        resources: list[str],
    ) -> None:
        """An AWS service's own event, onto the account's default bus."""
        self.publish_raw(
            account,
            region,
            {
                "version": "0",
                "id": str(uuid4()),
                "detail-type": detail_type,
                "source": source,
                "account": account,
                "time": self._time(detail_type),
                "region": region,
                "resources": resources,
                "detail": detail,
            },
        )

    def publish_raw(
        self, account: str, region: str, envelope: Envelope, bus: str = "default"
    ) -> None:
        """Any envelope at all, as it stands, onto a bus; the faults asked for happen to it."""
        # JSON of its own, taken now: whoever published it may change what it was made of.
        text = json.dumps(envelope)
        fault = self._fault_for(json.loads(text))
        delay = fault.delay if fault else timedelta(0)
        for _ in range(fault.copies if fault else 1):
            self.clock.after(delay, lambda: self._arrive(account, region, bus, json.loads(text)))

    def put(self, account: str, region: str, entries: list[dict[str, Any]]) -> list[dict[str, str]]:
        """botocore `PutEvents`: the result of each entry (`EventId`, or `ErrorCode`)."""
        return [self._put_entry(account, region, entry) for entry in entries]

    def drop(self, applies: Callable[[Envelope], bool], times: int | None = 1) -> None:
        """Lose the next `times` matching events; None: all of them."""
        self._faults.append(_Fault(applies, 0, timedelta(0), times))

    def duplicate(
        self, applies: Callable[[Envelope], bool], copies: int = 2, times: int | None = 1
    ) -> None:
        """Deliver the next matching events `copies` times."""
        self._faults.append(_Fault(applies, copies, timedelta(0), times))

    def delay(
        self, applies: Callable[[Envelope], bool], by: timedelta, times: int | None = 1
    ) -> None:
        """Let the next matching events arrive late."""
        self._faults.append(_Fault(applies, 1, by, times))

    def outage(self, target: str, lasting: timedelta) -> None:
        """Let a target (ARN) answer nothing for a while: EventBridge tries it again and again."""
        self._outages[target] = self.clock.now + lasting

    def _time(self, detail_type: str) -> str:
        # The one kind of event whose time is epoch milliseconds (aws-facts.md, "Events").
        if detail_type == "SageMaker Endpoint State Change":
            return str(int(self.clock.now.timestamp() * 1000))
        return self.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _fault_for(self, envelope: Envelope) -> _Fault | None:
        for fault in self._faults:
            if fault.times != 0 and fault.applies(envelope):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def _put_entry(self, account: str, region: str, entry: dict[str, Any]) -> dict[str, str]:
        for wanted in ("Source", "DetailType", "Detail"):
            if not entry.get(wanted):
                message = (
                    f"Parameter {wanted} is not valid. Reason: {wanted} is a required argument."
                )
                return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
        if entry["Source"].startswith("aws."):
            return {
                "ErrorCode": "NotAuthorizedForSourceException",
                "ErrorMessage": "Not authorized for the source.",
            }
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        name = entry.get("EventBusName") or "default"
        bus_account, bus_region = (
            (name.split(":")[4], name.split(":")[3])
            if name.startswith("arn:")
            else (account, region)
        )
        # botocore gives a datetime, moto a timestamp.
        when = entry.get("Time") or self.clock.now
        if isinstance(when, int | float):
            when = datetime.fromtimestamp(when, self.clock.now.tzinfo)
        envelope = {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": account,
            "time": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": region,
            "resources": entry.get("Resources", []),
            "detail": detail,
        }
        self.publish_raw(bus_account, bus_region, envelope, name.rpartition("/")[2])
        return {"EventId": str(envelope["id"])}

    def _arrive(self, account: str, region: str, bus_name: str, envelope: Envelope) -> None:
        self.arrived.append(Arrival(self.clock.now, account, bus_name, envelope))
        bus = events_backends[account][region].event_buses.get(bus_name)
        if bus is None:
            self.delivery.lose(envelope, f"{account} has no bus {bus_name}")
            return
        for rule in list(bus.rules.values()):
            pattern = rule.event_pattern.get_pattern()
            if rule.state == "ENABLED" and pattern and matches(pattern, envelope):
                for target in rule.targets:
                    self._deliver(rule.arn, target, envelope, 0, self.clock.now)

    def _deliver(
        self, rule: str, target: Mapping[str, Any], envelope: Envelope, tried: int, first: datetime
    ) -> None:
        try:
            self._hand_over(rule, target, envelope)
        except Undeliverable as error:
            policy = target.get("RetryPolicy", {})
            wait = min(timedelta(seconds=2**tried), _LONGEST_WAIT)
            lifetime = timedelta(seconds=policy.get("MaximumEventAgeInSeconds", _DEFAULT_AGE))
            exhausted = None
            if tried >= policy.get("MaximumRetryAttempts", _DEFAULT_ATTEMPTS):
                exhausted = "MaximumRetryAttempts"
            elif self.clock.now + wait - first > lifetime:
                exhausted = "MaximumEventAgeInSeconds"
            if error.transient and exhausted is None:
                self.clock.after(
                    wait, lambda: self._deliver(rule, target, envelope, tried + 1, first)
                )
            else:
                self._dead_letter(rule, target, envelope, error, tried, exhausted)

    def _dead_letter(  # noqa: PLR0913  # the attributes of a dead letter
        self,
        rule: str,
        target: Mapping[str, Any],
        envelope: Envelope,
        error: Undeliverable,
        tried: int,
        exhausted: str | None,
    ) -> None:
        why = f"{rule} -> {target['Arn']}: {error.code} {error.message}"
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if queue is None:
            self.delivery.lose(envelope, why)
            return
        attributes = {
            "RULE_ARN": rule,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": error.message,
            "RETRY_ATTEMPTS": str(tried),
        }
        if error.transient and exhausted:
            attributes["EXHAUSTED_RETRY_CONDITION"] = exhausted
        try:
            self.delivery.to_queue(_SERVICE, queue, json.dumps(envelope), rule, attributes)
        except Undeliverable as refused:
            self.delivery.lose(envelope, f"{why}; dead letter: {refused.message}")

    def _hand_over(self, rule: str, target: Mapping[str, Any], envelope: Envelope) -> None:
        arn = target["Arn"]
        if self.clock.now < self._outages.get(arn, self.clock.now):
            raise Undeliverable("THROTTLING", f"{arn} does not answer", transient=True)
        match arn.split(":")[2]:
            case "lambda":
                self._to_function(rule, arn, _input(rule, target, envelope))
            case "sqs":
                body = json.dumps(_input(rule, target, envelope))
                self.delivery.to_queue(_SERVICE, arn, body, rule)
            case "sns":
                self._to_topic(rule, arn, json.dumps(_input(rule, target, envelope)))
            case "events":
                self._to_bus(rule, target, envelope)
            case _:
                raise NotImplementedError(f"{rule}: the target {arn} is of a kind not delivered to")

    def _to_function(self, rule: str, arn: str, event: Any) -> None:
        self.delivery.check_service(_SERVICE, "lambda:InvokeFunction", arn, rule)
        self.lambdas.invoke_later(arn, event)

    def _to_topic(self, rule: str, arn: str, message: str) -> None:
        self.delivery.check_service(_SERVICE, "sns:Publish", arn, rule)
        region, account = arn.split(":")[3:5]
        sns = self.principals.administrator("sns", account, region)
        sns.publish(TopicArn=arn, Message=message)

    def _to_bus(self, rule: str, target: Mapping[str, Any], envelope: Envelope) -> None:
        arn, role = target["Arn"], target.get("RoleArn")
        region, account = arn.split(":")[3:5]
        name = arn.rpartition("/")[2]
        if name not in events_backends[account][region].event_buses:
            raise Undeliverable("NO_RESOURCE", f"{arn} does not exist")
        if role is None:
            raise Undeliverable("NO_PERMISSIONS", f"{rule} has no role to send to {arn} with")
        try:
            self.principals.check_assumable(role, _SERVICE, rule)
        except NotAssumable as error:
            raise Undeliverable("NO_PERMISSIONS", str(error)) from error
        about = {
            "events:source": [str(envelope.get("source", ""))],
            "events:detail-type": [str(envelope.get("detail-type", ""))],
        }
        authorization = self.principals.authorization
        if not authorization.permits(role, "events:PutEvents", arn, about).allowed:
            raise Undeliverable("NO_PERMISSIONS", f"{role} may not put events on {arn}")
        # The event stays what it was: account, Region, source, id and time are those of its origin.
        self.clock.after(timedelta(0), lambda: self._arrive(account, region, name, envelope))


def _input(rule: str, target: Mapping[str, Any], envelope: Envelope) -> Any:
    """What a target gets: the event, a constant, a part of it, or a filled-in template."""
    if "Input" in target:
        return json.loads(target["Input"])
    if "InputPath" in target:
        return _at_path(envelope, target["InputPath"])
    if "InputTransformer" in target:
        return _transformed(rule, target["InputTransformer"], envelope)
    return envelope


def _at_path(document: Any, path: str) -> Any:
    """The part that a JSON path (`$.detail.name`, `$.resources[0]`) leads to; None: nothing."""
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path):
        if index and isinstance(document, list) and int(index) < len(document):
            document = document[int(index)]
        elif name and isinstance(document, Mapping):
            document = document.get(name)
        else:
            return None
    return document


def _transformed(rule: str, transformer: Mapping[str, Any], envelope: Envelope) -> Any:
    paths = transformer.get("InputPathsMap", {})
    known = {name: _at_path(envelope, path) for name, path in paths.items()}
    known |= {
        "aws.events.rule-arn": rule,
        "aws.events.rule-name": rule.rpartition("/")[2],
        "aws.events.event.ingestion-time": envelope.get("time"),
        "aws.events.event": envelope,
        "aws.events.event.json": envelope,
    }
    template = transformer["InputTemplate"]

    def value(match: re.Match[str]) -> str:
        found = known.get(match[1])
        before = template[: match.start()].count('"') - template[: match.start()].count('\\"')
        if before % 2:  # inside a string of the template
            return found if isinstance(found, str) else json.dumps(found).replace('"', '\\"')
        return json.dumps(found)

    filled = re.sub(r"<([^<>]+)>", value, template)
    return json.loads(filled)
