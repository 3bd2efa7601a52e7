"""Stories: what people do, and what goes wrong. A seed is a story; a failure is a shorter one.

A story is a list of items that stand on their own, so that any of them can be left out: people and
the world act at a time (minutes from the beginning), a fault waits for the n-th event, message,
record or call. An item whose moment never comes does nothing.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from sageops.policy import (
    Alarms,
    AllAtOnce,
    Canary,
    Checks,
    Evidence,
    Linear,
    Policy,
    Progressive,
    RealTime,
    Rolling,
    Rollout,
    Shadow,
    SmokeRequest,
    Stage,
    Target,
    Training,
)

__all__ = [
    "CHANGES",
    "CallFails",
    "ChangesEndpoint",
    "DeploysFunctions",
    "EventGoesWrong",
    "FAULTS",
    "FiresAlarm",
    "FleetFails",
    "GoesDown",
    "Item",
    "Maintains",
    "MessageRepeats",
    "OpensGate",
    "PushesPolicy",
    "RecordRepeats",
    "Registers",
    "RevokesSessions",
    "Says",
    "ShiftsTraffic",
    "SkewsClock",
    "Story",
    "TellingCrashes",
    "WantsTraining",
    "story",
    "without_faults",
]

NAMED_ALARM = "orders-drop"


# ---------------------------------------------------------------- what people do


@dataclass(frozen=True)
class Registers:
    """A version appears in the registry; `label` is what the story calls it."""

    at: float
    group: str
    label: str
    behaviour: str
    approved: bool

    def __str__(self) -> str:
        state = "approved" if self.approved else "pending"
        return f"{_clock(self.at)} {self.label} is registered, {state}; it is {self.behaviour}"


Word = Literal[
    "approves",
    "rejects",
    "sets back to pending",
    "aborts",
    "pauses",
    "resumes",
    "promotes",
    "deletes the package of",
    "overwrites the artefact of",
]


@dataclass(frozen=True)
class Says:
    at: float
    word: Word
    label: str

    def __str__(self) -> str:
        return f"{_clock(self.at)} somebody {self.word} {self.label}"


@dataclass(frozen=True)
class OpensGate:
    """Somebody approves the stage, so many minutes after being told that it waits."""

    label: str
    stage: str
    after: float

    @property
    def in_studio(self) -> bool:
        """On the package itself, one in four: told from `after`, so that seeds keep their draws."""
        return round(self.after * 10) % 4 == 3

    def __str__(self) -> str:
        where = " in Studio" if self.in_studio else ""
        what = f"somebody approves {self.label} for {self.stage}{where}"
        return f"{what} {self.after:g} minutes after asked"


@dataclass(frozen=True)
class PushesPolicy:
    at: float
    policy: Policy

    def __str__(self) -> str:
        return f"{_clock(self.at)} a policy is pushed: {_shown(self.policy)}"


@dataclass(frozen=True)
class WantsTraining:
    """The nightly schedule fires."""

    at: float

    def __str__(self) -> str:
        return f"{_clock(self.at)} the nightly schedule fires"


@dataclass(frozen=True)
class ChangesEndpoint:
    """Somebody changes an endpoint by hand, behind our back."""

    at: float
    group: str
    stage: str
    how: Literal["updates", "deletes"]

    def __str__(self) -> str:
        return f"{_clock(self.at)} somebody {self.how} the endpoint {self.group}-{self.stage}"


@dataclass(frozen=True)
class ShiftsTraffic:
    """Somebody changes the weights of an endpoint by hand, so many minutes after two versions are
    beside each other there."""

    group: str
    stage: str
    after: float

    def __str__(self) -> str:
        where = f"{self.group}-{self.stage}"
        return f"somebody shifts the traffic of {where} {self.after:g} minutes into a comparison"


# ---------------------------------------------------------------- what the world does


@dataclass(frozen=True)
class FiresAlarm:
    """The alarm of the target account that the stage's policy names fires for some minutes."""

    at: float
    group: str
    stage: str
    minutes: float

    def __str__(self) -> str:
        where = f"{self.group}-{self.stage}"
        return (
            f"{_clock(self.at)} alarm {NAMED_ALARM} of {where} fires for {self.minutes:g} minutes"
        )


@dataclass(frozen=True)
class FleetFails:
    """The next fleet that this endpoint starts fails: a `FleetFailure` by name."""

    at: float
    group: str
    stage: str
    failure: str

    def __str__(self) -> str:
        where = f"{self.group}-{self.stage}"
        return f"{_clock(self.at)} the next fleet of {where} fails: {self.failure}"


@dataclass(frozen=True)
class Maintains:
    """SageMaker patches the endpoint: SystemUpdating for some minutes."""

    at: float
    group: str
    stage: str
    minutes: float

    def __str__(self) -> str:
        return f"{_clock(self.at)} SageMaker patches {self.group}-{self.stage} ({self.minutes:g} m)"


@dataclass(frozen=True)
class GoesDown:
    """The hub's Region is down: no function runs, no call gets through."""

    at: float
    minutes: float

    def __str__(self) -> str:
        return f"{_clock(self.at)} the hub's Region is down for {self.minutes:g} minutes"


@dataclass(frozen=True)
class DeploysFunctions:
    at: float

    def __str__(self) -> str:
        return f"{_clock(self.at)} the functions are deployed anew"


@dataclass(frozen=True)
class RevokesSessions:
    """Every session in a target account that was begun before is worth nothing any more."""

    at: float

    def __str__(self) -> str:
        return f"{_clock(self.at)} the sessions of the target roles are revoked"


@dataclass(frozen=True)
class SkewsClock:
    """One of the places where functions run has a clock that is wrong by some seconds."""

    place: int
    seconds: float

    def __str__(self) -> str:
        return f"the clock of place {self.place} is wrong by {self.seconds:+g} s"


# ---------------------------------------------------------------- what goes wrong on the way


@dataclass(frozen=True)
class EventGoesWrong:
    number: int
    how: Literal["dropped", "repeated", "late", "reordered"]
    seconds: float

    def __str__(self) -> str:
        span = "" if self.how == "dropped" else f" ({self.seconds:g} s)"
        return f"event {self.number} is {self.how}{span}"


@dataclass(frozen=True)
class RecordRepeats:
    number: int
    seconds: float

    def __str__(self) -> str:
        return f"stream record {self.number} comes again after {self.seconds:g} s"


@dataclass(frozen=True)
class TellingCrashes:
    """`notify` is gone before it published the n-th record, or after it and before it noted so."""

    number: int
    published: bool

    def __str__(self) -> str:
        moment = "after" if self.published else "before"
        return f"notify crashes {moment} it tells record {self.number}"


@dataclass(frozen=True)
class MessageRepeats:
    """The n-th message is delivered a second time: at once means to a second worker."""

    number: int
    seconds: float

    def __str__(self) -> str:
        return f"message {self.number} is delivered again after {self.seconds:g} s"


How = Literal[
    "crash before",
    "crash after",
    "request lost",
    "answer lost",
    "answer lost and sent again",
    "throttled",
    "server error",
    "unavailable",
    "write conflict",
    "denied",
    "stall",
]


@dataclass(frozen=True)
class CallFails:
    """The n-th call of an operation. `seconds`: how long a denial or a stall lasts."""

    operation: str
    occurrence: int
    how: How
    seconds: float = 0

    def __str__(self) -> str:
        span = f" for {self.seconds:g} s" if self.how in ("denied", "stall") else ""
        return f"{self.operation} number {self.occurrence}: {self.how}{span}"


People = Registers | Says | OpensGate | PushesPolicy | WantsTraining
Fault = (
    ChangesEndpoint
    | ShiftsTraffic
    | FiresAlarm
    | FleetFails
    | Maintains
    | GoesDown
    | DeploysFunctions
    | RevokesSessions
    | SkewsClock
    | EventGoesWrong
    | RecordRepeats
    | TellingCrashes
    | MessageRepeats
    | CallFails
)
Item = People | Fault


@dataclass(frozen=True)
class Story:
    """`calm`: people act only when all that came of their last word is over, so that what they do
    does not depend on how fast the releases go. `silent`: groups whose endpoints nobody asks.
    `sweep_minutes`: the template's rate, or one so slow that the sweep hides less of what the
    loop's own messages forget."""

    seed: int
    policies: tuple[Policy, ...]
    items: tuple[Item, ...]
    calm: bool = False
    silent: tuple[str, ...] = ()
    sweep_minutes: int = 5

    def __str__(self) -> str:
        lines = [f"  policy: {_shown(policy)}" for policy in self.policies]
        lines += [f"  nobody asks the endpoints of {group}" for group in self.silent]
        return "\n".join([*lines, *(f"  {item}" for item in self.items)])


def without_faults(told: Story) -> Story:
    """The same people in a world where nothing goes wrong."""
    return replace(told, items=tuple(item for item in told.items if isinstance(item, People)))


def _clock(minutes: float) -> str:
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}"


def _shown(policy: Policy) -> str:
    stages = ", ".join(
        f"{stage.name} ({'shadow, ' if stage.shadow is not None else ''}"
        f"{type(stage.rollout).__name__}, {stage.gate} gate)"
        for stage in policy.stages
    )
    return f"{policy.group}: {stages}"


# ---------------------------------------------------------------- making one


def story(seed: int) -> Story:
    """The story of a seed."""
    chance = random.Random(seed)
    calm = chance.random() < 0.04
    groups = 1 if calm else chance.choices((1, 2, 3), (92, 6, 2))[0]
    names = ("churn", "fraud", "price")[:groups]
    policies = tuple(_policy(chance, name, calm) for name in names)
    people = [item for policy in policies for item in _people(chance, policy, calm)]
    if any(policy.training for policy in policies):
        people.append(WantsTraining(chance.uniform(0, 45)))
    faults = list(_faults(chance, policies, calm))
    silent = tuple(name for name in names if chance.random() < 0.08)
    sweep_minutes = chance.choice((5, 15, 30))
    return Story(seed, policies, (*people, *faults), calm, silent, sweep_minutes)


_STAGES = {
    "staging": ("222222222222", "eu-west-1"),
    "production": ("333333333333", "eu-west-1"),
    "production-us": ("333333333333", "us-east-1"),
}


def _policy(chance: random.Random, group: str, calm: bool = False) -> Policy:
    wanted = chance.choices(
        (("production",), ("staging", "production"), tuple(_STAGES)), (66, 31, 3)
    )[0]
    stages = tuple(_stage(chance, group, name, calm) for name in wanted)
    # How often it is trained depends on how many nights a story takes.
    trained = chance.random() < 0.15 and not calm
    training = Training(f"{group}-training") if trained else None
    # A story lasts some hours.
    days = 0 if chance.random() < 0.3 else 30
    return Policy(group, stages, training, retire_after_days=days)


def _stage(chance: random.Random, group: str, name: str, calm: bool) -> Stage:
    account, region = _STAGES[name]
    smoke = (SmokeRequest('{"instances": [[1.0]]}', expect="predictions", latency_ms=60_000),)
    alarms = Alarms(
        latency_ms=chance.choice((None, None, 500)),
        names=(f"{NAMED_ALARM}-{group}-{name}",) if chance.random() < 0.15 else (),
    )
    checks = Checks(
        smoke=smoke if chance.random() < 0.7 else (),
        alarms=alarms,
        evidence=_evidence(chance) if chance.random() < 0.1 else None,
        bake_minutes=chance.choice((0, 0, 3, 8)),
    )
    return Stage(
        name,
        Target(account, region, f"{group}-{name}", image=_image(chance)),
        RealTime("ml.m5.large", 10),
        _progressive(chance, calm) if chance.random() < 0.12 else _rollout(chance),
        checks,
        "manual" if name != "staging" and chance.random() < 0.4 else "auto",
        # Half of the requests settle it within ten minutes, one way or the other.
        Shadow(50, 30 if calm else chance.choice((5, 10))) if chance.random() < 0.08 else None,
        chance.choices(("tell", "correct", "adopt"), (50, 30, 20))[0],
        # Hardly ever so short that a release is stuck.
        chance.choice((20, 60)) if chance.random() < 0.1 and not calm else None,
    )


def _image(chance: random.Random) -> Literal["origin", "copy"]:
    return "copy" if chance.random() < 0.1 else "origin"


def _evidence(chance: random.Random) -> Evidence:
    return Evidence(
        warm_up_minutes=chance.choice((0, 3)),
        slow_ms=chance.choice((None, 500)),
        undecided=chance.choice(("hold", "extend", "promote", "rollback")),
    )


def _progressive(chance: random.Random, calm: bool) -> Progressive:
    if calm:
        return Progressive((50, 100), 30)
    steps = chance.choice(((50, 100), (50,), (50,), (1, 50, 100), (20, 60)))
    return Progressive(steps, chance.choice((5, 10)))


def _rollout(chance: random.Random) -> Rollout:
    match chance.randrange(4):
        case 0:
            return AllAtOnce(bake_minutes=chance.choice((0, 3)))
        case 1:
            return Canary(chance.choice((10, 50)), chance.choice((3, 8)), chance.choice((0, 3)))
        case 2:
            return Linear(chance.choice((20, 50)), chance.choice((1, 3)), chance.choice((0, 3)))
        case _:
            return Rolling(chance.choice((20, 50)), chance.choice((1, 3)))


_BEHAVIOURS = ("good", "sick", "rude", "bad", "late:8", "late:20", "weak", "picky", "slow")
_OFTEN = (58, 6, 6, 9, 9, 6, 3, 2, 2)
# Those that do not depend on when they are looked at.
_TIMELESS = 3


def _people(chance: random.Random, policy: Policy, calm: bool) -> list[Item]:
    items: list[Item] = []
    at = 0.0
    # A first version is compared with nothing.
    often = (35, 62, 3) if any(map(_compares, policy.stages)) else (71, 27, 2)
    for number in range(1, chance.choices((1, 2, 3), often)[0] + 1):
        label = f"{policy.group}.{number}"
        at += chance.choice((1.0, 5.0, 15.0, 30.0)) * chance.random()
        approved = chance.random() < 0.5
        known = _TIMELESS if calm else None
        behaviour = chance.choices(_BEHAVIOURS[:known], _OFTEN[:known])[0]
        items.append(Registers(at, policy.group, label, behaviour, approved))
        if not approved and chance.random() < 0.95:
            items.append(Says(at + chance.uniform(0.1, 8), "approves", label))
        items.extend(
            OpensGate(label, stage.name, round(chance.expovariate(1 / 5), 1))
            for stage in policy.stages
            if stage.gate == "manual" and chance.random() < 0.9
        )
        items.extend(_changes_of_mind(chance, label, at, calm))
        if chance.random() < 0.1 and not calm:
            items.append(Says(at + chance.uniform(5, 45), "promotes", label))
    if chance.random() < 0.06 and not calm:
        items.append(PushesPolicy(chance.uniform(1, at + 30), _policy(chance, policy.group)))
    return items


def _compares(stage: Stage) -> bool:
    return stage.shadow is not None or isinstance(stage.rollout, Progressive)


def _changes_of_mind(chance: random.Random, label: str, at: float, calm: bool) -> list[Item]:
    if chance.random() > 0.3:
        return []
    first = at + chance.uniform(0.5, 35)
    second = first + chance.uniform(0.5, 15)
    match chance.randrange(8):
        case 0 | 1:
            return [Says(first, "aborts", label)]
        case 2:
            return [Says(first, "rejects", label)]
        case 3:
            return [Says(first, "rejects", label), Says(second, "approves", label)]
        case 4 | 5:
            return [Says(first, "pauses", label), Says(second, "resumes", label)]
        case 6:
            return [Says(first, "pauses", label), Says(second, "aborts", label)]
        case _:
            return [] if calm else [Says(first, "sets back to pending", label)]


# ---------------------------------------------------------------- faults

# Each operation of the functions, and about how often a story calls it.
OPERATIONS: dict[str, int] = {
    "dynamodb:TransactWriteItems": 60,
    "dynamodb:BatchGetItem": 50,
    "dynamodb:GetItem": 20,
    "dynamodb:Query": 10,
    "sqs:SendMessage": 30,
    "sts:AssumeRole": 3,
    "sagemaker:ListModelPackages": 40,
    "sagemaker:DescribeModelPackage": 2,
    "sagemaker:DescribeEndpoint": 30,
    "sagemaker:CreateModelPackageGroup": 3,
    "sagemaker:CreateModelPackage": 3,
    "sagemaker:CreateModel": 3,
    "sagemaker:CreateEndpointConfig": 3,
    "sagemaker:CreateEndpoint": 2,
    "sagemaker:UpdateEndpoint": 2,
    "sagemaker:UpdateEndpointWeightsAndCapacities": 2,
    "sagemaker:DescribeEndpointConfig": 1,
    "sagemaker:DeleteEndpoint": 1,
    "sagemaker:DeleteEndpointConfig": 2,
    "sagemaker:DeleteModel": 2,
    "cloudwatch:DeleteAlarms": 2,
    "sagemaker:UpdateModelPackage": 5,
    "sagemaker:InvokeEndpoint": 2,
    "sagemaker:StartPipelineExecution": 1,
    "sagemaker:DescribePipelineExecution": 1,
    "s3:HeadObject": 4,
    "s3:GetObject": 1,
    "s3:CopyObject": 3,
    "s3:ListMultipartUploads": 4,
    "s3:ListParts": 3,
    "s3:CreateMultipartUpload": 2,
    "s3:UploadPartCopy": 10,
    "s3:CompleteMultipartUpload": 2,
    "s3:AbortMultipartUpload": 1,
    "ecr:DescribeImages": 3,
    "ecr:BatchGetImage": 1,
    "cloudwatch:PutMetricAlarm": 6,
    "cloudwatch:DescribeAlarms": 20,
    "cloudwatch:PutMetricData": 1,
    "cloudwatch:GetMetricData": 12,
}
_READS = ("Batch", "Get", "Query", "Head", "List", "Describe")
# Those that change something: each is to be cut off before its effect and after it.
CHANGES = tuple(name for name in OPERATIONS if not name.partition(":")[2].startswith(_READS))
_WAY_BACK = ("sagemaker:DeleteEndpoint", "cloudwatch:PutMetricData", "cloudwatch:GetMetricData")
_OF_TRIALS = (
    "sagemaker:UpdateEndpointWeightsAndCapacities",
    "sagemaker:DescribeEndpointConfig",
    "cloudwatch:GetMetricData",
)
_HOWS: tuple[How, ...] = (
    "crash before",
    "crash before",
    "crash after",
    "crash after",
    "request lost",
    "answer lost",
    "answer lost and sent again",
    "throttled",
    "server error",
    "unavailable",
    "denied",
    "stall",
    "stall",
)
_FAILURES = ("CAPACITY", "IMAGE", "HEALTH_CHECK", "SERVICE", "NEVER_ENDS")

Maker = Callable[[random.Random, tuple[Policy, ...]], list[Item]]


def _faults(chance: random.Random, policies: tuple[Policy, ...], calm: bool) -> list[Item]:
    """Alone, together, or none at all."""
    kinds = _CALM if calm else _KINDS
    count = chance.choices((0, 1, 2, 4), (5, 50, 30, 15))[0]
    weights = [weight for _, weight in kinds]
    chosen = chance.choices([make for make, _ in kinds], weights, k=count)
    return [item for make in chosen for item in make(chance, policies)]


def _events(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    how = chance.choice(("dropped", "repeated", "late", "reordered", "all dropped"))
    if how == "all dropped":
        return [EventGoesWrong(number, "dropped", 0) for number in range(1, 60)]
    spans = {"dropped": 0, "repeated": 3600, "late": 4 * 3600, "reordered": 90}
    count = chance.choice((1, 3, 10, 20))
    numbers = sorted(chance.sample(range(1, 41), count))
    return [
        EventGoesWrong(number, how, round(chance.uniform(0, spans[how])))  # type: ignore[arg-type]
        for number in numbers
    ]


def _records(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    count = chance.choice((1, 5))
    return [
        RecordRepeats(number, round(chance.choice((0, 60, 3600)) * chance.random()))
        for number in sorted(chance.sample(range(1, 41), count))
    ]


def _telling(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    return [TellingCrashes(chance.randint(1, 40), chance.random() < 0.5)]


def _messages(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    count = chance.choice((1, 4, 12))
    return [
        MessageRepeats(number, round(chance.choice((0, 0, 30, 1800)) * chance.random()))
        for number in sorted(chance.sample(range(1, 41), count))
    ]


def _two_workers(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    """A message goes to two workers, and either of them stands still where it hurts."""
    items: list[Item] = []
    for _ in range(chance.choice((1, 2, 3))):
        items.append(MessageRepeats(chance.randint(1, 20), chance.choice((0, 1, 5))))
        items.append(_call(chance, ("stall",)))
    return items


def _calls(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    return [_call(chance, _HOWS) for _ in range(chance.choice((1, 1, 2, 4)))]


def _way_back(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    """What is called on the way back only, in a story that has one."""
    label = f"{chance.choice(policies).group}.{chance.randint(1, 2)}"
    word: Word = "aborts" if chance.random() < 0.7 else "rejects"
    fault = _call(chance, _HOWS, chance.choice(_WAY_BACK))
    return [Says(chance.uniform(1, 50), word, label), replace(fault, occurrence=1)]


def _call(chance: random.Random, hows: tuple[How, ...], operation: str = "") -> CallFails:
    if not operation:
        among = CHANGES if chance.random() < 0.4 else OPERATIONS
        operation = chance.choice(tuple(among))
    occurrence = chance.randint(1, OPERATIONS[operation])
    how = chance.choice(hows)
    if operation == "dynamodb:TransactWriteItems" and chance.random() < 0.1:
        how = "write conflict"
    if how == "answer lost and sent again" and _reads(operation):
        how = "throttled"
    span = {
        "denied": chance.choice((60, 1200, 4 * 3600)),
        "stall": chance.choice((1, 20, 100, 150)),
    }
    return CallFails(operation, occurrence, how, span.get(how, 0))


def _reads(operation: str) -> bool:
    return operation.partition(":")[2].startswith(_READS)


def _throttling(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    """The same operation refuses several times in a row."""
    operation = chance.choice(tuple(OPERATIONS))
    how = chance.choice(("throttled", "server error", "request lost"))
    first = chance.randint(1, OPERATIONS[operation])
    count = chance.choice((2, 5, 8))
    return [CallFails(operation, first + n, how) for n in range(count)]  # type: ignore[arg-type]


def _fleets(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    group, stage = _anywhere(chance, policies)
    failure = chance.choice(_FAILURES)
    times = chance.choice((1, 1, 3)) if failure == "SERVICE" else 1
    return [FleetFails(chance.uniform(0, 40), group, stage, failure) for _ in range(times)]


def _maintenance(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    group, stage = _anywhere(chance, policies)
    return [Maintains(chance.uniform(5, 45), group, stage, chance.choice((3, 20)))]


def _by_hand(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    group, stage = _anywhere(chance, policies)
    how: Literal["updates", "deletes"] = "updates" if chance.random() < 0.6 else "deletes"
    return [ChangesEndpoint(chance.uniform(5, 50), group, stage, how)]


def _weights(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    """Where the policy shifts it step by step, if it does anywhere."""
    stages = [
        (policy.group, stage.name)
        for policy in policies
        for stage in policy.stages
        if isinstance(stage.rollout, Progressive)
    ]
    group, stage = chance.choice(stages) if stages else _anywhere(chance, policies)
    return [ShiftsTraffic(group, stage, round(chance.uniform(0, 12), 1))]


def _trials(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    """What is called for a trial only."""
    return [_call(chance, _HOWS, chance.choice(_OF_TRIALS)) for _ in range(2)]


def _alarms(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    group, stage = _anywhere(chance, policies)
    return [FiresAlarm(chance.uniform(5, 50), group, stage, chance.choice((5, 15)))]


def _region(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    return [GoesDown(chance.uniform(0, 50), 60)]


def _deployed(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    return [DeploysFunctions(chance.uniform(1, 40)) for _ in range(chance.choice((1, 3)))]


def _sessions(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    return [RevokesSessions(chance.uniform(1, 40))]


def _skew(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    skew = chance.uniform(1, 14)
    return [SkewsClock(0, round(skew)), SkewsClock(1, -round(skew))]


def _registry(chance: random.Random, policies: tuple[Policy, ...]) -> list[Item]:
    policy = chance.choice(policies)
    label = f"{policy.group}.{chance.randint(1, 2)}"
    word: Word = "deletes the package of"
    if chance.random() < 0.5:
        word = "overwrites the artefact of"
    return [Says(chance.uniform(0.5, 40), word, label)]


def _anywhere(chance: random.Random, policies: tuple[Policy, ...]) -> tuple[str, str]:
    policy = chance.choice(policies)
    return policy.group, chance.choice(policy.stages).name


# What may go wrong, and how often. In a calm story only what must change nothing at all.
_CALM: tuple[tuple[Maker, int], ...] = (
    (_events, 8),
    (_records, 2),
    (_messages, 4),
    (_two_workers, 4),
    (_calls, 12),
    (_deployed, 1),
    (_skew, 2),
)
_KINDS: tuple[tuple[Maker, int], ...] = (
    *_CALM,
    (_way_back, 4),
    (_telling, 2),
    (_throttling, 3),
    (_fleets, 6),
    (_maintenance, 2),
    (_by_hand, 5),
    (_weights, 3),
    (_trials, 3),
    (_alarms, 2),
    (_region, 3),
    (_sessions, 2),
    (_registry, 2),
)

# What a summary counts: every one of them must have been injected.
FAULTS: tuple[str, ...] = (
    *(f"event {how}" for how in ("dropped", "repeated", "late", "reordered")),
    "record repeated",
    "notify crashed",
    "message repeated",
    "two workers at once",
    *dict.fromkeys((*_HOWS, "write conflict")),
    "credentials revoked",
    "clock skewed",
    *(f"fleet: {failure}" for failure in _FAILURES),
    "endpoint patched",
    "named alarm fired",
    "region down",
    "functions deployed",
    "endpoint updated by hand",
    "endpoint deleted by hand",
    "traffic shifted by hand",
    "promoted",
    "package deleted",
    "artefact overwritten",
)
