"""CloudWatch of all accounts, as far as a release depends on it: the three alarms on each
configuration, the alarms that people made, and the sums of `GetMetricData`.

Which arm, a variant of a configuration, gets how much of the traffic is known from the simulator's
own announcements, so nothing is done minute by minute: an alarm is evaluated when something that
it depends on changes, and figures are worked out when they are asked for.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from local.clock import Clock
from local.simulator.hosting import Endpoint, Fleet
from local.simulator.site import Document, ServiceError

__all__ = ["REQUESTS_A_MINUTE", "Alarm", "Arm", "CloudWatch", "Harm", "arms", "harm_of"]

_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REQUESTS_A_MINUTE = 1000
_PARTS = 1_000_000
# `DatapointsToAlarm` of our alarms, and their `EvaluationPeriods`: how long bad answers take to be
# noticed, and to be forgotten.
_NOTICED = {"errors": 2 * _MINUTE, "latency": 3 * _MINUTE}
_FORGOTTEN = 5 * _MINUTE
# Of the policies of all stories: from how many requests a minute on the alarm on errors listens,
# and the percentage of errors that it takes; p99 is too long with one slow answer in a hundred.
_MIN_REQUESTS, _ERROR_PERCENT, _SLOW_PERCENT = 20, 1, 1

# Account, Region, configuration and variant.
Arm = tuple[str, str, str, str]


@dataclass(frozen=True)
class Harm:
    """What percentage of a model's answers are errors of each kind or slow, and from how long after
    its first request on."""

    errors: Fraction = Fraction(0)
    client_errors: Fraction = Fraction(0)
    slow: Fraction = Fraction(0)
    after: timedelta = timedelta(0)

    @property
    def alarm(self) -> str:
        """Which of the alarms fires at it, if it is watched."""
        if self.errors > _ERROR_PERCENT:
            return "errors"
        return "latency" if self.slow > _SLOW_PERCENT else ""


_NONE = Harm()
# `weak` and `picky` are below what any alarm of ours notices: only a comparison finds them.
_HARMS = {
    "bad": Harm(errors=Fraction(3)),
    "late": Harm(errors=Fraction(3)),
    "weak": Harm(errors=Fraction(8, 10)),
    "picky": Harm(client_errors=Fraction(3)),
    "slow": Harm(slow=Fraction(5)),
}


def harm_of(artifact: bytes) -> Harm:
    """The artefacts of the simulation begin with the model's behaviour; `late:12` is bad after
    twelve minutes."""
    behaviour, _, after = artifact.split(b" ", 1)[0].decode().partition(":")
    found = _HARMS.get(behaviour, _NONE)
    return Harm(found.errors, after=timedelta(minutes=int(after))) if after else found


def arms(endpoint: Endpoint) -> dict[tuple[str, str], tuple[Fraction, bytes]]:
    """Each arm of an endpoint that gets requests: its share of them, and its artefact.

    Shares follow the variants' weights and the fleets' parts of an update, as in
    `local.simulator.traffic`; a shadow gets its part of what the production variant gets.
    """
    if endpoint.status in ("Creating", "Failed", "Deleting"):
        return {}
    found: dict[tuple[str, str], tuple[Fraction, bytes]] = {}
    pending = endpoint.pending
    traffic = pending.traffic if pending is not None else {}
    whole = min(traffic.values(), default=Fraction(0))
    if pending is not None:
        _add(found, pending.fleet, {name: traffic.get(name, whole) for name in pending.fleet.sizes})
    if endpoint.fleet is not None:
        left = {name: 1 - traffic.get(name, whole) for name in endpoint.fleet.sizes}
        _add(found, endpoint.fleet, left)
    return found


def _add(
    found: dict[tuple[str, str], tuple[Fraction, bytes]], fleet: Fleet, parts: dict[str, Fraction]
) -> None:
    total = sum(variant.weight for variant in fleet.variants.values())
    for name, variant in fleet.variants.items():
        part = parts[name] * Fraction(variant.weight) / Fraction(total) if total else Fraction(0)
        if part:
            found[fleet.config_name, name] = (part, _artifact(variant.containers))
        for shadow in fleet.shadows.values() if part else ():
            mirrored = part * min(Fraction(1), Fraction(shadow.weight) / Fraction(variant.weight))
            found[fleet.config_name, shadow.name] = (mirrored, _artifact(shadow.containers))


def _artifact(containers: list[Any]) -> bytes:
    artifact: bytes = containers[0].artifact if containers else b""
    return artifact


@dataclass
class Alarm:
    """`variant`: of the configuration that it watches."""

    name: str
    config: str
    kind: str
    since: datetime
    variant: str = "main"
    firing: bool = False
    reason: str = ""


@dataclass
class _Serves:
    """What an arm gets at present, and since when it has been loud enough for its alarms."""

    endpoint: str
    share: Fraction
    harm: Harm
    loud: datetime | None


@dataclass(frozen=True)
class _Span:
    since: datetime
    share: Fraction
    # From when on its answers are harmful.
    harm: Harm
    harmful_from: datetime


@dataclass
class CloudWatch:
    """`told` is told of every alarm that changes its state: account, Region and the event.

    `silent`: the endpoints that nobody asks.
    """

    clock: Clock
    told: Callable[[str, str, Document], None]
    silent: Callable[[str], bool] = lambda endpoint: False
    alarms: dict[tuple[str, str, str], Alarm] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    _serving: dict[Arm, _Serves] = field(default_factory=dict)
    # Each arm's history: a span lasts until the next begins.
    _spans: dict[Arm, list[_Span]] = field(default_factory=dict)
    # By account, Region, endpoint and artefact: the first request.
    _first: dict[tuple[str, str, str, bytes], datetime] = field(default_factory=dict)

    # ------------------------------------------------------------ alarms

    def put(self, account: str, region: str, name: str, config: str, variant: str = "main") -> None:
        """PutMetricAlarm; an alarm that exists keeps its state."""
        kind = name.rpartition("/")[2]
        new = Alarm(name, config, kind, self.clock.now, variant)
        self.alarms.setdefault((account, region, name), new)

    def set(self, account: str, region: str, name: str, firing: bool, reason: str) -> None:
        """The alarm's state from now on. An alarm that does not exist has none."""
        alarm = self.alarms.get((account, region, name))
        if alarm is None or alarm.firing == firing:
            return
        alarm.firing, alarm.since, alarm.reason = firing, self.clock.now, reason
        self.fired[name] += firing
        detail = {"alarmName": name, "state": {"value": "ALARM" if firing else "OK"}}
        self.told(account, region, detail)

    def state(self, account: str, region: str, name: str) -> str | None:
        alarm = self.alarms.get((account, region, name))
        return None if alarm is None else "ALARM" if alarm.firing else "OK"

    def signal(self, account: str, region: str, config: str) -> None:
        """A datum of our own metric: the `stop` alarm fires at the full minute, for a minute."""
        name = f"sageops/{config}/stop"
        minute = self.clock.now.replace(second=0, microsecond=0) + _MINUTE
        self.clock.at(minute, lambda: self.set(account, region, name, True, "1.0 was not below 1"))
        self.clock.at(minute + _MINUTE, lambda: self.set(account, region, name, False, ""))

    # ------------------------------------------------------------ traffic

    def traffic(self, account: str, region: str, endpoint: Endpoint) -> None:
        """The endpoint is as it is shown: who gets its requests now."""
        now = self.clock.now
        serving = {} if self.silent(endpoint.name) else arms(endpoint)
        for arm, served in list(self._serving.items()):
            is_its_own = (*arm[:2], served.endpoint) == (account, region, endpoint.name)
            if is_its_own and arm[2:] not in serving:
                self._spans[arm].append(_Span(now, Fraction(0), _NONE, now))
                self._quieten(arm, self._serving.pop(arm).harm.alarm)
        for (config, variant), (share, artifact) in serving.items():
            arm = (account, region, config, variant)
            before = self._serving.get(arm)
            if before is not None and before.share == share:
                continue
            harm = harm_of(artifact)
            first = self._first.setdefault((account, region, endpoint.name, artifact), now)
            self._spans.setdefault(arm, []).append(_Span(now, share, harm, first + harm.after))
            is_loud = share * REQUESTS_A_MINUTE >= _MIN_REQUESTS or harm.alarm == "latency"
            loud = None if not is_loud else now if before is None else before.loud or now
            self._serving[arm] = _Serves(endpoint.name, share, harm, loud)
            if loud is None:
                self._quieten(arm, harm.alarm)
            elif harm.alarm and (before is None or before.loud is None):
                due = max(first + harm.after, now) + _NOTICED[harm.alarm]
                self.clock.at(due, self._noticing(arm, harm.alarm, loud))

    def _noticing(self, arm: Arm, kind: str, loud: datetime) -> Callable[[], None]:
        account, region, config, variant = arm

        def notice() -> None:
            serves = self._serving.get(arm)
            alarm = self.alarms.get((account, region, f"sageops/{config}/{kind}"))
            if serves is not None and serves.loud == loud and alarm and alarm.variant == variant:
                reason = "some of the last 5 datapoints were greater than the threshold"
                self.set(account, region, alarm.name, True, reason)

        return notice

    def _quieten(self, arm: Arm, kind: str) -> None:
        def forget() -> None:
            serves = self._serving.get(arm)
            if serves is None or serves.loud is None:
                self.set(arm[0], arm[1], f"sageops/{arm[2]}/{kind}", False, "")

        if kind:
            self.clock.after(_FORGOTTEN, forget)

    def figures(
        self, arm: Arm, metric: str, stat: str, span: tuple[datetime, datetime]
    ) -> dict[datetime, float]:
        """A statistic of a metric of an arm, minute by minute, where it had requests."""
        found: dict[datetime, float] = {}
        spans = self._spans.get(arm, [])
        following = [*(each.since for each in spans[1:]), self.clock.now]
        for each, until in zip(spans, following, strict=False):
            minute = max(each.since, span[0]).replace(second=0, microsecond=0)
            last = min(until, span[1])
            if not each.share or minute >= last:
                continue
            number = (minute - _EPOCH) // _MINUTE
            healthy, harmful = (_rate(each, harm, metric, stat) for harm in (_NONE, each.harm))
            while minute < last:
                rate = harmful if minute >= each.harmful_from else healthy
                found[minute] = float(rate * (number + 1) // _PARTS - rate * number // _PARTS)
                minute, number = minute + _MINUTE, number + 1
        return found

    # ------------------------------------------------------------ the API's documents

    def delete(self, account: str, region: str, names: list[str]) -> None:
        """DeleteAlarms: all of them, or none."""
        keys = [(account, region, name) for name in names]
        if any(key not in self.alarms for key in keys):
            raise ServiceError("ResourceNotFound", f"not all of {names} are there", 404)
        for key in keys:
            del self.alarms[key]

    def begin_with(self, account: str, region: str, prefix: str) -> list[str]:
        return [
            name
            for *where, name in self.alarms
            if where == [account, region] and name.startswith(prefix)
        ]

    def describe(self, account: str, region: str, names: list[str]) -> dict[str, Any]:
        """DescribeAlarms' answer."""
        found = (self.alarms.get((account, region, name)) for name in names)
        return {
            "MetricAlarms": [
                {
                    "AlarmName": alarm.name,
                    "StateValue": "ALARM" if alarm.firing else "OK",
                    "StateReason": alarm.reason,
                    "StateUpdatedTimestamp": alarm.since,
                    "StateTransitionedTimestamp": alarm.since,
                }
                for alarm in found
                if alarm is not None
            ]
        }


def _rate(span: _Span, harm: Harm, metric: str, stat: str) -> int:
    """A minute's figure in `_PARTS`: what is no whole number is spread over the minutes evenly."""
    match metric, stat:
        case ("Invocations", "Sum") | ("ModelLatency", "SampleCount"):
            percent = Fraction(100)
        case "Invocation5XXErrors", "Sum":
            percent = harm.errors
        case "Invocation4XXErrors", "Sum":
            percent = harm.client_errors
        case "ModelLatency", quick if re.fullmatch(r"TC\(:\d+\)", quick):
            percent = 100 - harm.slow
        case _:
            raise AssertionError(f"the simulation has no {stat} of {metric}")
    return round(span.share * REQUESTS_A_MINUTE * percent / 100 * _PARTS)
