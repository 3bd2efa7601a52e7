"""What things are. Frozen values and closed unions; no I/O, no clock.

Four kinds of values, in the order in which a look at a group meets them: *spec* (what people
want), *status* (what the reconciler has recorded), *sightings* (what the world shows), and
*steps* (what to do next, and what came of it).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from sageops.evidence import Counts, Minute
from sageops.policy import Policy, RealTime, SmokeRequest, Target

__all__ = [
    "Act",
    "Action",
    "AlarmSeen",
    "AlarmSpec",
    "Approval",
    "Arm",
    "Artifact",
    "BlueGreen",
    "Condition",
    "ConditionType",
    "CopyArtifact",
    "Copied",
    "CountHarm",
    "CreateConfig",
    "CreateEndpoint",
    "CreateModel",
    "CreateTrial",
    "DeleteEndpoint",
    "Done",
    "Drift",
    "EndpointSeen",
    "Entry",
    "Errand",
    "GroupSpec",
    "Guardrail",
    "Harmed",
    "Head",
    "Idle",
    "Intent",
    "LabelPackage",
    "LifeCycle",
    "Live",
    "Metric",
    "Outcome",
    "PackageDetail",
    "PackageSeen",
    "Phase",
    "PinArtifact",
    "Pinned",
    "PullImage",
    "Pulled",
    "PutAlarms",
    "Record",
    "Records",
    "RegisterPackage",
    "Registered",
    "Release",
    "ReleaseSpec",
    "Retire",
    "RollingUpdate",
    "Routing",
    "Severity",
    "ShiftTraffic",
    "SignalStop",
    "Smoke",
    "Smoked",
    "StageRun",
    "StageStep",
    "StartPipeline",
    "Started",
    "Step",
    "Stop",
    "Training",
    "TrainingSeen",
    "Trouble",
    "Underway",
    "UpdateEndpoint",
    "VariantSeen",
    "View",
    "Wait",
    "Word",
]


# ---------------------------------------------------------------- spec: what people want


class Word(Struct, frozen=True):
    """Something a person said: who, when, and why where they gave a reason."""

    by: str
    at: datetime
    why: str = ""


class GroupSpec(Struct, frozen=True):
    """What is wanted of a whole group. Written by the command and the nightly schedule only."""

    policy_version: int
    # Versions that were there before SageOps was told of the group: history, not a wish to
    # release. One that was pending then and is approved later is a wish.
    known_before: frozenset[int] = frozenset()
    approved_before: frozenset[int] = frozenset()
    training_wanted: datetime | None = None


class ReleaseSpec(Struct, frozen=True):
    """What people want of one release; approvals of gates, and wishes to go on at once, by stage
    name."""

    approvals: dict[str, Word] = {}
    paused: Word | None = None
    resumed: Word | None = None
    aborted: Word | None = None
    promoted: dict[str, Word] = {}


# ---------------------------------------------------------------- status: what is recorded

Phase = Literal[
    "AwaitingApproval",
    "Progressing",
    "Paused",
    "Live",
    "RolledBack",
    "Failed",
    "Rejected",
    "Superseded",
    "Aborted",
]

ConditionType = Literal[
    "Approved", "Blocked", "Paused", "Live", "Ended", "Stuck", "Drifted", "Underpowered"
]


class Condition(Struct, frozen=True):
    """One aspect of a release's status. `last_transition_at` moves only when `status` does."""

    type: ConditionType
    status: bool
    reason: str
    message: str
    last_transition_at: datetime


class Artifact(Struct, frozen=True):
    """The bytes of a package, pinned as soon as it was approved.

    `sha256` is hexadecimal; with `-<parts>` behind it, that of the SHA-256s of the parts, as S3
    writes it.
    """

    url: str
    etag: str
    size: int
    sha256: str


class Metric(Struct, frozen=True):
    """One figure of a package's evaluation."""

    name: str
    value: float


class LifeCycle(Struct, frozen=True):
    """What a package shows of its way (ModelLifeCycle): a stage, its status and a description."""

    stage: str
    status: str
    description: str = ""


class PackageDetail(Struct, frozen=True):
    """A model package as the registry describes it.

    `image` carries its digest where the registry knows it, and always once the release is pinned.
    `modified_by` is who last changed
    the package: for a package just approved, its approver (`LastModifiedBy` of
    DescribeModelPackage). `containers`: how many its inference takes. `marketplace`: it is a
    product of AWS Marketplace.
    """

    image: str
    model_data_url: str
    environment: dict[str, str] = {}
    metrics: tuple[Metric, ...] = ()
    modified_by: str = "unknown"
    containers: int = 1
    marketplace: bool = False
    # Who made the package (CreatedBy).
    registered_by: str = "unknown"
    modified_at: datetime | None = None
    life_cycle: LifeCycle | None = None


StageStep = Literal[
    "waiting",
    "gate",
    "copying",
    "pulling",
    "registering",
    "modelling",
    "configuring",
    "alarming",
    "mirroring",
    "shifting",
    "deploying",
    "checking",
    "baking",
    "live",
    "stopping",
    "counting",
    "stopped",
]


class Stop(Struct, frozen=True):
    """Why a release goes no further, and the phase that it will end in."""

    phase: Literal["RolledBack", "Failed", "Rejected", "Aborted"]
    reason: str
    message: str
    by: str = "sageops"
    # From when on the harm is counted.
    harm_since: datetime | None = None
    # The figures behind it, for messages and reports.
    facts: dict[str, str] = {}


class StageRun(Struct, frozen=True):
    """How far one release has come in one stage.

    `asked_at` is when the first update of the endpoint was claimed. `asked_for` is the
    configuration of the latest one, `asked_seen` the endpoint's own LastModifiedTime when that was
    claimed (None: there was no endpoint). If the endpoint has been modified since and does not
    serve what was asked for, the update was tried and did not last: no clock of ours takes part in
    that conclusion. `replaced` is the configuration that the endpoint served before, which a
    rollback goes back to.

    `trials` are the configurations, of this run, that hold both versions, the latest last;
    `alarmed` the one of them whose alarms are there; `share` the percentage of the requests last
    asked for the new version in it; `smoked`: it has passed its smoke test there. `compared_since`
    is when both versions began to serve beside each other. `begun_at`: when it left its gate.
    `unwatched_minutes`: of the rollout, which the bake is to make up for. `said`: the latest word
    by which somebody approved this stage in the registry. `decision_asked_at`: when a person was
    last asked to decide, because the evidence does not. `retired`: what the release had left there
    has been removed.
    """

    stage: str
    step: StageStep = "waiting"
    since: datetime | None = None
    approved_by: str = ""
    config: str = ""
    replaced: str = ""
    asked_at: datetime | None = None
    asked_seen: datetime | None = None
    back_asked_seen: datetime | None = None
    stop: Stop | None = None
    asked_for: str = ""
    trials: tuple[str, ...] = ()
    alarmed: str = ""
    share: int = 0
    smoked: bool = False
    compared_since: datetime | None = None
    decision_asked_at: datetime | None = None
    begun_at: datetime | None = None
    unwatched_minutes: int = 0
    said: Word | None = None
    retired: bool = False


class Release(Struct, frozen=True):
    """One package on its way through the stages of the policy version it was admitted with."""

    group: str
    version: int
    package_arn: str
    policy_version: int
    admitted_at: datetime
    detail: PackageDetail
    runs: tuple[StageRun, ...]
    approved_at: datetime | None = None
    artifact: Artifact | None = None
    conditions: tuple[Condition, ...] = ()
    # Failed tries of the present step, when the last one was, and when the next one is due.
    troubles: int = 0
    held_at: datetime | None = None
    held_until: datetime | None = None
    # What its package shows in the registry, as far as it was written or heard: `stage status`.
    label: str = ""

    @property
    def name(self) -> str:
        """`group/version`, as people write it."""
        return f"{self.group}/{self.version}"

    def run(self, stage: str) -> StageRun:
        return next(run for run in self.runs if run.stage == stage)

    def with_run(self, run: StageRun) -> "Release":
        """The same release with that stage's run in place of the one it had."""
        runs = tuple(run if each.stage == run.stage else each for each in self.runs)
        return replace(self, runs=runs)


class Drift(Struct, frozen=True):
    """What somebody put in the place of what went live; `config` is empty where the endpoint is
    gone. `asked` to be brought back, when the endpoint's LastModifiedTime was `asked_seen`."""

    config: str
    asked: bool = False
    asked_seen: datetime | None = None
    gave_up: bool = False


class Live(Struct, frozen=True):
    """What a stage serves after it has baked, and what it served before.

    `restored`: it came back by a rollback, so nothing known to be better is left to go back to.
    """

    version: int
    config: str
    since: datetime
    replaced: "Live | None" = None
    restored: bool = False
    # The alarm that people were already told of without anything to go back to.
    warned_of: datetime | None = None
    # What people were told is served in its place.
    drift: Drift | None = None


class Training(Struct, frozen=True):
    """The latest training run that was started for the group."""

    wanted: datetime
    execution_arn: str = ""
    ended: str = ""


class Intent(Struct, frozen=True):
    """A step that a worker has claimed and not yet recorded."""

    action: str
    release: str
    at: datetime


class Head(Struct, frozen=True):
    """A group's status in one item; every step rewrites it under a condition on `revision`.

    `open`: versions that have neither ended nor become fully live. `ended`: versions that have,
    with the phase they ended in. `live`: by stage. `wake_at`: when a delayed message is due.
    `watched_until`: what went live is looked at by the sweep until then, should its alarm's event
    be lost. `kept`: ended versions that may have left something in their stages, and from when on
    it may be removed.
    """

    group: str
    revision: int = 0
    open: tuple[int, ...] = ()
    live: dict[str, Live] = {}
    ended: dict[int, Phase] = {}
    training: Training | None = None
    intent: Intent | None = None
    wake_at: datetime | None = None
    watched_until: datetime | None = None
    kept: dict[int, datetime] = {}

    @property
    def served(self) -> tuple[Live, ...]:
        """What is live in each stage, and what a rollback of it goes back to."""
        return tuple(
            each
            for live in self.live.values()
            for each in (live, live.replaced)
            if each is not None
        )


Severity = Literal["record", "info", "action", "alert"]


class Entry(Struct, frozen=True):
    """One line of the log: what happened, why, on whose word, under which policy version.

    `severity`: `record` is kept and not told; the others are told to people, once. `facts` are
    the figures behind the reason, for messages and reports.
    """

    at: datetime
    group: str
    what: str
    why: str
    version: int | None = None
    stage: str | None = None
    by: str = "sageops"
    policy_version: int | None = None
    severity: Severity = "record"
    facts: dict[str, str] = {}


class Records(Struct, frozen=True):
    """Everything stored that one look at a group needs.

    `releases` holds the open ones and those that are live somewhere; `policies` the current
    policy and each one that a release here is pinned to.
    """

    head: Head
    spec: GroupSpec
    releases: Mapping[int, Release]
    wishes: Mapping[int, ReleaseSpec]
    policies: Mapping[int, Policy]


# ---------------------------------------------------------------- sightings: what the world shows

Approval = Literal["Approved", "Rejected", "PendingManualApproval"]


class PackageSeen(Struct, frozen=True):
    """One version as ListModelPackages shows it."""

    version: int
    arn: str
    approval: Approval
    life_cycle: LifeCycle | None = None


Guardrail = Literal["", "all_at_once", "canary", "linear", "rolling"]


class VariantSeen(Struct, frozen=True):
    """A variant that an endpoint serves; `weight` is the one last asked for, `instances` None
    where it is serverless."""

    name: str
    weight: float
    instances: int | None


class EndpointSeen(Struct, frozen=True):
    """An endpoint as DescribeEndpoint shows it.

    `pending` is the configuration of the update under way, empty when there is none; `guardrail`
    the strategy that the last update was carried out with (LastDeploymentConfig), empty when it
    was an update without one.
    """

    status: str
    config: str
    modified_at: datetime
    pending: str = ""
    failure_reason: str = ""
    variants: tuple[VariantSeen, ...] = ()
    shadows: tuple[str, ...] = ()
    asynchronous: bool = False
    guardrail: Guardrail = ""


class AlarmSeen(Struct, frozen=True):
    name: str
    firing: bool
    since: datetime
    reason: str = ""


class Trouble(Struct, frozen=True):
    """Why a call did not do what it should, in words for people.

    `transient` will pass (throttling, a service failure, a timeout, a busy endpoint); `denied`
    and `missing` pass when somebody mends something; `refused` never passes.
    """

    kind: Literal["transient", "denied", "missing", "refused"]
    account: str
    call: str
    said: str
    fix: str

    @property
    def message(self) -> str:
        return f"{self.call} in account {self.account}: {self.said} {self.fix}".strip()


class TrainingSeen(Struct, frozen=True):
    status: str
    failure_reason: str = ""


class View(Struct, frozen=True):
    """One look at a group: what is stored, what the world shows, and when it was looked at.

    `endpoints` has an entry for every stage that was looked at (None: no such endpoint, a
    Trouble: it could not be looked at);
    `alarms` are those that watch the stage's configuration of interest; `minutes` the closed
    minutes of a rollout under way, by stage and metric, where the policy wants evidence; `traffic`
    those of the last day, of what a stage served before a release comes to it.
    """

    now: datetime
    records: Records
    packages: Mapping[int, PackageSeen] = {}
    details: Mapping[int, PackageDetail] = {}
    endpoints: Mapping[str, EndpointSeen | Trouble | None] = {}
    alarms: Mapping[str, tuple[AlarmSeen, ...]] = {}
    minutes: Mapping[str, Mapping[str, tuple[Minute, ...]]] = {}
    training: TrainingSeen | None = None
    traffic: Mapping[str, tuple[Counts, ...]] = {}


# ---------------------------------------------------------------- steps: what to do next


class Errand(Struct, frozen=True):
    """Where a call goes and for whose sake: the target, the release, who approved the stage (its
    gate, or the package where the gate is automatic), and the stage's name."""

    target: Target
    release: str
    approved_by: str = ""
    stage: str = ""


class Arm(Struct, frozen=True):
    """Some of an endpoint's instances, as CloudWatch tells them apart: one variant of one
    configuration."""

    config: str
    variant: str


class Routing(Struct, frozen=True):
    """How a blue/green update moves the traffic; sizes are percentages of the capacity."""

    type: Literal["ALL_AT_ONCE", "CANARY", "LINEAR"]
    percent: int = 100
    wait_seconds: int = 0


class BlueGreen(Struct, frozen=True, tag=True):
    """A deployment guardrail: the values of `UpdateEndpoint.DeploymentConfig`."""

    routing: Routing
    termination_wait_seconds: int
    timeout_seconds: int
    alarms: tuple[str, ...]


class RollingUpdate(Struct, frozen=True, tag=True):
    """A deployment guardrail that replaces the fleet in batches (`RollingUpdatePolicy`)."""

    batch_percent: int
    wait_seconds: int
    timeout_seconds: int
    alarms: tuple[str, ...]


class AlarmSpec(Struct, frozen=True):
    """An alarm that we create on one configuration of an endpoint.

    `errors`: share of requests answered 5xx, in percent, once there are `min_requests` a
    period. `latency`: p99 of ModelLatency in milliseconds. `stop`: our own word to SageMaker
    that the rollout must go back (an update under way takes no other). `variant`: of that
    configuration.
    """

    kind: Literal["errors", "latency", "stop"]
    name: str
    endpoint: str
    config: str
    threshold: float = 1
    min_requests: int = 1
    variant: Literal["main", "next", "shadow"] = "main"


class PinArtifact(Struct, frozen=True, tag=True):
    """Find out which bytes an artefact and an image are."""

    url: str
    image: str


class CopyArtifact(Struct, frozen=True, tag=True):
    errand: Errand
    artifact: Artifact
    destination: str


class PullImage(Struct, frozen=True, tag=True):
    """Have ECR copy an image of the hub's registry into the target's. Both addresses end in the
    same digest."""

    errand: Errand
    image: str
    destination: str


class RegisterPackage(Struct, frozen=True, tag=True):
    """Enter what a stage serves into the registry of its own account, in the group of that name.

    `origin` is the hub's package (ARN), `sha256` that of the artefact.
    """

    errand: Errand
    group: str
    origin: str
    image: str
    artifact_url: str
    sha256: str
    environment: dict[str, str]


class CreateModel(Struct, frozen=True, tag=True):
    errand: Errand
    name: str
    image: str
    artifact_url: str
    environment: dict[str, str]


class CreateConfig(Struct, frozen=True, tag=True):
    errand: Errand
    name: str
    model: str
    serving: RealTime


class CreateTrial(Struct, frozen=True, tag=True):
    """A configuration of both versions: the variant of the configuration `present` as it is, and
    beside it one of `model`.

    `beside` is that one's name: a production variant without traffic, or a shadow to which
    `mirrored_percent` of the requests are mirrored.
    """

    errand: Errand
    name: str
    present: str
    beside: Literal["next", "shadow"]
    model: str
    serving: RealTime
    mirrored_percent: int = 0


class PutAlarms(Struct, frozen=True, tag=True):
    errand: Errand
    alarms: tuple[AlarmSpec, ...]


class CreateEndpoint(Struct, frozen=True, tag=True):
    errand: Errand
    config: str


class UpdateEndpoint(Struct, frozen=True, tag=True):
    """`deployment` is None where guardrails are refused: when the names of the variants change.

    `as_many`: the variants that stay keep the instances that they have by now.
    """

    errand: Errand
    config: str
    deployment: BlueGreen | RollingUpdate | None
    as_many: bool = False


class ShiftTraffic(Struct, frozen=True, tag=True):
    """Give the new version this share of the requests, and the present one the rest."""

    errand: Errand
    percent: int


class DeleteEndpoint(Struct, frozen=True, tag=True):
    errand: Errand


class Retire(Struct, frozen=True, tag=True):
    """Remove a model, configurations, and the alarms on these, unless the endpoint is on one."""

    errand: Errand
    model: str
    configs: tuple[str, ...]


class Smoke(Struct, frozen=True, tag=True):
    """`variant`: the one that is to answer, whatever its share of the traffic."""

    errand: Errand
    requests: tuple[SmokeRequest, ...]
    variant: str = ""


class SignalStop(Struct, frozen=True, tag=True):
    errand: Errand
    config: str


class CountHarm(Struct, frozen=True, tag=True):
    """Count the requests that these answered to users, and how many of them with an error."""

    errand: Errand
    arms: tuple[Arm, ...]
    since: datetime


class StartPipeline(Struct, frozen=True, tag=True):
    """`token` makes the start idempotent (ClientRequestToken)."""

    pipeline: str
    token: str


class LabelPackage(Struct, frozen=True, tag=True):
    """Show a release's stage on its package in the registry (ModelLifeCycle).

    `over` is the package as it was seen: what somebody has said there since is heard first. None:
    whatever was said, it is too late for it.
    """

    package_arn: str
    shown: LifeCycle
    over: PackageSeen | None = None


Action = (
    PinArtifact
    | CopyArtifact
    | PullImage
    | RegisterPackage
    | CreateModel
    | CreateConfig
    | CreateTrial
    | PutAlarms
    | CreateEndpoint
    | UpdateEndpoint
    | ShiftTraffic
    | DeleteEndpoint
    | Retire
    | Smoke
    | SignalStop
    | CountHarm
    | StartPipeline
    | LabelPackage
)


class Done(Struct, frozen=True, tag=True):
    """The effect is there: made now, or found made."""


class Pinned(Struct, frozen=True, tag=True):
    """`image` by its digest."""

    artifact: Artifact
    image: str


class Copied(Struct, frozen=True, tag=True):
    """`sha256` of the copy, as the target's bucket states it."""

    sha256: str


class Underway(Struct, frozen=True, tag=True):
    """`done` parts of `of` are there: the same action goes on with the rest."""

    done: int
    of: int


class Pulled(Struct, frozen=True, tag=True):
    """`there`: the target's registry has the image; without it ECR was asked, and is at it."""

    there: bool


class Registered(Struct, frozen=True, tag=True):
    package_arn: str


class Smoked(Struct, frozen=True, tag=True):
    """`problem` is empty when every answer was as the policy wants it; milliseconds of the
    slowest."""

    problem: str
    slowest_ms: float


class Harmed(Struct, frozen=True, tag=True):
    requests: int
    errors: int


class Started(Struct, frozen=True, tag=True):
    execution_arn: str


Outcome = Done | Pinned | Copied | Underway | Pulled | Registered | Smoked | Harmed | Started


class Record(Struct, frozen=True):
    """Status changes and nothing else does."""

    head: Head
    releases: tuple[Release, ...] = ()
    log: tuple[Entry, ...] = ()


class Act(Struct, frozen=True):
    """One side effect. `claim` is recorded before it, under `head.revision`.

    What follows is `settle.after(view, act, outcome)`, or `settle.troubled`.
    """

    action: Action
    claim: Record
    version: int | None = None
    stage: str | None = None


class Wait(Struct, frozen=True):
    """Nothing to do before `until`; waking up early, late or twice is harmless."""

    until: datetime
    why: str


class Idle(Struct, frozen=True):
    """Nothing to do until something changes outside."""

    why: str


Step = Record | Act | Wait | Idle
