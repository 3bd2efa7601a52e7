"""Hypothesis strategies: valid policies, and documents that may be anything."""

from typing import Any, Literal

from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace
from sageops.policy import (
    Alarms,
    AllAtOnce,
    Canary,
    Checks,
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
    check,
    whole_steps,
)

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
minutes = st.integers(0, 60)
names = st.builds(
    lambda first, rest: first + "".join(rest),
    st.sampled_from(LETTERS),
    st.lists(
        st.builds("{}{}".format, st.sampled_from(["", "-"]), st.sampled_from(LETTERS)), max_size=21
    ),
)
accounts = st.integers(0, 10**12 - 1).map("{:012d}".format)
targets = st.builds(
    Target, account=accounts, region=st.sampled_from(["eu-west-1", "us-gov-west-1"]), endpoint=names
)
rollouts: st.SearchStrategy[Rollout] = st.one_of(
    st.builds(AllAtOnce, minutes),
    st.builds(Canary, st.integers(1, 50), minutes, minutes),
    st.builds(Linear, st.integers(10, 50), minutes, minutes),
    st.builds(Rolling, st.integers(5, 50), minutes),
    st.builds(
        Progressive,
        st.lists(st.integers(1, 100), min_size=1, max_size=20).map(tuple)
        | st.sets(st.integers(1, 100), min_size=1, max_size=20).map(sorted).map(tuple),
        st.integers(1, 24 * 60),
    ),
)
alarms = st.builds(
    Alarms,
    error_percent=st.floats(0.01, 100),
    min_requests=st.integers(1, 1000),
    latency_ms=st.none() | st.integers(1, 60_000),
    names=st.lists(st.text(LETTERS, min_size=1), max_size=9).map(tuple),
)
checks = st.builds(
    Checks,
    smoke=st.lists(
        st.builds(SmokeRequest, st.text(min_size=1), expect=st.sampled_from(["", "ok", "["])),
        max_size=2,
    ).map(tuple),
    alarms=alarms,
    bake_minutes=st.integers(0, 7 * 24 * 60),
)
servings = st.builds(
    RealTime,
    st.sampled_from(["ml.m5.large", "ml.m5.xlarge", "ml.c7g.2xlarge", "ml.inf1.xlarge"]),
    st.integers(1, 20) | st.integers(1, 1000),
)
shadows = st.none() | st.builds(Shadow, st.integers(1, 100), st.integers(1, 7 * 24 * 60))
stages = st.builds(
    Stage,
    st.sampled_from(["staging", "production", "prod-us"]),
    targets,
    servings,
    rollouts,
    checks,
    st.sampled_from(["auto", "manual"]),
    shadows,
)
# Every shape is right; whether the parts make sense together is left to `check`.
well_formed = st.builds(
    Policy,
    names,
    st.lists(stages, min_size=1, max_size=3).map(tuple),
    st.none() | st.builds(Training, names, st.sampled_from(["nightly", "never"])),
)


Strategy = Literal["all_at_once", "canary", "linear", "rolling", "progressive"]
STRATEGIES: tuple[Strategy, ...] = ("all_at_once", "canary", "linear", "rolling", "progressive")


@st.composite
def valid_stages(draw: st.DrawFn, strategy: Strategy) -> Stage:
    """A stage whose parts go together: shares that its fleet can express, waits that fit."""
    stage = draw(stages)
    serving = stage.serving
    if strategy not in {"all_at_once", "progressive"}:
        serving = RealTime("ml.m5.large", max(2, serving.instance_count))
    inf1 = serving.instance_type.startswith("ml.inf1.")
    count = serving.instance_count
    least = -(-100 // count)
    grow = st.sets(st.integers(1, 100), min_size=1, max_size=20).map(sorted).map(tuple)
    rollout: st.SearchStrategy[Rollout]
    match strategy:
        case "all_at_once":
            rollout = st.builds(AllAtOnce, st.just(0) if inf1 else minutes)
        case "canary":
            rollout = st.builds(Canary, st.integers(least, 50), minutes, minutes)
        case "linear":
            percent = st.integers(max(least, 10), 50)
            rollout = st.builds(_linear, st.just(count), percent, minutes, minutes)
        case "rolling":
            rollout = st.builds(_rolling, st.just(count), st.integers(max(least, 5), 50), minutes)
        case "progressive":
            rollout = st.builds(Progressive, grow, st.integers(1, 24 * 60))
    answers = tuple(request for request in stage.checks.smoke if request.expect != "[")
    ours = 3 if stage.checks.alarms.latency_ms is not None else 2
    watched = replace(stage.checks.alarms, names=stage.checks.alarms.names[: 10 - ours])
    return replace(
        stage,
        serving=serving,
        rollout=draw(rollout),
        checks=replace(stage.checks, smoke=answers, alarms=watched),
        shadow=None if inf1 else stage.shadow,
    )


def _linear(count: int, percent: int, step: int, bake: int) -> Linear:
    return Linear(percent, min(step, (450 - bake) // whole_steps(percent, count)), bake)


def _rolling(count: int, percent: int, wait: int) -> Rolling:
    return Rolling(percent, min(wait, 450 // whole_steps(percent, count) - 6))


valid = st.builds(
    Policy,
    names,
    st.lists(
        st.sampled_from(STRATEGIES).flatmap(valid_stages),
        min_size=1,
        max_size=3,
        unique_by=(lambda stage: stage.name, lambda stage: stage.target),
    ).map(tuple),
    st.none() | st.builds(Training, names, st.sampled_from(["nightly", "never"])),
).filter(lambda policy: check(to_builtins(policy))[0] is not None)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
json_like = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A valid document with one value replaced by anything, or one key too few or too many."""
    document: Any = to_builtins(draw(well_formed))
    holder: Any = document
    key: Any = "group"
    at = document
    while isinstance(at, dict | list) and at:
        holder, key = at, draw(st.sampled_from(_keys(at)))
        at = holder[key]
        if draw(st.integers(0, 3)) == 0:
            break
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "remove":
            del holder[key]
        case "add" if isinstance(holder, dict):
            holder[draw(st.text())] = draw(json_like)
        case _:
            holder[key] = draw(json_like)
    return document


def _keys(at: Any) -> list[Any]:
    return sorted(at) if isinstance(at, dict) else list(range(len(at)))
