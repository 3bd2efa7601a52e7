"""Hypothesis strategies: valid policies, and documents that may be anything."""

from typing import Any

from hypothesis import strategies as st
from msgspec import to_builtins
from sageops.policy import (
    Alarms,
    AllAtOnce,
    Canary,
    Checks,
    Linear,
    Policy,
    RealTime,
    Rolling,
    Rollout,
    SmokeRequest,
    Stage,
    Target,
    Training,
    check,
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
    RealTime, st.sampled_from(["ml.m5.large", "ml.c7g.2xlarge"]), st.integers(1, 1000)
)
stages = st.builds(
    Stage,
    st.sampled_from(["staging", "production", "prod-us"]),
    targets,
    servings,
    rollouts,
    checks,
    st.sampled_from(["auto", "manual"]),
)
# Every shape is right; whether the parts make sense together is left to `check`.
well_formed = st.builds(
    Policy,
    names,
    st.lists(stages, min_size=1, max_size=3).map(tuple),
    st.none() | st.builds(Training, names, st.sampled_from(["nightly", "never"])),
)
valid = well_formed.filter(lambda policy: check(to_builtins(policy))[0] is not None)

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
