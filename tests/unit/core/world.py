"""A world in memory for the loop: a registry, two accounts' endpoints, the table and the queue.

A test reads: given a `World` with some packages, when time passes or something changes, then
the release is in this phase and the endpoint serves that. Stored records go through JSON, as
they do in the table. Time passes only in `wait`, which delivers the messages that fall due.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from sageops.conditions import find, phase, reason
from sageops.errors import Conflict, TroubleError
from sageops.evidence import SERVER_ERRORS, Counts, Minute
from sageops.lifecycle import is_word
from sageops.model import (
    Action,
    AlarmSeen,
    Approval,
    Arm,
    Artifact,
    BlueGreen,
    ConditionType,
    Copied,
    CopyArtifact,
    CountHarm,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    CreateTrial,
    DeleteEndpoint,
    Done,
    EndpointSeen,
    Entry,
    Errand,
    GroupSpec,
    Guardrail,
    Harmed,
    Head,
    LabelPackage,
    LifeCycle,
    Outcome,
    PackageDetail,
    PackageSeen,
    PinArtifact,
    Pinned,
    Pulled,
    PullImage,
    PutAlarms,
    Record,
    Records,
    Registered,
    RegisterPackage,
    Release,
    ReleaseSpec,
    Retire,
    RollingUpdate,
    Routing,
    ShiftTraffic,
    SignalStop,
    Smoke,
    Smoked,
    Started,
    StartPipeline,
    TrainingSeen,
    Trouble,
    Underway,
    UpdateEndpoint,
    VariantSeen,
    View,
    Word,
)
from sageops.policy import (
    AllAtOnce,
    Canary,
    Checks,
    Policy,
    RealTime,
    SmokeRequest,
    Stage,
    Target,
    Training,
)
from sageops.reconcile import observe, reconcile
from sageops.retire import leftover
from sageops.watch import Comparison

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GROUP = "churn"
STAGING, PRODUCTION = "222222222222", "333333333333"
ON_CALL, OWNER = "on-call@example.com", "model-owner@example.com"
# More steps than any release takes in one look: a look that takes more runs in circles.
_STEPS_A_LOOK = 60
_FLEET = timedelta(minutes=4)
_IMPORT = timedelta(minutes=3)

T = TypeVar("T")


class Crash(BaseException):
    """The worker is gone, in the middle of whatever it did."""


# ---------------------------------------------------------------- given


def stage(name: str, account: str, **changes: Any) -> Stage:
    """A stage with an automatic gate, one instance, all at once, no bake."""
    target = Target(account, "eu-west-1", f"{GROUP}-{name}")
    given = Stage(name, target, RealTime("ml.m5.large"), gate="auto")
    return replace(given, **changes)


SMOKE = Checks(smoke=(SmokeRequest('{"instances": [[1.0]]}', expect="predictions"),))
STAGES = (
    stage("staging", STAGING, checks=replace(SMOKE, bake_minutes=5)),
    stage(
        "production",
        PRODUCTION,
        serving=RealTime("ml.m5.large", 10),
        rollout=Canary(canary_percent=10, canary_minutes=15, bake_minutes=10),
        checks=replace(SMOKE, bake_minutes=15),
        gate="manual",
    ),
)
ONE_STAGE = (
    stage("production", PRODUCTION, rollout=AllAtOnce(), checks=replace(SMOKE, bake_minutes=10)),
)


def policy(*stages: Stage, training: Training | None = None) -> Policy:
    return Policy(GROUP, stages or STAGES, training)


def trouble(kind: str, call: str = "sagemaker:UpdateEndpoint", account: str = STAGING) -> Trouble:
    return Trouble(kind, account, call, f"it is {kind}.", "Mend it.")  # type: ignore[arg-type]


# ---------------------------------------------------------------- the world outside


@dataclass
class Endpoint:
    config: str
    status: str
    modified_at: datetime
    settles_at: datetime
    pending: str = ""
    failure_reason: str = ""
    # Of the update under way, or of the latest one.
    guardrail: BlueGreen | RollingUpdate | None = None
    # Of the requests, the percentage that the new one of two variants gets.
    share: int = 0


@dataclass
class InMemoryCloud:
    """`reconcile.Cloud`. Endpoints take minutes, as SageMaker's do; everything else is at once."""

    clock: Callable[[], datetime]
    seen: dict[int, PackageSeen] = field(default_factory=dict)
    details: dict[str, PackageDetail] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    # Images by tag, and what each tag means at present.
    tags: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    # When each image that was asked for is there.
    pulled: dict[str, datetime] = field(default_factory=dict)
    registered: dict[str, RegisterPackage] = field(default_factory=dict)
    models: dict[str, CreateModel] = field(default_factory=dict)
    configs: dict[str, CreateConfig] = field(default_factory=dict)
    trials: dict[str, CreateTrial] = field(default_factory=dict)
    alarm_states: dict[str, AlarmSeen] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    executions: dict[str, TrainingSeen] = field(default_factory=dict)
    labels: dict[str, LifeCycle] = field(default_factory=dict)
    # What goes wrong, for as long as it stands here.
    troubles: dict[type, Trouble] = field(default_factory=dict)
    unseen: dict[str, Trouble] = field(default_factory=dict)
    # Of an action that is done in ten parts, how many are left.
    parts_left: dict[type, int] = field(default_factory=dict)
    smoke_problem: str = ""
    # What an endpoint's variant is called in place of ours.
    foreign_variant: str = ""
    # Updates are carried out at once, whatever they ask for.
    ignores_guardrails: bool = False
    creation_failure: str = ""
    update_failures: list[str] = field(default_factory=list)
    harmed: Harmed = Harmed(1000, 30)
    # What both fleets are asked in a minute of a rollout, and how they fail.
    rates: Minute = Minute()
    # What a stage served lately.
    last_day: tuple[Counts, ...] = ()
    # What happens in the middle of an action: before its effect, and after it.
    before: dict[type, Callable[[], None]] = field(default_factory=dict)
    afterwards: dict[type, Callable[[], None]] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    # Each share of the traffic that was asked for, in order.
    shares: list[int] = field(default_factory=list)

    # -------------------------------------------- what the loop asks

    def packages(self, group: str) -> tuple[PackageSeen, ...]:
        assert group == GROUP, f"there is no group {group}"
        return tuple(sorted(self.seen.values(), key=lambda each: -each.version))

    def package(self, arn: str) -> PackageDetail:
        return self.details[arn]

    def training(self, execution_arn: str) -> TrainingSeen:
        return self.executions[execution_arn]

    def endpoint(self, errand: Errand) -> EndpointSeen | None:
        name = errand.target.endpoint
        if name in self.unseen:
            raise TroubleError(self.unseen[name])
        it = self.endpoints.get(name)
        if it is None:
            return None
        trial = self.trials.get(it.config)
        main = VariantSeen(self.foreign_variant or "main", 100 - it.share, 1)
        beside = (VariantSeen("next", it.share, 1),) if trial and trial.beside == "next" else ()
        return EndpointSeen(
            it.status,
            it.config,
            it.modified_at,
            it.pending,
            it.failure_reason,
            (main, *beside),
            ("shadow",) if trial and trial.beside == "shadow" else (),
            guardrail="" if self.ignores_guardrails else _strategy(it.guardrail),
        )

    def alarms(self, errand: Errand, names: tuple[str, ...]) -> tuple[AlarmSeen, ...]:
        if errand.target.endpoint in self.unseen:
            raise TroubleError(self.unseen[errand.target.endpoint])
        return tuple(self.alarm_states[name] for name in names if name in self.alarm_states)

    def minutes(
        self, errand: Errand, compared: Comparison, slow_ms: int | None
    ) -> Mapping[str, tuple[Minute, ...]]:
        """One minute of `rates` for each that has passed since both began to serve."""
        assert errand.target.endpoint in self.endpoints
        for arm in (compared.control, compared.canary):
            there = arm.config in self.configs or arm.config in self.trials
            assert there, f"{arm} was never there"
        passed = int((self.clock() - compared.since).total_seconds() // 60)
        begins = (compared.since + timedelta(minutes=each) for each in range(passed))
        return {SERVER_ERRORS: tuple(replace(self.rates, at=at) for at in begins)}

    def traffic(self, errand: Errand, arm: Arm) -> tuple[Counts, ...]:
        return self.last_day

    def apply(self, action: Action) -> Outcome:
        kind = type(action)
        self.before.pop(kind, lambda: None)()
        if kind in self.troubles:
            raise TroubleError(self.troubles[kind])
        self.effects[kind.__name__] += 1
        left = self.parts_left[kind] = max(0, self.parts_left.get(kind, 0) - 1)
        outcome = Underway(10 - left, 10) if left else self._have_effect(action)
        self.afterwards.pop(kind, lambda: None)()
        return outcome

    def _have_effect(self, action: Action) -> Outcome:
        match action:
            case PinArtifact(url, image):
                return Pinned(self.artifacts[url], self.tags.get(image, image))
            case CopyArtifact(artifact=artifact, destination=destination):
                self.copies.setdefault(destination, self.artifacts[artifact.url].sha256)
                return Copied(self.copies[destination])
            case PullImage(destination=destination):
                there = self.pulled.setdefault(destination, self.clock() + _IMPORT)
                return Pulled(self.clock() >= there)
            case RegisterPackage():
                self.registered.setdefault(str(action), action)
                number = list(self.registered).index(str(action)) + 1
                target = action.errand.target
                here = f"arn:aws:sagemaker:{target.region}:{target.account}"
                return Registered(f"{here}:model-package/{action.group}/{number}")
            case CreateModel(name=name):
                self.models[name] = action
            case CreateConfig(name=name):
                self.configs[name] = action
            case CreateTrial(name=name):
                self.trials[name] = action
            case PutAlarms(alarms=alarms):
                for alarm in alarms:
                    quiet = AlarmSeen(alarm.name, False, self.clock())
                    self.alarm_states.setdefault(alarm.name, quiet)
            case CreateEndpoint(errand, config):
                self._create(errand.target.endpoint, config)
            case UpdateEndpoint(errand, config, deployment):
                self._update(errand.target.endpoint, config, deployment)
            case ShiftTraffic(errand, percent):
                self._shift(errand.target.endpoint, percent)
            case DeleteEndpoint(errand):
                it = self.endpoints[errand.target.endpoint]
                it.status, it.settles_at = "Deleting", self.clock() + _FLEET
            case Retire():
                self._retire(action)
            case Smoke():
                return Smoked(self.smoke_problem, 42.0)
            case SignalStop(config=config):
                self.fire(f"sageops/{config}/stop")
            case CountHarm():
                return self.harmed
            case StartPipeline(token=token):
                self.executions.setdefault(token, TrainingSeen("Executing"))
                return Started(token)
            case LabelPackage(package_arn, shown, over):
                version = int(package_arn.rpartition("/")[2])
                self._unless_said_since(version, over)
                self.labels[package_arn] = shown
                if version in self.seen:
                    self.show(version, shown, "reconcile")
        return Done()

    def show(self, version: int, life_cycle: LifeCycle, by: str) -> None:
        """The package has that life cycle from now on, on that person's word."""
        seen = self.seen[version]
        self.seen[version] = replace(seen, life_cycle=life_cycle)
        self.details[seen.arn] = replace(
            self.details[seen.arn], life_cycle=life_cycle, modified_by=by, modified_at=self.clock()
        )

    def _unless_said_since(self, version: int, over: PackageSeen | None) -> None:
        now = self.seen.get(version)
        if over is not None and now is not None and over != now and is_word(now.life_cycle):
            raise TroubleError(trouble("transient", "sagemaker:UpdateModelPackage"))

    def _retire(self, action: Retire) -> None:
        it = self.endpoints.get(action.errand.target.endpoint)
        for config in action.configs:
            assert it is None or config not in (it.config, it.pending), f"{config} is in use"
            self.configs.pop(config, None)
            self.trials.pop(config, None)
            for name in [each for each in self.alarm_states if f"/{config}/" in each]:
                del self.alarm_states[name]
        self.models.pop(action.model, None)

    def _create(self, name: str, config: str) -> None:
        now = self.clock()
        self.endpoints.setdefault(name, Endpoint(config, "Creating", now, now + _FLEET))

    def _shift(self, name: str, percent: int) -> None:
        it, now = self.endpoints[name], self.clock()
        assert it.status == "InService", f"the traffic of {name} shifted while it is {it.status}"
        assert self.trials[it.config].beside == "next"
        self.shares.append(percent)
        it.status, it.share, it.modified_at = "Updating", percent, now
        it.settles_at = now + timedelta(minutes=1)

    def _update(self, name: str, config: str, guardrail: BlueGreen | RollingUpdate | None) -> None:
        it, now = self.endpoints[name], self.clock()
        assert it.status == "InService", f"UpdateEndpoint of {name} while it is {it.status}"
        match guardrail:
            case BlueGreen():
                waits = guardrail.routing.wait_seconds + guardrail.termination_wait_seconds
            case RollingUpdate():
                waits = guardrail.wait_seconds
            case None:
                waits = 0
        it.status, it.pending, it.modified_at = "Updating", config, now
        it.settles_at = now + _FLEET + timedelta(seconds=waits)
        it.guardrail, it.failure_reason = guardrail, ""

    # -------------------------------------------- what happens of itself

    def settle(self) -> None:
        """What SageMaker has done by now."""
        now = self.clock()
        for name, it in list(self.endpoints.items()):
            if it.status == "Updating" and self._must_go_back(it):
                it.status, it.settles_at = "RollingBack", now + timedelta(minutes=1)
            if now < it.settles_at:
                continue
            match it.status:
                case "Creating":
                    self._end(it, "Failed" if self.creation_failure else "InService", it.config)
                    it.failure_reason = self.creation_failure
                case "Updating":
                    failed = it.pending and self.update_failures
                    reason = self.update_failures.pop(0) if failed else ""
                    if it.pending and not reason:
                        it.share = 0
                    stays = reason or not it.pending
                    self._end(it, "InService", it.config if stays else it.pending)
                    it.failure_reason = reason
                case "RollingBack":
                    self._end(it, "InService", it.config)
                    it.failure_reason = "An alarm went off during the deployment."
                case "Deleting":
                    del self.endpoints[name]

    def _end(self, it: Endpoint, status: str, config: str) -> None:
        it.status, it.config, it.pending, it.modified_at = status, config, "", self.clock()

    def _must_go_back(self, it: Endpoint) -> bool:
        watched = it.guardrail.alarms if it.guardrail is not None else ()
        return any(name in self.alarm_states and self.alarm_states[name].firing for name in watched)

    def fire(self, alarm: str) -> None:
        self.alarm_states[alarm] = AlarmSeen(alarm, True, self.clock(), "3 % of requests failed.")

    def quieten(self, alarm: str) -> None:
        self.alarm_states[alarm] = AlarmSeen(alarm, False, self.clock())


def _strategy(guardrail: BlueGreen | RollingUpdate | None) -> Guardrail:
    match guardrail:
        case BlueGreen(routing=Routing(type="CANARY")):
            return "canary"
        case BlueGreen(routing=Routing(type="LINEAR")):
            return "linear"
        case BlueGreen():
            return "all_at_once"
        case RollingUpdate():
            return "rolling"
        case None:
            return ""


# ---------------------------------------------------------------- the table and the queue


def _through_json(value: T) -> T:
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


@dataclass
class InMemoryStore:
    """`reconcile.Store`: all or nothing, under a condition on the head's revision."""

    spec: GroupSpec | None = None
    policies: dict[int, Policy] = field(default_factory=dict)
    head: Head = Head(GROUP)
    releases: dict[int, Release] = field(default_factory=dict)
    wishes: dict[int, ReleaseSpec] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    # Others who write first, one for each of the next commits.
    others: int = 0

    def load(self, group: str) -> Records | None:
        assert group == GROUP, f"there is no group {group}"
        if self.spec is None:
            return None
        served = {each.version for each in self.head.served}
        wanted = {*self.head.open, *served, leftover(self.head) or 0}
        releases = {each: self.releases[each] for each in wanted if each in self.releases}
        wishes = {each: self.wishes[each] for each in wanted if each in self.wishes}
        return Records(self.head, self.spec, releases, wishes, dict(self.policies))

    def commit(self, record: Record) -> Head:
        if self.others:
            self.others -= 1
            self.head = replace(self.head, revision=self.head.revision + 1)
        if record.head.revision != self.head.revision:
            raise Conflict
        self.head = _through_json(replace(record.head, revision=record.head.revision + 1))
        for release in record.releases:
            self.releases[release.version] = _through_json(release)
        self.log.extend(_through_json(entry) for entry in record.log)
        return self.head


@dataclass
class InMemoryQueue:
    """`reconcile.Wakeups`: messages and when each is due."""

    clock: Callable[[], datetime]
    due: list[datetime] = field(default_factory=list)
    delays: list[timedelta] = field(default_factory=list)

    def wake(self, group: str, delay: timedelta) -> None:
        assert group == GROUP, f"there is no group {group}"
        self.delays.append(delay)
        self.due.append(self.clock() + delay)


# ---------------------------------------------------------------- all of it


class World:
    """One model group and everything around it."""

    def __init__(self, *stages: Stage, training: Training | None = None) -> None:
        self.now = START
        self.cloud = InMemoryCloud(self.time)
        self.store = InMemoryStore(
            GroupSpec(policy_version=1), {1: policy(*stages, training=training)}
        )
        self.queue = InMemoryQueue(self.time)

    def time(self) -> datetime:
        return self.now

    def _tick(self) -> datetime:
        """The loop's clock: no two looks are at the same instant."""
        self.now += timedelta(milliseconds=1)
        return self.now

    # -------------------------------------------- given, and what changes

    def registered(
        self, version: int, approval: Approval = "PendingManualApproval", by: str = OWNER
    ) -> None:
        """A package of that version is in the registry, with that approval."""
        arn = f"arn:aws:sagemaker:eu-west-1:111111111111:model-package/{GROUP}/{version}"
        url = f"s3://models/{GROUP}/{version}/model.tar.gz"
        old = self.cloud.seen.get(version)
        life_cycle = old.life_cycle if old is not None else None
        self.cloud.seen[version] = PackageSeen(version, arn, approval, life_cycle)
        self.cloud.details[arn] = PackageDetail(
            f"image@sha256:{version:064d}",
            url,
            modified_by=by,
            modified_at=self.now,
            life_cycle=life_cycle,
        )
        self.cloud.artifacts.setdefault(url, Artifact(url, '"etag"', 1000, f"{version:064x}"))

    def approved(self, version: int, by: str = OWNER) -> None:
        self.registered(version, "Approved", by)

    def rejected(self, version: int, by: str = ON_CALL) -> None:
        self.registered(version, "Rejected", by)

    def wishes(self, version: int, **changes: Any) -> None:
        """A person writes into the release's spec."""
        old = self.store.wishes.get(version, ReleaseSpec())
        self.store.wishes[version] = replace(old, **changes)

    def gate_opened(self, version: int, stage: str = "production", by: str = OWNER) -> None:
        old = self.store.wishes.get(version, ReleaseSpec())
        self.wishes(version, approvals={**old.approvals, stage: Word(by, self.now)})

    def says_in_registry(
        self,
        version: int,
        status: str = "Approved",
        stage: str = "production",
        by: str = OWNER,
        why: str = "",
    ) -> None:
        """A person sets the stage and its status in Studio."""
        self.cloud.show(version, LifeCycle(stage, status, why), by)

    def aborted(self, version: int, why: str = "") -> None:
        self.wishes(version, aborted=Word(ON_CALL, self.now, why))

    def paused(self, version: int) -> None:
        self.wishes(version, paused=Word(ON_CALL, self.now))

    def resumed(self, version: int) -> None:
        self.wishes(version, paused=None, resumed=Word(ON_CALL, self.now))

    def training_wanted(self) -> None:
        assert self.store.spec is not None
        self.store.spec = replace(self.store.spec, training_wanted=self.now)

    def alarm(self, version: int, stage: str, kind: str = "errors") -> str:
        return f"sageops/{self.config(version, stage)}/{kind}"

    def fires(self, version: int, stage: str, kind: str = "errors") -> None:
        self.cloud.fire(self.alarm(version, stage, kind))

    def by_hand(self, config: str, stage: str = "production") -> None:
        """Somebody made the endpoint, or brought it to that configuration, without us."""
        self.cloud.endpoints[f"{GROUP}-{stage}"] = Endpoint(config, "InService", self.now, self.now)

    # -------------------------------------------- when

    def look(self, steps: int = _STEPS_A_LOOK) -> str:
        """One message is delivered."""
        left = iter(range(steps))
        self.cloud.settle()
        why = reconcile(
            GROUP,
            self.cloud,
            self.store,
            self.queue,
            self._tick,
            lambda: next(left, None) is not None,
        )
        if steps == _STEPS_A_LOOK and next(left, None) is None:
            told = [entry.what for entry in self.store.log[-8:]]
            raise AssertionError(f"after {steps} steps it still goes on: {told}")
        return why

    def wait(self, minutes: float = 0) -> None:
        """An event comes now; then time passes, and what the loop asked for is delivered."""
        until = self.now + timedelta(minutes=minutes)
        self.look()
        while self.queue.due and min(self.queue.due) <= until:
            moment = min(self.queue.due)
            self.queue.due.remove(moment)
            self.now = max(self.now, moment)
            self.look()
        self.now = max(self.now, until)
        self.cloud.settle()

    def live(self, *versions: int) -> "World":
        """These versions went live everywhere, one after the other."""
        for version in versions:
            self.approved(version)
            self.look()
            for each in self.store.policies[1].stages:
                self.gate_opened(version, each.name)
            self.wait(120)
            assert self.phase(version) == "Live", self.reason(version)
        return self

    def in_canary(self, version: int) -> "World":
        """That version's update of production is under way, a minute old."""
        self.approved(version)
        self.look()
        self.gate_opened(version)
        for _ in range(60):
            self.wait(1)
            it = self.cloud.endpoints.get(f"{GROUP}-production")
            if it is not None and it.status == "Updating":
                return self
        raise AssertionError(f"{version} never came to its canary: {self.reason(version)}")

    def in_bake(self, version: int, stage: str = "production") -> "World":
        """That version bakes in that stage."""
        self.approved(version)
        self.look()
        self.gate_opened(version)
        for _ in range(150):
            self.wait(1)
            if self.step(version, stage) == "baking":
                return self
        raise AssertionError(f"{version} never came to bake in {stage}: {self.reason(version)}")

    # -------------------------------------------- then

    def view(self) -> View:
        records = self.store.load(GROUP)
        assert records is not None
        return observe(records, self.cloud, self.now)

    def release(self, version: int) -> Release:
        return self.store.releases[version]

    def phase(self, version: int) -> str:
        return phase(self.release(version).conditions)

    def reason(self, version: int) -> str:
        return reason(self.release(version).conditions)

    def condition(self, version: int, type_: ConditionType) -> tuple[bool, str]:
        found = find(self.release(version).conditions, type_)
        assert found is not None, f"{version} has no condition {type_}"
        return found.status, found.reason

    def step(self, version: int, stage: str = "production") -> str:
        return self.release(version).run(stage).step

    def config(self, version: int, stage: str = "production") -> str:
        return self.release(version).run(stage).config

    def serves(self, stage: str = "production") -> int | None:
        """The version that the stage's endpoint answers with; None without an endpoint."""
        it = self.cloud.endpoints.get(f"{GROUP}-{stage}")
        if it is None:
            return None
        matching = (v for v in self.store.releases if self.config(v, stage) == it.config)
        return next(matching, 0)

    def label(self, version: int) -> str:
        """What the registry shows of that version."""
        shown = self.cloud.labels[self.release(version).package_arn]
        return f"{shown.stage} {shown.status}"

    def endpoint(self, stage: str = "production") -> Endpoint:
        return self.cloud.endpoints[f"{GROUP}-{stage}"]

    def told(self, what: str, version: int | None = None) -> list[Entry]:
        """The entries of that kind that people are told of."""
        return [
            each
            for each in self.store.log
            if each.what == what and each.severity != "record" and version in (None, each.version)
        ]

    def logged(self, what: str) -> list[Entry]:
        return [each for each in self.store.log if each.what == what]
