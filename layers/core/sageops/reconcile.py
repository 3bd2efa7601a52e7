"""The loop: load, observe, plan, claim, apply, record, until there is nothing left but to wait.

One call brings one model group as far as it can come now. It decides nothing (`plan` does) and
knows no service (`Cloud`, `Store` and `Wakeups` do).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from msgspec.structs import replace

from sageops.errors import Conflict, TroubleError
from sageops.evidence import Counts, Minute
from sageops.model import (
    Act,
    Action,
    AlarmSeen,
    Arm,
    EndpointSeen,
    Errand,
    Head,
    Idle,
    Live,
    Outcome,
    PackageDetail,
    PackageSeen,
    Record,
    Records,
    Release,
    TrainingSeen,
    Trouble,
    View,
    Wait,
)
from sageops.moves import current_run, errand, is_underway
from sageops.names import VARIANT
from sageops.plan import LEASE, plan, to_describe
from sageops.power import plans
from sageops.settle import after, troubled
from sageops.watch import Comparison, alarm_names, comparison, slow_ms, watched_config

__all__ = ["Cloud", "Store", "Wakeups", "observe", "reconcile"]

# SQS: DelaySeconds is at most 15 minutes; a longer wait is several shorter ones.
_LONGEST_DELAY = timedelta(minutes=15)
# After trouble that should pass, and where others keep writing first.
_PAUSE = timedelta(seconds=30)
_TRIES_AGAINST_OTHERS = 8


# Those in which what comes next depends on the endpoint.
_LOOKED_AT = frozenset(
    {
        "waiting",
        "gate",
        "mirroring",
        "shifting",
        "deploying",
        "checking",
        "baking",
        "stopping",
    }
)


class Cloud(Protocol):
    """The world, as the loop sees it. Every call raises `TroubleError`."""

    def packages(self, group: str) -> tuple[PackageSeen, ...]: ...

    def package(self, arn: str) -> PackageDetail: ...

    def training(self, execution_arn: str) -> TrainingSeen: ...

    def endpoint(self, errand: Errand) -> EndpointSeen | None: ...

    def alarms(self, errand: Errand, names: tuple[str, ...]) -> tuple[AlarmSeen, ...]: ...

    def minutes(
        self, errand: Errand, compared: Comparison, slow_ms: int | None
    ) -> Mapping[str, tuple[Minute, ...]]: ...

    def traffic(self, errand: Errand, arm: Arm) -> tuple[Counts, ...]: ...

    def apply(self, action: Action) -> Outcome: ...


class Store(Protocol):
    """The table, as the loop sees it."""

    def load(self, group: str) -> Records | None:
        """Everything about a group; None when there is no policy for it."""

    def commit(self, record: Record) -> Head:
        """Write all of it or nothing; the head as it now stands. Raises `Conflict`."""


class Wakeups(Protocol):
    """The queue, as the loop sees it."""

    def wake(self, group: str, delay: timedelta) -> None: ...


def reconcile(
    group: str,
    cloud: Cloud,
    store: Store,
    wakeups: Wakeups,
    clock: Callable[[], datetime],
    has_time: Callable[[], bool],
) -> str:
    """Bring a group as far as it can come; says in a few words why it stopped there.

    Raises `TroubleError` when the registry itself cannot be read, for the queue to try again.
    """
    conflicts = 0
    while has_time():
        try:
            why = _step(group, cloud, store, wakeups, clock())
        except Conflict:
            conflicts += 1
            if conflicts == _TRIES_AGAINST_OTHERS:
                break
            continue
        if why is not None:
            return why
    # Whatever is left is for the next message, which this one asks for.
    wakeups.wake(group, _PAUSE)
    return "to be continued"


def _step(group: str, cloud: Cloud, store: Store, wakeups: Wakeups, now: datetime) -> str | None:
    """Take one step; None when another may follow at once. Raises `Conflict`."""
    records = store.load(group)
    if records is None:
        return "no policy: nothing is wanted of this group"
    view = observe(records, cloud, now)
    match plan(view):
        case Record() as record:
            store.commit(record)
            return None
        case Act() as act:
            return _carry_out(view, act, cloud, store, wakeups)
        case Wait(until, why):
            _wake_at(records.head, until, now, store, wakeups)
            return why
        case Idle(why):
            return why
        case _ as never:
            assert_never(never)


def _carry_out(view: View, act: Act, cloud: Cloud, store: Store, wakeups: Wakeups) -> str | None:
    """Claim, apply, record."""
    claimed = _with_claim(view, act, store.commit(act.claim))
    try:
        outcome = cloud.apply(act.action)
    except TroubleError as error:
        store.commit(troubled(claimed, act, error.trouble))
        if error.trouble.kind != "transient":
            return None
        wakeups.wake(view.records.head.group, _PAUSE)
        return error.trouble.message
    store.commit(after(claimed, act, outcome))
    return None


def _with_claim(view: View, act: Act, head: Head) -> View:
    claimed = {each.version: each for each in act.claim.releases}
    releases = {**view.records.releases, **claimed}
    return replace(view, records=replace(view.records, head=head, releases=releases))


def _wake_at(head: Head, until: datetime, now: datetime, store: Store, wakeups: Wakeups) -> None:
    """See that a message comes at `until`, unless one is under way that comes before."""
    if head.wake_at is not None and now < head.wake_at <= until:
        return
    delay = min(until - now, _LONGEST_DELAY)
    # First the message, then the note of it: a crash between them costs one look too many.
    wakeups.wake(head.group, delay)
    # Nothing is written under another's claim: its own record would be lost.
    if head.intent is None or now >= head.intent.at + LEASE:
        store.commit(Record(replace(head, wake_at=now + delay)))


# ---------------------------------------------------------------- observe


def observe(records: Records, cloud: Cloud, now: datetime) -> View:
    """Look at what the group's present steps depend on, and at nothing else."""
    packages = cloud.packages(records.head.group)
    details = {each.version: cloud.package(each.arn) for each in to_describe(records, packages)}
    training = records.head.training
    seen = None
    if training is not None and training.execution_arn and not training.ended:
        seen = cloud.training(training.execution_arn)
    endpoints: dict[str, EndpointSeen | Trouble | None] = {}
    alarms: dict[str, tuple[AlarmSeen, ...]] = {}
    minutes: dict[str, Mapping[str, tuple[Minute, ...]]] = {}
    traffic: dict[str, tuple[Counts, ...]] = {}
    for release, stage, config in _of_interest(records):
        policy = records.policies.get(release.policy_version)
        if policy is None:
            continue
        where = errand(release, release.run(stage), policy.stage(stage))
        try:
            endpoints[stage] = cloud.endpoint(where)
            # What waits for the first version of a stage has no configuration to watch yet.
            if config:
                alarms[stage] = cloud.alarms(where, alarm_names(config, policy.stage(stage)))
            run = release.run(stage)
            served = records.head.live.get(stage)
            if run.step == "waiting" and served is not None and plans(policy.stage(stage)):
                traffic[stage] = cloud.traffic(where, Arm(served.config, VARIANT))
            compared = comparison(run, policy.stage(stage))
            if compared is not None:
                minutes[stage] = cloud.minutes(where, compared, slow_ms(policy.stage(stage)))
        except TroubleError as error:
            endpoints[stage] = error.trouble
    by_version = {package.version: package for package in packages}
    return View(now, records, by_version, details, endpoints, alarms, minutes, seen, traffic)


def _of_interest(records: Records) -> list[tuple[Release, str, str]]:
    """Release, stage and configuration of what is live, over it of what waits for its turn, and
    over both of what is under way."""
    found: dict[str, tuple[Release, str, str]] = {}
    for stage, live in records.head.live.items():
        found.update(_live_of_interest(records, stage, live))
    for release in sorted((records.releases[each] for each in records.head.open), key=_concern):
        run = current_run(release)
        if run.step in _LOOKED_AT and release.approved_at is not None:
            # Until it is asked for, the alarms to look at are those of what is live.
            lived = records.head.live.get(run.stage)
            untouched = lived is not None and not is_underway(release)
            watched = lived.config if lived is not None and untouched else watched_config(run)
            found[run.stage] = (release, run.stage, watched)
    return list(found.values())


def _concern(release: Release) -> tuple[bool, bool]:
    """Who is to be looked for at a stage where several are: the last in this order."""
    return is_underway(release), release.approved_at is not None


def _live_of_interest(
    records: Records, stage: str, live: Live
) -> dict[str, tuple[Release, str, str]]:
    release = records.releases.get(live.version)
    # Admitted anew, under a policy without this stage, a release no longer knows of it.
    if release is None or all(run.stage != stage for run in release.runs):
        return {}
    return {stage: (release, stage, live.config)}
