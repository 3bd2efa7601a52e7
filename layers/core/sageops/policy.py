"""A policy: what a model group's owners want, one YAML file per group.

The types are the schema. `check` finds every problem of a document at once; decoding a stored
policy is msgspec's own, since only checked policies are stored. Limits are SageMaker's, from
the botocore service model and the page 'Deployment guardrails' (UpdateEndpoint.DeploymentConfig).
"""

import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "BATCH_MINUTES",
    "LONGEST_ROLLOUT_MINUTES",
    "Alarms",
    "AllAtOnce",
    "Approvals",
    "Canary",
    "Checks",
    "Evidence",
    "Linear",
    "Objectives",
    "Policy",
    "Problem",
    "Progressive",
    "RealTime",
    "Rolling",
    "Rollout",
    "Shadow",
    "SmokeRequest",
    "Stage",
    "Target",
    "Training",
    "check",
    "is_inf1",
    "whole_steps",
]

# MaximumExecutionTimeoutInSeconds is at most eight hours; half an hour is left for the fleets.
LONGEST_ROLLOUT_MINUTES = 450
# What we leave for each batch of a rolling update beside its wait: its instances come, and as many
# old ones go. How long that takes is promised nowhere [unverified].
BATCH_MINUTES = 6

Minutes = Annotated[int, Meta(ge=0, le=60, description="SageMaker's limit for one wait, an hour")]


Milliseconds = Annotated[int, Meta(ge=1, le=3_600_000, description="p99, milliseconds")]
Percent = Annotated[int, Meta(ge=1, le=100)]
# Of the requests, for the highest share that is acceptable.
ShareOfRequests = Annotated[float, Meta(gt=0, le=100)]


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a stage's endpoint is. The roles there are those that target.yaml makes."""

    account: Annotated[str, Meta(pattern="^[0-9]{12}$", description="an account id, in quotes")]
    region: Annotated[
        str, Meta(pattern="^[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]$", description="a Region")
    ]
    endpoint: Annotated[
        str,
        Meta(
            pattern="^[a-zA-Z0-9](-*[a-zA-Z0-9])*$",
            max_length=44,
            description="SageMaker's limit of 63 less our suffix -v<version>-<8 digits>",
        ),
    ]
    # Whether models are made of a copy in the account's own registry, or of the package's image.
    image: Literal["origin", "copy"] = "origin"


class RealTime(Struct, frozen=True, forbid_unknown_fields=True):
    """Instances that are always on."""

    instance_type: Annotated[str, Meta(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]
    instance_count: Annotated[int, Meta(ge=1, le=1000)] = 1


class AllAtOnce(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="strategy", tag="all_at_once"
):
    """A second fleet takes all the traffic at once; the first stays for `bake_minutes`."""

    bake_minutes: Minutes = 0


class Canary(Struct, frozen=True, forbid_unknown_fields=True, tag_field="strategy", tag="canary"):
    """A share of the second fleet for `canary_minutes`, then the rest, then `bake_minutes`."""

    canary_percent: Annotated[int, Meta(ge=1, le=50, description="SageMaker's limit")] = 10
    canary_minutes: Minutes = 15
    bake_minutes: Minutes = 10


class Linear(Struct, frozen=True, forbid_unknown_fields=True, tag_field="strategy", tag="linear"):
    """Equal steps of `step_percent`, each for `step_minutes`, then `bake_minutes`."""

    step_percent: Annotated[int, Meta(ge=10, le=50, description="SageMaker's limit")] = 20
    step_minutes: Minutes = 10
    bake_minutes: Minutes = 10


class Rolling(Struct, frozen=True, forbid_unknown_fields=True, tag_field="strategy", tag="rolling"):
    """Batches of `batch_percent` of the fleet, each watched for `batch_minutes`.

    Needs no second fleet beside the first: for instance types that are hard to come by.
    """

    batch_percent: Annotated[int, Meta(ge=5, le=50, description="SageMaker's limit")] = 20
    batch_minutes: Minutes = 5


class Progressive(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="strategy", tag="progressive"
):
    """Both versions beside each other on one endpoint, and the new one's share grows by `steps`.

    A step is over as soon as the evidence shows the new version not to be worse, at the latest
    after `step_minutes`, where the checks' `evidence.undecided` says what then. Any step is
    reversed at once.
    """

    steps: Annotated[tuple[Percent, ...], Meta(min_length=1, max_length=20)] = (5, 10, 25, 50, 100)
    step_minutes: Annotated[int, Meta(ge=1, le=24 * 60)] = 30


Rollout = AllAtOnce | Canary | Linear | Rolling | Progressive


class Shadow(Struct, frozen=True, forbid_unknown_fields=True):
    """Before the rollout: `percent` of the requests are mirrored to the new version, whose answers
    nobody gets, until the evidence shows it not to be worse, at the latest for `minutes`."""

    percent: Percent = 50
    minutes: Annotated[int, Meta(ge=1, le=7 * 24 * 60)] = 60


class SmokeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One request with a known answer; `expect` is a regular expression found in the answer."""

    body: Annotated[str, Meta(min_length=1)]
    content_type: str = "application/json"
    expect: str = ""
    latency_ms: Annotated[int, Meta(ge=1, le=60_000)] = 1000


class Alarms(Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as harm, for the rollback alarms that we create on each configuration.

    `names` are metric alarms of the target account that must be quiet too.
    """

    error_percent: Annotated[float, Meta(gt=0, le=100)] = 1.0
    min_requests: Annotated[int, Meta(ge=1, description="requests a minute")] = 20
    latency_ms: Milliseconds | None = None
    names: tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...] = ()


class Objectives(Struct, frozen=True, forbid_unknown_fields=True):
    """The highest acceptable share of bad requests, in percent, whatever the present version does:
    surely above it, the new one is taken back; surely below it, it is fine. `slow` counts the
    answers that took longer than the evidence's `slow_ms`."""

    server_errors: ShareOfRequests | None = None
    client_errors: ShareOfRequests | None = None
    slow: ShareOfRequests | None = None


class Evidence(Struct, frozen=True, forbid_unknown_fields=True):
    """When a rollout is judged against what it replaces, on the same minutes (`evidence.py`).

    `alpha` bounds the chance of ever rolling back a version that is no worse than
    `tolerated_ratio` times the present one. A step of `progressive` or a shadow is over when the
    new version is shown to be less than `promotion_ratio` times worse, or its bad requests to be
    fewer than `negligible_percent`; `undecided` says what is done at the end of its time if
    neither is: `hold` for a person, `extend` once by the same time and then hold, `promote`,
    `rollback`.
    """

    alpha: Annotated[float, Meta(gt=0, le=0.2)] = 0.01
    tolerated_ratio: Annotated[float, Meta(ge=1, lt=10)] = 1.0
    promotion_ratio: Annotated[float, Meta(gt=1, le=100)] = 5.0
    negligible_percent: Annotated[float, Meta(ge=0, le=10)] = 0.5
    warm_up_minutes: Annotated[int, Meta(ge=0, le=30)] = 3
    slow_ms: Annotated[int, Meta(ge=1, le=3_600_000)] | None = None
    objectives: Objectives = Objectives()
    undecided: Literal["hold", "extend", "promote", "rollback"] = "hold"


class Checks(Struct, frozen=True, forbid_unknown_fields=True):
    """What a stage must show before the release goes on."""

    smoke: tuple[SmokeRequest, ...] = ()
    alarms: Alarms = Alarms()
    evidence: Evidence | None = None
    bake_minutes: Annotated[int, Meta(ge=0, le=7 * 24 * 60)] = 0


class Stage(Struct, frozen=True, forbid_unknown_fields=True):
    """One step of the way."""

    name: Annotated[
        str,
        Meta(
            pattern="^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$",
            description="small letters, digits and dashes, at most 30",
        ),
    ]
    target: Target
    serving: RealTime
    rollout: Rollout = AllAtOnce()
    checks: Checks = Checks()
    gate: Literal["auto", "manual"] = "manual"
    # Before the rollout, whichever it is; alone, the rollout is all_at_once.
    shadow: Shadow | None = None
    # What is done when somebody changes the endpoint by hand. People are told in any case.
    drift: Literal["tell", "correct", "adopt"] = "tell"
    # From when on people are told that a release is stuck; without it, when all that the policy
    # wants to wait for has passed, and two hours.
    deadline_minutes: Annotated[int, Meta(ge=10, le=30 * 24 * 60)] | None = None


class Training(Struct, frozen=True, forbid_unknown_fields=True):
    """The group's training pipeline in the hub account, and when it is started."""

    pipeline: Annotated[str, Meta(pattern="^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}$")]
    schedule: Literal["nightly", "never"] = "nightly"


class Approvals(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may say yes. `different_people`: a gate is opened by somebody else than who approved the
    package. `not_the_registrar`: who approved the package, or opens a gate, did not register it.
    The registry tells both (LastModifiedBy, CreatedBy); where it does not, nobody is taken for
    somebody else."""

    different_people: bool = False
    not_the_registrar: bool = False


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is wanted for one model group."""

    group: Annotated[str, Meta(pattern="^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")]
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1, max_length=10)]
    training: Training | None = None
    approval: Approvals = Approvals()
    # Whether each target account has a package of its own, or those there read the hub's.
    registry: Literal["copy", "hub"] = "copy"
    # How long models, configurations and alarms of an ended release are kept; None: for ever.
    retire_after_days: Annotated[int, Meta(ge=0, le=3650)] | None = 30

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)


Path = tuple[str | int, ...]


class Problem(Struct, frozen=True):
    """One thing that is wrong with a document: where, and what would be right."""

    path: Path
    message: str

    @property
    def where(self) -> str:
        """`stages[1].rollout.canary_percent`"""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.removeprefix(".")


def check(document: object) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy in a document, or None and everything that is wrong with it."""
    problems = tuple(_shape(document, Policy, ()))
    if problems:
        return None, problems
    policy = msgspec.convert(document, Policy)
    problems = tuple(_sense(policy))
    return (None if problems else policy), problems


# ---------------------------------------------------------------- shape: types and bounds


def _shape(value: object, type_: Any, path: Path) -> Iterator[Problem]:
    if get_origin(type_) is Annotated:
        base, meta = get_args(type_)
        found = list(_shape(value, base, path))
        yield from found or _bounds(value, meta, path)
        return
    if get_origin(type_) in (Union, UnionType):
        yield from _union(value, get_args(type_), path)
    elif get_origin(type_) is Literal:
        if value not in get_args(type_):
            yield Problem(path, f"{_say(value)} is none of {_listing(get_args(type_))}")
    elif get_origin(type_) is tuple:
        yield from _sequence(value, get_args(type_)[0], path)
    elif isinstance(type_, type) and issubclass(type_, Struct):
        yield from _mapping(value, type_, path)
    elif not _is_a(value, type_):
        yield Problem(path, f"{_say(value)} is not {_KINDS[type_]}")
    elif isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        # YAML and JSON can say it, and no table can keep it.
        yield Problem(path, f"{_say(value)} has half a character in it")


def _mapping(value: object, type_: type[Struct], path: Path) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"{_say(value)} is not a mapping with {_listing(_fields(type_))}")
        return
    fields = _fields(type_)
    tag_field = type_.__struct_config__.tag_field
    for key in value:
        if key not in fields and key != tag_field:
            yield Problem((*path, str(key)), f"unknown; known here: {_listing(fields)}")
    for field in msgspec.structs.fields(type_):
        if field.name in value:
            yield from _shape(value[field.name], fields[field.name], (*path, field.name))
        elif field.required:
            yield Problem((*path, field.name), "missing")


def _union(value: object, members: tuple[Any, ...], path: Path) -> Iterator[Problem]:
    if type(None) in members:
        if value is not None:
            yield from _shape(value, next(m for m in members if m is not type(None)), path)
        return
    by_tag = {member.__struct_config__.tag: member for member in members}
    tag_field = members[0].__struct_config__.tag_field
    if not isinstance(value, Mapping):
        yield Problem(path, f"{_say(value)} is not a mapping with {tag_field!r}")
    elif tag_field not in value:
        yield Problem((*path, tag_field), f"missing; one of {_listing(by_tag)}")
    elif value[tag_field] not in tuple(by_tag):
        said = _say(value[tag_field])
        yield Problem((*path, tag_field), f"{said} is none of {_listing(by_tag)}")
    else:
        yield from _mapping(value, by_tag[value[tag_field]], path)


def _sequence(value: object, member: Any, path: Path) -> Iterator[Problem]:
    if not isinstance(value, list | tuple):
        yield Problem(path, f"{_say(value)} is not a list")
        return
    for index, each in enumerate(value):
        yield from _shape(each, member, (*path, index))


def _bounds(value: Any, meta: Meta, path: Path) -> Iterator[Problem]:
    because = f", {meta.description}" if meta.description else ""
    if meta.ge is not None and value < meta.ge:
        yield Problem(path, f"{value} is below {meta.ge}{because}")
    if meta.gt is not None and value <= meta.gt:
        yield Problem(path, f"{value} is not above {meta.gt}{because}")
    if meta.le is not None and value > meta.le:
        yield Problem(path, f"{value} is above {meta.le}{because}")
    if meta.lt is not None and value >= meta.lt:
        yield Problem(path, f"{value} is not below {meta.lt}{because}")
    if meta.min_length is not None and len(value) < meta.min_length:
        yield Problem(path, f"needs at least {meta.min_length}, has {len(value)}{because}")
    if meta.max_length is not None and len(value) > meta.max_length:
        yield Problem(path, f"has {len(value)}, at most {meta.max_length}{because}")
    if meta.pattern is not None and not re.fullmatch(meta.pattern, value):
        yield Problem(path, f"{_say(value)} does not match {meta.pattern}{because}")


_KINDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text (numbers need quotes)",
    bool: "true or false",
}


def _is_a(value: object, type_: Any) -> bool:
    if isinstance(value, bool):
        return type_ is bool
    if type_ is float:
        # NaN and the infinities are none, though Python calls them so.
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, type_)


def _fields(type_: type[Struct]) -> dict[str, Any]:
    return get_type_hints(type_, include_extras=True)


def _say(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listing(names: Any) -> str:
    return ", ".join(str(name) for name in names)


# ---------------------------------------------------------------- sense: parts against each other


def _sense(policy: Policy) -> Iterator[Problem]:
    yield from _doubles(policy)
    for index, stage in enumerate(policy.stages):
        path: Path = ("stages", index)
        yield from _rollout_sense(stage, path)
        yield from _checks_sense(stage, path)


def _doubles(policy: Policy) -> Iterator[Problem]:
    names: dict[str, int] = {}
    endpoints: dict[tuple[str, str, str], int] = {}
    for index, stage in enumerate(policy.stages):
        first = names.setdefault(stage.name, index)
        if first != index:
            yield Problem(("stages", index, "name"), f"{stage.name!r} is stages[{first}]'s too")
        target = stage.target
        first = endpoints.setdefault((target.account, target.region, target.endpoint), index)
        if first != index:
            where = ("stages", index, "target", "endpoint")
            yield Problem(where, f"{target.endpoint!r} is stages[{first}]'s too")


def _rollout_sense(stage: Stage, path: Path) -> Iterator[Problem]:
    count = stage.serving.instance_count
    match stage.rollout:
        case Canary(canary_percent=percent):
            yield from _expressible(percent, count, (*path, "rollout", "canary_percent"))
        case Linear(step_percent=percent, step_minutes=step, bake_minutes=bake):
            yield from _expressible(percent, count, (*path, "rollout", "step_percent"))
            total = whole_steps(percent, count) * step + bake
            yield from _in_time(total, (*path, "rollout", "step_minutes"))
        case Rolling(batch_percent=percent, batch_minutes=minutes):
            yield from _expressible(percent, count, (*path, "rollout", "batch_percent"))
            total = whole_steps(percent, count) * (minutes + BATCH_MINUTES)
            where = (*path, "rollout", "batch_minutes")
            yield from _in_time(total, where, f"with {BATCH_MINUTES} to replace each batch, ")
        case Progressive(steps=steps):
            if any(after <= before for before, after in pairwise(steps)):
                where = (*path, "rollout", "steps")
                yield Problem(where, f"{_listing(steps)} do not grow from step to step")
        case AllAtOnce():
            pass
    if is_inf1(stage.serving):
        yield from _inf1_sense(stage, path)


def is_inf1(serving: RealTime) -> bool:
    """Whether these are Inf1 instances, which have neither guardrails nor shadow variants (pages
    'Exclusions' of deployment guardrails and of shadow tests)."""
    return serving.instance_type.startswith("ml.inf1.")


def whole_steps(percent: int, count: int) -> int:
    """How many steps of `percent` bring `count` instances over, each step in whole instances.

    A share is rounded down, to one instance at least [unverified]: 10 % of 19 instances is one
    of them, and takes 19 steps, not 10. Up, there would be fewer steps and less waiting.
    """
    return -(-count // max(1, count * percent // 100))


def _inf1_sense(stage: Stage, path: Path) -> Iterator[Problem]:
    """On Inf1 SageMaker drops guardrails without a word, so nothing that needs one is taken."""
    match stage.rollout:
        case AllAtOnce(bake_minutes=bake) if bake:
            where, what = (*path, "rollout", "bake_minutes"), "a bake"
        case Canary() | Linear() | Rolling():
            where, what = (*path, "rollout", "strategy"), "this rollout"
        case _:
            where, what = path, ""
    if what:
        yield Problem(
            where,
            f"instead of {what}, SageMaker silently moves all traffic at once and without a bake "
            "on Inf1 instances; use all_at_once with bake_minutes 0, progressive, or other "
            "instances",
        )
    if stage.shadow is not None:
        yield Problem((*path, "shadow"), "SageMaker has no shadow variants on Inf1 instances")


def _in_time(total: int, path: Path, beside: str = "") -> Iterator[Problem]:
    if total > LONGEST_ROLLOUT_MINUTES:
        yield Problem(
            path,
            f"{beside}the waits sum up to {total} minutes, at most {LONGEST_ROLLOUT_MINUTES}: "
            "SageMaker gives up after 8 hours, fleets included",
        )


def _expressible(percent: int, count: int, path: Path) -> Iterator[Problem]:
    """SageMaker shifts whole instances, so a share must be one that the fleet can express."""
    if percent * count < 100:
        least = -(-100 // count)
        fix = f"use at least {least} %" if least <= 50 else "use all_at_once"
        yield Problem(
            path,
            f"{percent} % of {_instances(count)} is less than one of them; {fix} or "
            f"{-(-100 // percent)} instances",
        )


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"


def _checks_sense(stage: Stage, path: Path) -> Iterator[Problem]:
    for index, request in enumerate(stage.checks.smoke):
        wrong = _wrong_expression(request.expect)
        if wrong:
            where = (*path, "checks", "smoke", index, "expect")
            yield Problem(where, f"{request.expect!r} is not a regular expression: {wrong}")
    evidence = stage.checks.evidence
    if evidence is not None and evidence.objectives.slow is not None and evidence.slow_ms is None:
        where = (*path, "checks", "evidence", "objectives", "slow")
        yield Problem(where, "needs slow_ms beside objectives: from when on an answer is slow")
    if evidence is not None and evidence.promotion_ratio <= evidence.tolerated_ratio:
        yield Problem(
            (*path, "checks", "evidence", "promotion_ratio"),
            f"{evidence.promotion_ratio:g} is not above the tolerated_ratio "
            f"{evidence.tolerated_ratio:g}",
        )
    own = 3 if stage.checks.alarms.latency_ms is not None else 2
    if len(stage.checks.alarms.names) + own > 10:
        yield Problem(
            (*path, "checks", "alarms", "names"),
            f"has {len(stage.checks.alarms.names)}, at most {10 - own}: SageMaker's limit is 10 "
            f"rollback alarms and {own} are ours",
        )


def _wrong_expression(expression: str) -> str:
    """Empty, or why it is no regular expression, or would be another in a later Python: with `[[`
    for instance, in which the JSON of an answer begins."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            re.compile(expression)
    except FutureWarning as warning:
        return f"{warning}; a bracket of the answer is \\["
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return ""
