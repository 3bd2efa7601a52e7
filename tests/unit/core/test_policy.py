"""Policies: every problem of a document, at once, each with its path and what would be right."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from sageops.policy import (
    AllAtOnce,
    Canary,
    Linear,
    Policy,
    Problem,
    Progressive,
    RealTime,
    Rolling,
    Stage,
    check,
    whole_steps,
)

from tests.unit.core.documents import damaged, json_like, well_formed


def document(**changes: Any) -> dict[str, Any]:
    """A sound policy with some values of its one stage changed; keys as `rollout__strategy`."""
    stage: dict[str, Any] = {
        "name": "production",
        "target": {"account": "333333333333", "region": "eu-west-1", "endpoint": "churn"},
        "serving": {"instance_type": "ml.m5.large", "instance_count": 10},
        "rollout": {"strategy": "canary"},
        "checks": {"smoke": [{"body": "{}"}], "alarms": {}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = stage
        for parent in parents:
            at = at[parent]
        at[last] = value
    return {"group": "churn", "stages": [stage]}


def problems(given_: object) -> list[str]:
    _, found = check(given_)
    return [f"{each.where}: {each.message}" for each in found]


def test_a_sound_document_is_a_policy_with_defaults() -> None:
    policy, found = check(document())

    assert found == ()
    assert policy is not None
    assert policy.stages[0].rollout == Canary(10, 15, 10)
    assert policy.stages[0].gate == "manual"
    assert policy.stage("production") == policy.stages[0]


def test_every_problem_is_found_at_once() -> None:
    bad = document(rollout__canary_percent=70, target__account=333, gate="sometimes", colour="red")
    bad["stages"][0]["serving"].pop("instance_type")

    assert problems(bad) == [
        "stages[0].colour: unknown; known here: name, target, serving, rollout, checks, gate, "
        "shadow, drift, deadline_minutes",
        "stages[0].target.account: 333 is not text (numbers need quotes)",
        "stages[0].serving.instance_type: missing",
        "stages[0].rollout.canary_percent: 70 is above 50, SageMaker's limit",
        "stages[0].gate: 'sometimes' is none of auto, manual",
    ]


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        (
            None,
            ": nothing is not a mapping with group, stages, training, approval, registry, "
            "retire_after_days",
        ),
        (
            [],
            ": [] is not a mapping with group, stages, training, approval, registry, "
            "retire_after_days",
        ),
        (document() | {"stages": "x"}, "stages: 'x' is not a list"),
        (
            document(checks__smoke=[{"body": "half \ud800"}]),
            "stages[0].checks.smoke[0].body: 'half \\ud800' has half a character in it",
        ),
        (document() | {"stages": []}, "stages: needs at least 1, has 0"),
        (document() | {"training": 1}, "training: 1 is not a mapping with pipeline, schedule"),
        (document(rollout="fast"), "stages[0].rollout: 'fast' is not a mapping with 'strategy'"),
        (
            document(rollout={}),
            "stages[0].rollout.strategy: missing; one of all_at_once, canary, linear, rolling, "
            "progressive",
        ),
        (
            document(rollout={"strategy": "slow"}),
            "stages[0].rollout.strategy: 'slow' is none of all_at_once, canary, linear, rolling, "
            "progressive",
        ),
        (
            document(rollout__canary_minutes=-1),
            "stages[0].rollout.canary_minutes: -1 is below 0, SageMaker's limit for one wait, "
            "an hour",
        ),
        (
            document(rollout__canary_minutes=True),
            "stages[0].rollout.canary_minutes: True is not a whole number",
        ),
        (
            document(checks__alarms__error_percent=0),
            "stages[0].checks.alarms.error_percent: 0 is not above 0",
        ),
        (
            document(checks__alarms__error_percent="1 %"),
            "stages[0].checks.alarms.error_percent: '1 %' is not a number",
        ),
        (
            document(target__endpoint="e" * 45),
            "stages[0].target.endpoint: has 45, at most 44, SageMaker's limit of 63 less our "
            "suffix -v<version>-<8 digits>",
        ),
        (
            document(checks__smoke=[{"body": "{}", "expect": "["}]),
            "stages[0].checks.smoke[0].expect: '[' is not a regular expression: unterminated "
            "character set at position 0",
        ),
        (
            document(serving__instance_count=1),
            "stages[0].rollout.canary_percent: 10 % of 1 instance is less than one of them; "
            "use all_at_once or 10 instances",
        ),
        (
            document(serving__instance_count=4),
            "stages[0].rollout.canary_percent: 10 % of 4 instances is less than one of them; "
            "use at least 25 % or 10 instances",
        ),
        (
            document(rollout={"strategy": "linear", "step_percent": 10, "step_minutes": 50}),
            "stages[0].rollout.step_minutes: the waits sum up to 510 minutes, at most 450: "
            "SageMaker gives up after 8 hours, fleets included",
        ),
        (
            document(rollout={"strategy": "rolling", "batch_percent": 5}),
            "stages[0].rollout.batch_percent: 5 % of 10 instances is less than one of them; "
            "use at least 10 % or 20 instances",
        ),
        (
            document(
                serving__instance_count=20,
                rollout={"strategy": "rolling", "batch_percent": 5, "batch_minutes": 30},
            ),
            "stages[0].rollout.batch_minutes: with 6 to replace each batch, the waits sum up to "
            "720 minutes, at most 450: "
            "SageMaker gives up after 8 hours, fleets included",
        ),
        (
            # 10 % of 19 is one instance, so that there are 19 steps, not 10.
            document(
                serving__instance_count=19,
                rollout={"strategy": "linear", "step_percent": 10, "step_minutes": 30},
            ),
            "stages[0].rollout.step_minutes: the waits sum up to 580 minutes, at most 450: "
            "SageMaker gives up after 8 hours, fleets included",
        ),
        (
            document(serving__instance_type="ml.inf1.xlarge"),
            "stages[0].rollout.strategy: instead of this rollout, SageMaker silently moves all "
            "traffic at once and without a bake on Inf1 instances; use all_at_once with "
            "bake_minutes 0, progressive, or other instances",
        ),
        (
            document(
                serving__instance_type="ml.inf1.xlarge",
                rollout={"strategy": "all_at_once", "bake_minutes": 5},
            ),
            "stages[0].rollout.bake_minutes: instead of a bake, SageMaker silently moves all "
            "traffic at once and without a bake on Inf1 instances; use all_at_once with "
            "bake_minutes 0, progressive, or other instances",
        ),
        (
            document(checks__alarms__names=[f"alarm-{n}" for n in range(9)]),
            "stages[0].checks.alarms.names: has 9, at most 8: SageMaker's limit is 10 rollback "
            "alarms and 2 are ours",
        ),
        (
            document(
                checks__alarms__latency_ms=250,
                checks__alarms__names=[f"alarm-{n}" for n in range(8)],
            ),
            "stages[0].checks.alarms.names: has 8, at most 7: SageMaker's limit is 10 rollback "
            "alarms and 3 are ours",
        ),
    ],
)
def test_a_problem_says_where_and_what_would_be_right(given_: object, problem: str) -> None:
    assert problems(given_) == [problem]


def test_a_name_with_a_wrong_letter_is_shown_shortened() -> None:
    [found] = problems(document(target__region="r" * 80))

    assert found.startswith(f"stages[0].target.region: '{'r' * 56}... does not match")


def test_two_stages_are_two_names_and_two_endpoints() -> None:
    twice = document()
    twice["stages"] *= 2

    assert problems(twice) == [
        "stages[1].name: 'production' is stages[0]'s too",
        "stages[1].target.endpoint: 'churn' is stages[0]'s too",
    ]


def test_one_endpoint_name_in_two_accounts_is_two_endpoints() -> None:
    two = document()
    [other] = document(name="staging", target__account="222222222222")["stages"]
    two["stages"].append(other)

    assert problems(two) == []


def test_a_problem_of_the_whole_has_no_path() -> None:
    assert Problem((), "missing").where == ""
    assert Problem(("stages", 1, "name"), "missing").where == "stages[1].name"


@given(well_formed)
def test_what_makes_sense_is_accepted_as_it_is(policy: Policy) -> None:
    found, wrong = check(msgspec.to_builtins(policy))

    assert (found == policy) if not wrong else (found is None)
    assert bool(wrong) != _makes_sense(policy)


def _makes_sense(policy: Policy) -> bool:
    """The same sense, said another way."""
    stages = policy.stages
    return (
        len({stage.name for stage in stages}) == len(stages)
        and len({msgspec.json.encode(_place(stage.target)) for stage in stages}) == len(stages)
        and all(_shareable(stage.rollout, stage.serving) for stage in stages)
        and all(
            _possible_on_inf1(stage)
            for stage in stages
            if stage.serving.instance_type == "ml.inf1.xlarge"
        )
        and all("[" != request.expect for stage in stages for request in stage.checks.smoke)
        and all(
            len(stage.checks.alarms.names) + (stage.checks.alarms.latency_ms is not None) <= 8
            for stage in stages
        )
    )


def _place(target: Any) -> tuple[str, str, str]:
    return (target.account, target.region, target.endpoint)


def _shareable(rollout: object, serving: RealTime) -> bool:
    match rollout:
        case Canary(canary_percent=percent):
            return percent * serving.instance_count >= 100
        case Linear(step_percent=percent, step_minutes=step, bake_minutes=bake):
            count = serving.instance_count
            return percent * count >= 100 and whole_steps(percent, count) * step + bake <= 450
        case Rolling(batch_percent=percent, batch_minutes=wait):
            count = serving.instance_count
            return percent * count >= 100 and whole_steps(percent, count) * (wait + 6) <= 450
        case AllAtOnce():
            return True
        case Progressive(steps=steps):
            return sorted(set(steps)) == list(steps)
        case _:
            raise AssertionError(rollout)


def _possible_on_inf1(stage: Stage) -> bool:
    """Neither guardrails nor shadow variants."""
    match stage.rollout:
        case Progressive() | AllAtOnce(bake_minutes=0):
            return stage.shadow is None
        case _:
            return False


def _agrees_with_msgspec(given_: object) -> None:
    found, wrong = check(given_)
    try:
        decoded = msgspec.convert(given_, Policy)
    except msgspec.ValidationError:
        assert found is None
        assert wrong
    else:
        assert found == decoded if not wrong else not _makes_sense(decoded)


@given(json_like)
def test_any_document_gets_an_answer(given_: object) -> None:
    _agrees_with_msgspec(given_)


@given(damaged())
@example(document(rollout={"strategy": "canary", "step_percent": 10}))
def test_a_damaged_policy_is_accepted_exactly_when_it_can_be_decoded(given_: object) -> None:
    if _has_unhashable_strategy(given_):
        return  # see test_a_strategy_that_is_no_text_is_a_problem
    _agrees_with_msgspec(given_)


def _has_unhashable_strategy(given_: Any) -> bool:
    stages = given_.get("stages") if isinstance(given_, dict) else None
    rollouts = [
        each.get("rollout")
        for each in (stages if isinstance(stages, list) else [])
        if isinstance(each, dict)
    ]
    return any(
        isinstance(each, dict) and isinstance(each.get("strategy"), list | dict)
        for each in rollouts
    )


@pytest.mark.parametrize("strategy", [["canary"], {"canary": 10}])
def test_a_strategy_that_is_no_text_is_a_problem(strategy: object) -> None:
    [found] = problems(document(rollout={"strategy": strategy}))

    assert "is none of all_at_once, canary, linear, rolling, progressive" in found


ROLLOUTS = ("all_at_once", "canary", "linear", "rolling", "progressive")
NUMBERS = (
    *(0, -1, 1, 2, 5, 10, 50, 100, 101, 0.2, -0.0, 1e308, 10**400, -(10**400), 2**63, True),
    *(float("nan"), float("inf"), float("-inf")),
)


def _numbers(at: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document that holds a number: its holder and its key."""
    for key, each in at.items() if isinstance(at, dict) else enumerate(at):
        if isinstance(each, dict | list | tuple):
            yield from _numbers(each)
        elif isinstance(each, int | float) and not isinstance(each, bool):
            yield at, key


@pytest.mark.parametrize("strategy", ROLLOUTS)
def test_every_number_is_taken_or_refused_in_words(strategy: str) -> None:
    objectives = {"server_errors": 0.5, "client_errors": 0.5, "slow": 2}
    said = document(
        rollout={"strategy": strategy},
        shadow={"percent": 50, "minutes": 30},
        checks__evidence={"objectives": objectives, "slow_ms": 100},
    )
    policy, found = check(said)
    assert policy is not None, found
    # With every default written out.
    whole = msgspec.json.decode(msgspec.json.encode(policy))
    places = list(_numbers(whole))
    assert len(places) >= 17

    for holder, key in places:
        was = holder[key]
        for number in NUMBERS:
            holder[key] = number
            policy, found = check(whole)
            assert (policy is None) == bool(found)
            if policy is not None:
                assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy
        holder[key] = was


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_a_finite_number_is_a_problem(number: float) -> None:
    [found] = problems(document(checks__evidence={"negligible_percent": number}))

    assert found == f"stages[0].checks.evidence.negligible_percent: {number} is not a number"


@pytest.mark.parametrize("expect", ["a{99999999999999999999}", "(" * 5000 + ")" * 5000])
def test_an_expression_that_is_too_much_for_python_is_a_problem(expect: str) -> None:
    [found] = problems(document(checks__smoke=[{"body": "{}", "expect": expect}]))

    assert "is not a regular expression" in found


@pytest.mark.parametrize("latency_ms", [0, -5])
def test_a_latency_that_every_answer_exceeds_is_a_problem(latency_ms: int) -> None:
    assert problems(document(checks__alarms__latency_ms=latency_ms))


@pytest.mark.parametrize("name", ["", "a" * 256])
def test_an_alarm_that_cannot_exist_is_a_problem(name: str) -> None:
    assert problems(document(checks__alarms__names=[name]))


def test_a_name_with_a_line_end_is_a_problem() -> None:
    assert problems(document(target__endpoint="churn\n"))


@pytest.mark.parametrize("expression", ["[[0]]", '"predictions": [[0]]', "[a--z]", "[a&&b]"])
def test_an_expression_that_python_warns_of_is_refused(expression: str) -> None:
    """The JSON of an answer, its brackets not escaped; another expression in a later Python."""
    [found] = problems(document(checks__smoke=[{"body": "{}", "expect": expression}]))

    assert "is not a regular expression: Possible " in found
    assert found.endswith(r"; a bracket of the answer is \[")
    # Each time it is asked.
    assert problems(document(checks__smoke=[{"body": "{}", "expect": expression}])) == [found]
