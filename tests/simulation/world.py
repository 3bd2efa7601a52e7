"""The world of a story: the production core and its adapters, with everything around them in
memory, on a virtual clock.

`World.play` lets a story happen. After every step, that is every delivery to a function, every act
of a person and every change of the world, the invariants look at what is new.
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from sageops.adapters.cloud import Aws
from sageops.adapters.identity import Targets
from sageops.adapters.queue import Message, Queue
from sageops.adapters.registry import Registry
from sageops.adapters.store import Table, entry_of
from sageops.errors import Conflict, TroubleError
from sageops.events import Cause, Malformed, parse
from sageops.messages import Places, message
from sageops.model import Entry, GroupSpec, Head, Release, ReleaseSpec
from sageops.moves import current_run
from sageops.names import BESIDE
from sageops.policy import Policy, Stage
from sageops.reconcile import reconcile

from cli import push, wishes
from cli.hub import Hub
from local.clock import Clock
from local.simulator.endpoints import maintain
from local.simulator.faults import Faults, FleetFailure
from local.simulator.hosting import Endpoint, endpoints_of
from local.simulator.service import Simulator
from local.simulator.site import Document, Reply
from tests.simulation.clients import PART, Bucket, Services, Session, parts_are_small
from tests.simulation.cloudwatch import CloudWatch
from tests.simulation.dynamodb import Item as Row
from tests.simulation.dynamodb import Items
from tests.simulation.run import Run
from tests.simulation.story import (
    NAMED_ALARM,
    CallFails,
    ChangesEndpoint,
    DeploysFunctions,
    EventGoesWrong,
    FiresAlarm,
    FleetFails,
    GoesDown,
    Item,
    Maintains,
    MessageRepeats,
    OpensGate,
    PushesPolicy,
    RecordRepeats,
    Registers,
    RevokesSessions,
    Says,
    ShiftsTraffic,
    SkewsClock,
    Story,
    TellingCrashes,
    WantsTraining,
)
from tests.simulation.wire import Call, Crash, Wire

T = TypeVar("T")

__all__ = ["HUB", "REGION", "START", "Change", "Told", "World"]

HUB, REGION = "111111111111", "eu-west-1"
MODELS = f"sageops-models-{HUB}-{REGION}"
START = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)
OWNER = "model-owner@example.com"

# Of template.yaml.
_VISIBILITY = timedelta(seconds=720)
_RECEIVES = 5
_RECONCILE_LIMIT, _LIMIT = timedelta(seconds=120), timedelta(seconds=30)
_ENOUGH = timedelta(seconds=40)
# More steps than any release takes in one look: a look that takes more runs in circles.
_STEPS_A_LOOK = 80
# Lambda's own tries of an asynchronous invocation, after the first.
_INVOKED_AGAIN = (timedelta(minutes=1), timedelta(minutes=2))
_LATENCY = timedelta(seconds=1)
_NIGHT = timedelta(hours=5)
_DAY = timedelta(days=1)

_PEOPLE_TRY = 5
_TRY_AGAIN = timedelta(minutes=10)
_LOOK_AT_REST = timedelta(minutes=10)
# How long a story may go on with its faults, and how long after they stopped: an update that never
# ends takes its waits and an hour, and what an event lost is made up for within a night.
_FAULTS_LAST = timedelta(hours=6)
BOUND = timedelta(hours=30)

_BY_HAND = {"VariantName": BESIDE, "DesiredWeight": 77.0}
_REQUEUE = Cause("reconcile", "SageOps Requeue")
_RULE_STATUSES = {"IN_SERVICE", "FAILED", "OUT_OF_SERVICE", "ROLLING_BACK", "DELETING"}


@dataclass(frozen=True)
class Change:
    """One transaction of the reconciler, and what it replaced. `entries` with their positions."""

    at: datetime
    began: datetime
    group: str
    head: Head
    old_head: Head
    releases: Mapping[int, Release]
    old_releases: Mapping[int, Release | None]
    entries: tuple[tuple[str, Entry], ...]


@dataclass(frozen=True)
class Told:
    """A message that people got."""

    at: datetime
    position: str
    entry: Entry
    subject: str


@dataclass
class _Sent:
    """A message of the queue, until it is deleted. `failures`: why each receipt failed."""

    body: str
    receives: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class _Place:
    """An execution environment of the reconcile function: what it keeps between runs."""

    skew: timedelta
    targets: Targets
    aws: Aws
    table: Table
    queue: Queue
    busy: bool = False


class World:
    """Implements the simulator's `Outside` and `Containers`."""

    def __init__(  # noqa: PLR0915 - a world has many parts
        self, story: Story, invariants: Iterable[Callable[["World"], Iterable[str]]] = ()
    ) -> None:
        assert parts_are_small(), "a world is played in `small_parts`"
        self.story = story
        self.clock = Clock(START)
        self.steps = 0
        self.violation = ""
        self.injected: Counter[str] = Counter()
        self.entries: dict[str, list[tuple[str, Entry]]] = {}
        self.heads: dict[str, Head] = {}
        self.releases: dict[tuple[str, int], Release] = {}
        self.told: list[Told] = []
        self.told_twice_allowed: set[str] = set()
        self.dead: list[_Sent] = []
        self.undelivered: list[Document] = []
        # What is new since the last step.
        self.new_calls: list[Call] = []
        self.new_changes: list[Change] = []
        # What people did, as the invariants need to know it.
        self.versions: dict[str, tuple[str, int]] = {}
        self.approvals: dict[tuple[str, int], list[tuple[datetime, str]]] = {}
        self.gates: dict[tuple[str, int, str], list[datetime]] = {}
        self.aborts: dict[tuple[str, int], datetime] = {}
        self.deleted: set[tuple[str, int]] = set()
        self.by_hand: set[tuple[str, str]] = set()
        self.changed_by_hand: Counter[str] = Counter()
        self.failed_configs: dict[tuple[str, str, str], tuple[datetime, str]] = {}
        self.policies: dict[tuple[str, int], Policy] = {}
        # Whose a configuration is: group, version, stage; trials hold somebody else's too.
        self.configs: dict[str, tuple[str, int, str]] = {}
        self.trials: dict[str, tuple[str, int, str]] = {}
        # When a release was stopped in a stage.
        self.stopped: dict[tuple[str, int, str], datetime] = {}
        # Every call that had its effect, in order; whose operation moves an endpoint; how often
        # something was done that may be done once.
        self.effects: list[Call] = []
        self.ours: dict[tuple[str, str, str], bool] = {}
        self.times: Counter[tuple[str, ...]] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.service_failures: Counter[tuple[str, str]] = Counter()
        # When somebody last did something that concerns a group, and when a look at it last began
        # that came to its end.
        self.acted: dict[str, datetime] = {}
        self.looked: dict[str, datetime] = {}
        self.over = False

        self._invariants = tuple(invariants)
        self._fails: dict[tuple[str, int], CallFails] = {}
        self.wire = Wire(self.clock, self._fails, self.injected, status=self._status)
        self.simulator = Simulator(self.clock, self, self)
        self.simulator.faults = _Fleets(self._fleet_failure)
        self.cloudwatch = CloudWatch(self.clock, self._alarm_changed, self._is_silent)
        self.bucket = Bucket()
        self.items = Items(self._written)
        self.services = Services(
            self.wire,
            self.simulator,
            self.cloudwatch,
            self.bucket,
            self.items,
            self._send,
            HUB,
            REGION,
        )
        session = Session(self.services)
        self.table = Table(session.client("dynamodb"), "table")
        self.queue = Queue(session.client("sqs"), "queue")
        self.registry_client = session.client("sagemaker")
        self._hub = Hub(HUB, REGION, self.table, self.queue, self.registry_client)
        self._places: list[_Place] = []
        self._skews: dict[int, timedelta] = {}
        self._runs: list[Run] = []
        self._event_faults: dict[int, EventGoesWrong] = {}
        self._record_faults: dict[int, RecordRepeats] = {}
        self._telling_faults: dict[int, TellingCrashes] = {}
        self._message_faults: dict[int, MessageRepeats] = {}
        self._fleet_faults: dict[tuple[str, str], list[FleetFailure]] = {}
        self._shifters: dict[str, ShiftsTraffic] = {}
        self._gatekeepers: dict[tuple[str, str], OpensGate] = {}
        self._counts: Counter[str] = Counter()
        self._told_positions: set[str] = set()
        self._failed_at: dict[str, datetime] = {}
        # Deliveries, retries and reactions that are still to come.
        self.under_way = 0

    # ------------------------------------------------------------ a story

    def play(self) -> "World":
        """Let the story happen, until everything is at rest or something is violated."""
        self.begin()
        people = sorted(
            (i for i in self.story.items if isinstance(i, Registers | Says)), key=lambda i: i.at
        )
        for item in self.story.items:
            self._prepare(item)
        if self.story.calm:
            for item in people:
                self._rest(_FAULTS_LAST + BOUND)
                self._act(item)
        else:
            for item in people:
                self._at(item.at, self._acting(item))
            last = max((getattr(i, "at", 0.0) for i in self.story.items), default=0.0)
            self._run_until(START + timedelta(minutes=last))
        self.end()
        return self

    def let(self, item: Item) -> None:
        """Have an item happen now, or wait from now on, whatever its own time says."""
        if hasattr(item, "at"):
            timed: Any = item
            item = replace(timed, at=(self.clock.now - START) / timedelta(minutes=1))
        self._prepare(item)
        if isinstance(item, Registers | Says):
            self._at(item.at, self._acting(item))
        self.pass_time(_LATENCY)

    def open_gate(self, label: str, stage: str) -> None:
        """Somebody approves the stage now, asked or not."""
        group, version = self.versions[label]
        self._open_gate(group, version, stage)
        self.look_at_what_is_new()

    def pass_time(self, span: timedelta) -> None:
        """Let time pass, and whatever happens meanwhile."""
        self._run_until(self.clock.now + span)

    def end(self) -> None:
        """No more faults, after a while; everything comes to rest, and that is looked at."""
        self._rest(_FAULTS_LAST)
        self._stop_faults()
        self._rest(BOUND)
        self.over = True
        self.look_at_what_is_new()
        for run in self._runs:
            if not run.is_over:
                run.kill()

    def _rest(self, limit: timedelta) -> None:
        """Let time pass until everything is at rest, or the limit is over."""
        from tests.simulation.invariants import restless

        end = self.clock.now + limit
        while not self.violation and self.clock.now < end and any(restless(self)):
            self._run_until(min(end, self.clock.now + _LOOK_AT_REST))

    def _run_until(self, when: datetime) -> None:
        self.clock.run_while(lambda: not self.violation, when - self.clock.now)

    def begin(self) -> None:
        """The groups with their policies, and nothing in them yet."""
        for policy in self.story.policies:
            self.registry("CreateModelPackageGroup", ModelPackageGroupName=policy.group)
            self._push(policy)
            if policy.training is not None:
                self._make_pipeline(policy.training.pipeline)
        self._after(timedelta(minutes=self.story.sweep_minutes), self._sweep)
        self._at((_NIGHT / timedelta(minutes=1)), self._nightly)

    def _make_pipeline(self, name: str) -> None:
        steps: list[Document] = []
        if self.story.seed % 2:
            failure = {"ErrorMessage": "The data is too old."}
            steps.append({"Name": "stop", "Type": "Fail", "Arguments": failure})
        definition = msgspec.json.encode({"Version": "2020-12-01", "Steps": steps}).decode()
        self.registry(
            "CreatePipeline",
            PipelineName=name,
            PipelineDefinition=definition,
            ClientRequestToken=f"{name:x<40}",
            RoleArn=f"arn:aws:iam::{HUB}:role/pipelines",
        )

    def _prepare(self, item: Item) -> None:  # noqa: PLR0915 - one arm for every kind of item
        match item:
            case OpensGate():
                self._gatekeepers[item.label, item.stage] = item
            case PushesPolicy():
                self._at(item.at, lambda: self._push(item.policy))
            case WantsTraining():
                self._at(item.at, self._nightly)
            case ChangesEndpoint():
                self._at(item.at, lambda: self._change_endpoint(item))
            case ShiftsTraffic():
                self._shifters[f"{item.group}-{item.stage}"] = item
            case FiresAlarm():
                self._at(item.at, lambda: self._fire(item))
            case FleetFails():
                self._at(item.at, lambda: self._arm(item))
            case Maintains():
                self._at(item.at, lambda: self._maintain(item))
            case GoesDown():
                self._at(item.at, lambda: self._go_down(item))
            case DeploysFunctions():
                self._at(item.at, self._deploy)
            case RevokesSessions():
                self._at(item.at, self._revoke)
            case SkewsClock():
                self._skews[item.place] = timedelta(seconds=item.seconds)
            case EventGoesWrong():
                self._event_faults[item.number] = item
            case RecordRepeats():
                self._record_faults[item.number] = item
            case TellingCrashes():
                self._telling_faults[item.number] = item
            case MessageRepeats():
                self._message_faults[item.number] = item
            case CallFails():
                self._fails[item.operation, item.occurrence] = item
            case Registers() | Says():
                pass

    def _stop_faults(self) -> None:
        for faults in (
            self._event_faults,
            self._record_faults,
            self._telling_faults,
            self._message_faults,
            self._fleet_faults,
            self._shifters,
            self._fails,
            self.wire.denied,
        ):
            faults.clear()
        self.simulator.faults.clear()
        self.wire.down_until = None

    def _at(self, minutes: float, do: Callable[[], None]) -> None:
        self.clock.at(START + timedelta(minutes=minutes), self._step(do))

    def _after(self, delay: timedelta, do: Callable[[], None]) -> None:
        self.clock.after(delay, self._step(do))

    def _later(self, delay: timedelta, do: Callable[[], None]) -> None:
        """As `_after`, for what keeps the world from being at rest."""
        self.under_way += 1

        def happen() -> None:
            self.under_way -= 1
            do()

        self._after(delay, happen)

    def _step(self, do: Callable[[], None]) -> Callable[[], None]:
        def happen() -> None:
            if self.violation:
                return
            do()
            self.look_at_what_is_new()

        return happen

    def look_at_what_is_new(self) -> None:
        """The end of a step: every invariant looks."""
        self.steps += 1
        self.new_calls = self.wire.journal
        self.wire.journal = []
        self.effects.extend(call for call in self.new_calls if not call.error)
        for invariant in self._invariants:
            problem = next(iter(invariant(self)), None)
            if problem is not None and not self.violation:
                self.violation = f"{invariant.__name__}: {problem}"
        self.new_changes = []
        self.new_calls = []

    def count(self, what: Literal["events", "messages", "records"]) -> int:
        """How many there have been so far."""
        return self._counts[what]

    # ------------------------------------------------------------ people

    def _acting(self, item: Registers | Says) -> Callable[[], None]:
        return lambda: self._act(item)

    def _act(self, item: Registers | Says, tries: int = 1) -> None:
        if self.wire.is_down:
            self._postpone(lambda: self._act(item, tries))
            return
        match item:
            case Registers():
                self._register(item)
            case Says() if item.label in self.versions:
                if not self._say(item) and tries < _PEOPLE_TRY:
                    self._later(_TRY_AGAIN, lambda: self._act(item, tries + 1))
            case _:
                pass

    def _register(self, item: Registers) -> None:
        artifact = f"{item.behaviour} {item.label}".encode()
        if (self.story.seed + int(item.label.rpartition(".")[2])) % 3 == 0:
            artifact = artifact.ljust(5 * PART - 1)
        key = f"{MODELS}/{item.label}/model.tar.gz"
        self.bucket.put(key, artifact, stated=len(item.label) % 2 == 0)
        status = "Approved" if item.approved else "PendingManualApproval"
        container = {"Image": f"{HUB}.dkr.ecr.eu-west-1.amazonaws.com/m:1"}
        specification = {
            "Containers": [{**container, "ModelDataUrl": f"s3://{key}"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        }
        answer = self.registry(
            "CreateModelPackage",
            ModelPackageGroupName=item.group,
            InferenceSpecification=specification,
            ModelApprovalStatus=status,
        )
        version = int(answer["ModelPackageArn"].rpartition("/")[2])
        self.acted[item.group] = self.clock.now
        self.versions[item.label] = (item.group, version)
        self.approvals[item.group, version] = [(self.clock.now, status)]

    def _say(self, item: Says) -> bool:
        """Whether it could be said."""
        group, version = self.versions[item.label]
        now = self.acted[group] = self.clock.now
        match item.word:
            case "approves":
                return self._set_approval(group, version, "Approved")
            case "rejects":
                return self._set_approval(group, version, "Rejected")
            case "sets back to pending":
                return self._set_approval(group, version, "PendingManualApproval")
            case "deletes the package of":
                if (group, version) not in self.deleted:
                    self.registry("DeleteModelPackage", ModelPackageName=_arn(group, version))
                    self.deleted.add((group, version))
                    self.injected["package deleted"] += 1
                return True
            case "overwrites the artefact of":
                self.bucket.put(f"{MODELS}/{item.label}/model.tar.gz", b"good other bytes", False)
                self.injected["artefact overwritten"] += 1
                return True
            case "aborts":
                said = self._wish(group, version, wishes.abort(OWNER, "", now))
                if said:
                    self.aborts.setdefault((group, version), now)
                return said
            case "pauses":
                return self._wish(group, version, wishes.pause(OWNER, "", now))
            case "resumes":
                return self._wish(group, version, wishes.resume(OWNER, "", now))
            case "promotes":
                release = self.releases.get((group, version))
                if release is None:
                    return False
                stage = current_run(release).stage
                self.injected["promoted"] += 1
                return self._wish(group, version, wishes.promote(stage, OWNER, "", now), stage)

    def _set_approval(self, group: str, version: int, status: str) -> bool:
        if (group, version) in self.deleted:
            return True
        self.registry(
            "UpdateModelPackage",
            ModelPackageArn=_arn(group, version),
            ModelApprovalStatus=status,
        )
        self.approvals[group, version].append((self.clock.now, status))
        return True

    def _wish(self, group: str, version: int, change: wishes.Change, stage: str = "") -> bool:
        try:
            wishes.wish(self._hub, f"{group}/{version}", change, stage or None)
        except wishes.NotThere:
            return False
        return True

    def _push(self, policy: Policy) -> None:
        pushed = push.push(self._hub, "", policy, OWNER, self.clock.now)
        self.policies[policy.group, pushed.number] = policy
        for stage in policy.stages:
            for name in stage.checks.alarms.names:
                self.cloudwatch.put(stage.target.account, stage.target.region, name, "")

    def _open_gate(self, group: str, version: int, stage: str) -> None:
        if self.wire.is_down:
            self._postpone(lambda: self._open_gate(group, version, stage))
            return
        now = self.clock.now
        if self._wish(group, version, wishes.approve(stage, OWNER, "", now), stage):
            self.gates.setdefault((group, version, stage), []).append(now)

    def _approve_in_studio(self, group: str, version: int, stage: str) -> None:
        if (group, version) in self.deleted:
            return
        shown = {"Stage": stage.title(), "StageStatus": "Approved"}
        self.registry(
            "UpdateModelPackage", ModelPackageArn=_arn(group, version), ModelLifeCycle=shown
        )
        now = self.acted[group] = self.clock.now
        self.injected["approved in Studio"] += 1
        self.gates.setdefault((group, version, stage), []).append(now)

    def is_approved_in_studio(self, group: str, version: int, stage: str) -> bool:
        """Whether its package shows that word at present."""
        if (group, version) in self.deleted:
            return False
        package = self.registry("DescribeModelPackage", ModelPackageName=_arn(group, version))
        shown: Document = package.get("ModelLifeCycle", {})
        return shown == {"Stage": stage.title(), "StageStatus": "Approved"}

    def registry(self, operation: str, **parameters: Any) -> Document:
        """A person's or a pipeline's call to the hub's SageMaker."""
        caller = f"arn:aws:sts::{HUB}:assumed-role/people/{OWNER}"
        return self.simulator.call(HUB, REGION, operation, parameters, caller)

    # ------------------------------------------------------------ the world

    def policy_of(self, group: str) -> Policy:
        """The policy in force."""
        number = max(number for name, number in self.policies if name == group)
        return self.policies[group, number]

    def stages(self) -> Iterable[tuple[str, Stage]]:
        """Every stage of every policy in force, with its group."""
        for group in dict.fromkeys(name for name, _ in self.policies):
            for stage in self.policy_of(group).stages:
                yield group, stage

    def endpoint(self, account: str, region: str, name: str) -> Endpoint | None:
        return endpoints_of(self.simulator.site(account, region)).get(name)

    def _status(self, account: str, region: str, name: str) -> str:
        there = self.endpoint(account, region, name)
        return "" if there is None else there.status

    def _is_silent(self, endpoint: str) -> bool:
        """Whether nobody asks it: endpoints are named after their groups."""
        return endpoint.partition("-")[0] in self.story.silent

    def _named(self, group: str, stage: str) -> Stage | None:
        found = (each for name, each in self.stages() if (name, each.name) == (group, stage))
        return next(found, None)

    def _change_endpoint(self, item: ChangesEndpoint) -> None:
        stage = self._named(item.group, item.stage)
        if stage is None:
            return
        target = stage.target
        there = self.endpoint(target.account, target.region, target.endpoint)
        if there is None or there.status != "InService":
            return
        where = (target.account, target.region)
        if item.how == "deletes":
            self._by_hand(*where, "DeleteEndpoint", there.name, {})
        else:
            self._make_foreign(*where)
            config = {"EndpointConfigName": "by-hand"}
            self._by_hand(*where, "UpdateEndpoint", there.name, config)
        self.by_hand.add((item.group, item.stage))
        self.injected[f"endpoint {item.how.removesuffix('s')}d by hand"] += 1

    def _shift_traffic(self, account: str, region: str, there: Endpoint) -> None:
        """Unless it is too late: it is as if it were not asked for."""
        if there.status == "InService" and there.fleet and BESIDE in there.fleet.variants:
            weights = {"DesiredWeightsAndCapacities": [_BY_HAND]}
            operation = "UpdateEndpointWeightsAndCapacities"
            self._by_hand(account, region, operation, there.name, weights)
            self.injected["traffic shifted by hand"] += 1

    def _by_hand(
        self, account: str, region: str, operation: str, name: str, more: Document
    ) -> None:
        self.simulator.call(account, region, operation, {"EndpointName": name, **more})
        self.changed_by_hand[name] += 1
        self.ours[account, region, name] = False

    def _make_foreign(self, account: str, region: str) -> None:
        if "by-hand" in self.simulator.site(account, region).state.get("endpoint-configs", {}):
            return
        self.bucket.put(f"{MODELS}/by-hand", b"good by hand", stated=False)
        model = {
            "ModelName": "by-hand",
            "PrimaryContainer": {"Image": "image", "ModelDataUrl": f"s3://{MODELS}/by-hand"},
            "ExecutionRoleArn": f"arn:aws:iam::{account}:role/somebody",
        }
        variant = {
            "VariantName": "main",
            "ModelName": "by-hand",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 10,
        }
        config = {"EndpointConfigName": "by-hand", "ProductionVariants": [variant]}
        self.simulator.call(account, region, "CreateModel", model)
        self.simulator.call(account, region, "CreateEndpointConfig", config)

    def _fire(self, item: FiresAlarm) -> None:
        stage = self._named(item.group, item.stage)
        if stage is None:
            return
        where = (stage.target.account, stage.target.region)
        name = f"{NAMED_ALARM}-{item.group}-{item.stage}"
        if self.cloudwatch.state(*where, name) == "OK":
            self.injected["named alarm fired"] += 1
            self.cloudwatch.set(*where, name, True, "Fewer orders than usual.")
            over = timedelta(minutes=item.minutes)
            self._later(over, lambda: self.cloudwatch.set(*where, name, False, ""))

    def _arm(self, item: FleetFails) -> None:
        stage = self._named(item.group, item.stage)
        if stage is not None:
            where = (stage.target.account, stage.target.endpoint)
            self._fleet_faults.setdefault(where, []).append(FleetFailure[item.failure])

    def _fleet_failure(self, account: str, endpoint: str) -> FleetFailure | None:
        """Only an update with a time limit may never end, one of ours with a guardrail: SageMaker
        ends the others at last, when is nowhere documented."""
        armed = self._fleet_faults.get((account, endpoint), [])
        endless = all(
            there is None or there.fleet is None or there.deployment_config is None
            for site in (REGION, "us-east-1")
            for there in (self.endpoint(account, site, endpoint),)
        )
        of_ours = self.wire.actor is not None
        if not armed or (armed[0] is FleetFailure.NEVER_ENDS and (endless or not of_ours)):
            return None
        self.injected[f"fleet: {armed[0].name}"] += 1
        return armed.pop(0)

    def _maintain(self, item: Maintains) -> None:
        stage = self._named(item.group, item.stage)
        if stage is None:
            return
        target = stage.target
        if self._status(target.account, target.region, target.endpoint) == "InService":
            site = self.simulator.site(target.account, target.region)
            maintain(site, target.endpoint, timedelta(minutes=item.minutes))
            self.injected["endpoint patched"] += 1

    def _go_down(self, item: GoesDown) -> None:
        self.wire.down_until = self.clock.now + timedelta(minutes=item.minutes)

    def _deploy(self) -> None:
        self._places = []
        self.injected["functions deployed"] += 1

    def _revoke(self) -> None:
        self.wire.revoked_before = self.clock.now

    # ------------------------------------------------------------ the simulator's outside

    def publish(
        self, account: str, region: str, detail_type: str, detail: Document, resources: list[str]
    ) -> None:
        name = detail.get("EndpointName")
        if name is not None:
            self._endpoint_moved(account, region, name)
        if self._passes(detail_type, detail):
            self._event("aws.sagemaker", account, region, detail_type, detail)

    @staticmethod
    def _passes(detail_type: str, detail: Document) -> bool:
        """The patterns of template.yaml's rules."""
        match detail_type:
            case "SageMaker Endpoint State Change":
                return detail["EndpointStatus"] in _RULE_STATUSES
            case "SageMaker Model Building Pipeline Execution Status Change":
                return detail["currentPipelineExecutionStatus"] in ("Succeeded", "Failed")
            case _:
                return True

    def _endpoint_moved(self, account: str, region: str, name: str) -> None:
        there = self.endpoint(account, region, name)
        if there is None:
            return
        self._note_failure(account, region, there)
        self.cloudwatch.traffic(account, region, there)
        shifts = self._shifters.get(name)
        compares = there.status == "InService" and there.fleet and BESIDE in there.fleet.variants
        if shifts is not None and compares:
            del self._shifters[name]
            after = timedelta(minutes=shifts.after)
            self._later(after, lambda: self._shift_traffic(account, region, there))

    def _note_failure(self, account: str, region: str, there: Endpoint) -> None:
        if there.status == "Failed":
            config = there.config_name
        elif there.status == "RollingBack" and there.pending is not None:
            config = there.pending.fleet.config_name
        else:
            return
        reason = there.failure_reason or ""
        self.failed_configs.setdefault((account, there.name, config), (self.clock.now, reason))
        # Announced twice while it goes back: once of the endpoint, once of the deployment.
        if self._failed_at.get(there.name) != self.clock.now:
            self._failed_at[there.name] = self.clock.now
            self.failures[there.name, config] += 1
            self.service_failures[there.name, config] += reason.startswith("Request to service")

    def put_metric(self, *given: Any, **named: Any) -> None:
        """What requests leave behind: the simulation's alarms do not need it."""

    def alarm_state(self, account: str, region: str, name: str) -> str | None:
        return self.cloudwatch.state(account, region, name)

    def read(self, account: str, uri: str) -> bytes:
        return self.bucket.get(uri.removeprefix("s3://"))

    def write(self, account: str, uri: str, body: bytes) -> None:
        self.bucket.put(uri.removeprefix("s3://"), body, stated=False)

    def ping(self, artifact: bytes, environment: Mapping[str, str]) -> bool:
        return not artifact.startswith(b"sick")

    def invoke(
        self,
        artifact: bytes,
        environment: Mapping[str, str],
        body: bytes,
        content_type: str,
        accept: str,
    ) -> Reply:
        answer = b"?" if artifact.startswith(b"rude") else b'{"predictions": [1]}'
        return Reply(200, answer, "application/json", timedelta(milliseconds=5))

    def run(self, *given: Any) -> Any:
        raise AssertionError("the simulation's pipelines run no jobs")

    # ------------------------------------------------------------ events, and intake

    def _alarm_changed(self, account: str, region: str, detail: Document) -> None:
        if detail["state"]["value"] == "ALARM":
            kind = "CloudWatch Alarm State Change"
            self._event("aws.cloudwatch", account, region, kind, detail)

    def _event(
        self, source: str, account: str, region: str, detail_type: str, detail: Document
    ) -> None:
        self._counts["events"] += 1
        number = self._counts["events"]
        event = {
            "version": "0",
            "id": f"event-{number}",
            "source": source,
            "account": account,
            "region": region,
            "resources": [],
            "detail-type": detail_type,
            "detail": detail,
        }
        fault = self._event_faults.get(number)
        if fault is None:
            self._later(_LATENCY, lambda: self._intake(event))
            return
        self.injected[f"event {fault.how}"] += 1
        late = timedelta(seconds=fault.seconds)
        match fault.how:
            case "dropped":
                pass
            case "repeated":
                self._later(_LATENCY, lambda: self._intake(event))
                self._later(_LATENCY + late, lambda: self._intake(event))
            case "late" | "reordered":
                self._later(_LATENCY + late, lambda: self._intake(event))

    def _intake(self, event: Document, tries: int = 0) -> None:
        def body() -> None:
            try:
                cause, resource = parse(event)
            except Malformed:
                return
            group = self.table.group_of(resource)
            if group is not None:
                self.queue.send(group, cause)

        def ended(error: BaseException | None) -> None:
            if error is None:
                return
            self._must_be_injected("intake", error)
            if tries < len(_INVOKED_AGAIN):
                self._later(_INVOKED_AGAIN[tries], lambda: self._intake(event, tries + 1))
            else:
                self.undelivered.append(event)

        if self.wire.is_down:
            self._postpone(lambda: self._intake(event, tries))
            return
        self._start("intake", _LIMIT, body, ended)

    def _postpone(self, do: Callable[[], None]) -> None:
        """Until the Region is up again."""
        assert self.wire.down_until is not None
        self.injected["region down"] += 1
        self._later(self.wire.down_until - self.clock.now, do)

    def _start(
        self,
        name: str,
        limit: timedelta,
        body: Callable[[], None],
        ended: Callable[[BaseException | None], None],
    ) -> Run:
        def over(error: BaseException | None) -> None:
            self.under_way -= 1
            ended(error)
            if run.has_paused:
                self.look_at_what_is_new()

        self.under_way += 1
        run = Run(name, self.clock, self.wire, limit, body, over)
        self._runs = [each for each in self._runs if not each.is_over]
        self._runs.append(run)
        run.start(self.wire.may_stall)
        return run

    def _must_be_injected(self, name: str, error: BaseException) -> None:
        """A function fails for what was done to it, and for nothing else."""
        if not isinstance(error, Crash | TroubleError | ClientError | BotoCoreError | Conflict):
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.violation = f"{name} raised {error!r} in {where.name}, line {where.lineno}"

    # ------------------------------------------------------------ the queue, and reconcile

    def _send(self, body: str, delay: timedelta) -> Document:
        self._counts["messages"] += 1
        sent = _Sent(body)
        fault = self._message_faults.get(self._counts["messages"])
        # What the loop asks of itself is no reason to wait for: a release that is paused while it
        # bakes asks for a look for as long as it is.
        of_its_own = msgspec.json.decode(body, type=Message).cause == _REQUEUE
        (self._after if of_its_own else self._later)(delay, lambda: self._receive(sent))
        if fault is not None:
            again = _Sent(body)
            self.injected["message repeated"] += 1
            later = delay + timedelta(seconds=fault.seconds)
            self._later(later, lambda: self._receive(again))
        return {"MessageId": str(self._counts["messages"])}

    def _receive(self, sent: _Sent) -> None:
        if self.wire.is_down:
            self._postpone(lambda: self._receive(sent))
            return
        sent.receives += 1
        place = self._free_place()
        place.busy = True
        began = self.clock.now
        ticks = 0

        def now() -> datetime:
            nonlocal ticks
            ticks += 1
            return self.clock.now + place.skew + timedelta(milliseconds=ticks)

        group = msgspec.json.decode(sent.body, type=Message).group
        taken = 0

        def has_time() -> bool:
            nonlocal taken
            taken += 1
            if taken > _STEPS_A_LOOK:
                last = [entry.what for _, entry in self.entries[group][-4:]]
                self.violation = f"a look runs in circles: it comes to {last} again and again"
                raise Crash
            return began + _RECONCILE_LIMIT - self.clock.now > _ENOUGH

        def body() -> None:
            reconcile(group, place.aws, place.table, place.queue, now, has_time)

        def ended(error: BaseException | None) -> None:
            place.busy = False
            if error is None:
                self.looked[group] = began
                return
            self._must_be_injected("reconcile", error)
            sent.failures.append(repr(error))
            if isinstance(error, Crash) and place in self._places:
                self._places.remove(place)
            if sent.receives < _RECEIVES:
                back = began + _VISIBILITY - self.clock.now
                self._later(back, lambda: self._receive(sent))
            else:
                self.dead.append(sent)

        if sum(each.busy for each in self._places) > 1:
            self.injected["two workers at once"] += 1
        self._start("reconcile", _RECONCILE_LIMIT, body, ended)

    def _free_place(self) -> _Place:
        for place in self._places:
            if not place.busy:
                return place
        session = Session(self.services)
        skew = self._skews.get(len(self._places) % 2, timedelta(0))
        if skew:
            self.injected["clock skewed"] += 1

        def now() -> datetime:
            return self.clock.now + skew

        targets = Targets(session, "external-id", now)
        s3 = session.client("s3")
        registry = Registry(session.client("sagemaker"), s3, HUB, own="sageops-reconcile")
        aws = Aws(registry, s3, lambda _: session.client("ecr"), targets, HUB, now)
        place = _Place(skew, targets, aws, self.table, self.queue)
        self._places.append(place)
        return place

    # ------------------------------------------------------------ sweep

    def _sweep(self) -> None:
        self._after(timedelta(minutes=self.story.sweep_minutes), self._sweep)
        if self.wire.is_down:
            self.injected["region down"] += 1
            return

        def body() -> None:
            for group in self.table.open_groups():
                self.queue.send(group, Cause("sweep", "SageOps Sweep open"))

        self._start("sweep", _LIMIT, body, lambda error: self._swept(error, body))

    def _swept(self, error: BaseException | None, body: Callable[[], None], tries: int = 0) -> None:
        if error is None:
            return
        self._must_be_injected("sweep", error)
        if tries < len(_INVOKED_AGAIN):
            self._later(
                _INVOKED_AGAIN[tries],
                lambda: self._again(body, tries + 1),
            )

    def _again(self, body: Callable[[], None], tries: int) -> None:
        if self.wire.is_down:
            self._postpone(lambda: self._again(body, tries))
            return
        self._start("sweep", _LIMIT, body, lambda error: self._swept(error, body, tries))

    def _nightly(self) -> None:
        """The schedule's time is the same at every try, and the next day's is another."""
        night = self.clock.now
        self._after(_DAY, self._nightly)

        def wanting(spec: Any) -> Any:
            there = spec.training_wanted
            if there is not None and there >= night:
                return spec
            return msgspec.structs.replace(spec, training_wanted=night)

        def body() -> None:
            for group in self.table.nightly_groups():
                self.table.change_group_spec(group, wanting)
            for group in self.table.groups():
                self.queue.send(group, Cause("sweep", "SageOps Sweep nightly"))

        self._again(body, 0)

    # ------------------------------------------------------------ the stream, and notify

    def _written(self, items: list[Row], new: list[Row]) -> None:
        self._remember(items)
        for item in new:
            if item["sk"]["S"].startswith("LOG#"):
                self._stream(item)

    def _stream(self, item: Row) -> None:
        self._counts["records"] += 1
        number = self._counts["records"]
        crash = self._telling_faults.get(number)
        self._later(_LATENCY, lambda: self._notify(item, crash))
        repeat = self._record_faults.get(number)
        if repeat is not None:
            self.injected["record repeated"] += 1
            again = _LATENCY + timedelta(seconds=repeat.seconds)
            self._later(again, lambda: self._notify(item, None))

    def _notify(self, item: Row, crash: TellingCrashes | None) -> None:
        """As functions/notify does: what was told is noted after it was told."""
        position = f"{item['pk']['S']} {item['sk']['S']}"
        if self.wire.is_down:
            self._postpone(lambda: self._notify(item, crash))
            return
        if position in self._told_positions:
            return
        entry = entry_of(item)
        if crash is not None:
            self.injected["notify crashed"] += 1
            self._later(timedelta(minutes=1), lambda: self._notify(item, None))
            if not crash.published:
                return
            self.told_twice_allowed.add(position)
        if entry.severity != "record":
            letter = message(entry, Places(REGION))
            self.told.append(Told(self.clock.now, position, entry, letter.subject))
            self._react(entry)
        if crash is None:
            self._told_positions.add(position)

    def _react(self, entry: Entry) -> None:
        if entry.what != "GateWaiting" or entry.version is None or entry.stage is None:
            return
        group, version, stage = entry.group, entry.version, entry.stage
        label = next((n for n, v in self.versions.items() if v == (group, version)), "")
        keeper = self._gatekeepers.get((label, stage))
        if keeper is not None:
            open_gate = self._approve_in_studio if keeper.in_studio else self._open_gate
            self._later(timedelta(minutes=keeper.after), lambda: open_gate(group, version, stage))

    # ------------------------------------------------------------ what the table holds

    def _remember(self, items: list[Row]) -> None:
        by_kind: dict[str, list[Row]] = {"HEAD": [], "RELEASE": [], "LOG": []}
        for item in items:
            by_kind.setdefault(item["sk"]["S"].partition("#")[0], []).append(item)
        if not by_kind["HEAD"]:
            return
        [head] = (_decoded(item, Head) for item in by_kind["HEAD"])
        found = [_decoded(item, Release) for item in by_kind["RELEASE"]]
        releases = {release.version: release for release in found}
        # The log is only ever added to.
        entries = tuple(
            (f"{item['pk']['S']} {item['sk']['S']}", entry_of(item)) for item in by_kind["LOG"]
        )
        group, actor = head.group, self.wire.actor
        old = {version: self.releases.get((group, version)) for version in releases}
        began = self.clock.now if actor is None else actor.began
        old_head = self.heads.get(group, Head(group))
        change = Change(self.clock.now, began, group, head, old_head, releases, old, entries)
        self.new_changes.append(change)
        for release in releases.values():
            for run in release.runs:
                whose = (group, release.version, run.stage)
                if run.config:
                    self.configs[run.config] = whose
                self.trials.update(dict.fromkeys(run.trials, whose))
                if run.stop is None:
                    self.stopped.pop(whose, None)
                else:
                    self.stopped.setdefault(whose, self.clock.now)
        self.heads[group] = head
        self.releases.update({(group, v): release for v, release in releases.items()})
        self.entries.setdefault(group, []).extend(entries)

    def wish(self, group: str, version: int) -> ReleaseSpec:
        """What people want of a release."""
        row = self.items.get({"pk": {"S": f"GROUP#{group}"}, "sk": {"S": f"SPEC#{version:07d}"}})
        if row is None:
            return ReleaseSpec()
        return msgspec.json.decode(row["body"]["S"], type=ReleaseSpec)

    def training_wanted(self, group: str) -> datetime | None:
        """Since when a training is wanted that the policy in force knows how to start."""
        row = self.items.get({"pk": {"S": f"GROUP#{group}"}, "sk": {"S": "SPEC"}})
        if row is None or self.policy_of(group).training is None:
            return None
        return _decoded(row, GroupSpec).training_wanted

    def approval(self, group: str, version: int) -> str:
        """The package's approval in the registry; empty when it was deleted."""
        if (group, version) in self.deleted:
            return ""
        return self.approvals[group, version][-1][1]


class _Fleets(Faults):
    """The simulator's faults, asked of the story when a fleet is started."""

    def __init__(self, ask: Callable[[str, str], FleetFailure | None]) -> None:
        super().__init__()
        self._ask = ask

    def fleet_failure(self, account: str, endpoint: str, config: str) -> FleetFailure | None:
        return self._ask(account, endpoint)


def _decoded(item: Row, type_: type[T]) -> T:
    return msgspec.json.decode(item["body"]["S"], type=type_)


def _arn(group: str, version: int) -> str:
    return f"arn:aws:sagemaker:{REGION}:{HUB}:model-package/{group}/{version}"
