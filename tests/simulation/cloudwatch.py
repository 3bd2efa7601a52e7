"""CloudWatch of all accounts, as far as a release depends on it: the three alarms on each
configuration, the alarms that people made, and the sums of `GetMetricData`.

Which fleet has traffic is known from the simulator's own announcements, so nothing is done minute
by minute: an alarm is evaluated when something that it depends on changes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.clock import Clock
from local.simulator.site import Document

__all__ = ["Alarm", "CloudWatch", "goes_bad_after"]

_MINUTE = timedelta(minutes=1)
# `DatapointsToAlarm` of the alarm on errors, and its `EvaluationPeriods`: how long bad answers take
# to be noticed, and to be forgotten.
_NOTICED, _FORGOTTEN = 2 * _MINUTE, 5 * _MINUTE
_REQUESTS_A_MINUTE, _ERRORS_A_MINUTE = 100.0, 3.0


@dataclass
class Alarm:
    name: str
    config: str
    kind: str
    since: datetime
    firing: bool = False
    reason: str = ""


def goes_bad_after(artifact: bytes) -> timedelta | None:
    """How long after its first request a model answers with errors; None for one that never does.

    The artefacts of the simulation begin with the model's behaviour.
    """
    behaviour = artifact.split(b" ", 1)[0].decode()
    if behaviour == "bad":
        return timedelta(0)
    if behaviour.startswith("late:"):
        return timedelta(minutes=int(behaviour.removeprefix("late:")))
    return None


@dataclass
class CloudWatch:
    """`told` is told of every alarm that changes its state: account, Region and the event."""

    clock: Clock
    told: Callable[[str, str, Document], None]
    alarms: dict[tuple[str, str, str], Alarm] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    # By account, Region and configuration: since when it has traffic, since when it ever had.
    _serving: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    _spans: dict[tuple[str, str, str], list[tuple[datetime, datetime | None]]] = field(
        default_factory=dict
    )
    _first: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    _bad: dict[tuple[str, str, str], timedelta] = field(default_factory=dict)

    # ------------------------------------------------------------ alarms

    def put(self, account: str, region: str, name: str, config: str) -> None:
        """PutMetricAlarm; an alarm that exists keeps its state."""
        kind = name.rpartition("/")[2]
        new = Alarm(name, config, kind, self.clock.now)
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

    def traffic(self, account: str, region: str, now_serving: dict[str, bytes], of: str) -> None:
        """Which configurations of the endpoint `of` have traffic now, and their artefacts."""
        for key in [key for key in self._serving if key[:2] == (account, region)]:
            config = key[2]
            if config.rpartition("-v")[0] == of and config not in now_serving:
                self._spans[key][-1] = (self._serving.pop(key), self.clock.now)
                self.clock.after(_FORGOTTEN, self._forgetting(key))
        for config, artifact in now_serving.items():
            key = (account, region, config)
            bad = goes_bad_after(artifact)
            if key in self._serving:
                continue
            self._serving[key] = self.clock.now
            self._spans.setdefault(key, []).append((self.clock.now, None))
            first = self._first.setdefault(key, self.clock.now)
            if bad is not None:
                self._bad[key] = bad
                due = max(first + bad, self.clock.now) + _NOTICED
                self.clock.at(due, self._noticing(key, self.clock.now))

    def _noticing(self, key: tuple[str, str, str], since: datetime) -> Callable[[], None]:
        def notice() -> None:
            if self._serving.get(key) == since:
                reason = "2 out of the last 5 datapoints were greater than the threshold"
                self.set(key[0], key[1], f"sageops/{key[2]}/errors", True, reason)

        return notice

    def _forgetting(self, key: tuple[str, str, str]) -> Callable[[], None]:
        def forget() -> None:
            if key not in self._serving:
                self.set(key[0], key[1], f"sageops/{key[2]}/errors", False, "")

        return forget

    def counts(
        self, account: str, region: str, config: str, metric: str, span: tuple[datetime, datetime]
    ) -> dict[datetime, float]:
        """The sums of a metric of a configuration, minute by minute: a hundred requests, and three
        errors once the model is bad."""
        key = (account, region, config)
        bad = self._bad.get(key)
        first = self._first.get(key)
        found: dict[datetime, float] = {}
        for since, until in self._spans.get(key, []):
            minute = max(since, span[0]).replace(second=0, microsecond=0)
            while minute < min(until or self.clock.now, span[1]):
                harmful = first is not None and bad is not None and minute >= first + bad
                errors = _ERRORS_A_MINUTE if harmful and metric == "Invocation5XXErrors" else 0.0
                found[minute] = _REQUESTS_A_MINUTE if metric == "Invocations" else errors
                minute += _MINUTE
        return found

    # ------------------------------------------------------------ the API's documents

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
