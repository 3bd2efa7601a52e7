"""What is refused before a stage is touched, what is accepted instead, and whether it passes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sageops.model import EndpointSeen, PackageDetail, VariantSeen
from sageops.policy import (
    AllAtOnce,
    Canary,
    Linear,
    Progressive,
    RealTime,
    Rolling,
    Rollout,
    Shadow,
    Stage,
    Target,
)
from sageops.preflight import Refusal, downgraded, preflight

from tests.unit.core.documents import stages

STAGE = Stage(
    "production",
    Target("333333333333", "eu-west-1", "churn"),
    RealTime("ml.m5.large", 10),
    Canary(),
)
PACKAGE = PackageDetail("image", "s3://models/model.tar.gz")
MARKETPLACE = replace(PACKAGE, marketplace=True)
MAIN, NEXT, FOREIGN = (VariantSeen(name, 1.0, 10) for name in ("main", "next", "AllTraffic"))
NATIVE = [AllAtOnce(), Canary(), Linear(), Rolling()]
EVERY = [*NATIVE, Progressive()]


def seen(*variants: VariantSeen, **more: Any) -> EndpointSeen:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    given_ = {"status": "InService", "config": "churn-v1-00000000", "modified_at": at}
    return EndpointSeen(**{**given_, "variants": variants or (MAIN,), **more})


def stage(rollout: Rollout = STAGE.rollout, **more: Any) -> Stage:
    return replace(STAGE, rollout=rollout, **more)


@pytest.mark.parametrize("rollout", EVERY)
@pytest.mark.parametrize("shadow", [None, Shadow()])
def test_an_endpoint_of_ours_in_service_is_accepted(
    rollout: Rollout, shadow: Shadow | None
) -> None:
    assert preflight(stage(rollout, shadow=shadow), PACKAGE, seen()) == ()


@given(stages)
def test_a_first_version_is_only_created(any_stage: Stage) -> None:
    assert preflight(any_stage, MARKETPLACE, None) == ()


def test_several_containers_are_refused_even_for_a_first_version() -> None:
    pipeline = replace(PACKAGE, containers=3)
    refusal = Refusal(
        "The package takes 3 containers, and a model of SageOps has one.",
        "A package with one container.",
    )
    assert preflight(STAGE, pipeline, None) == (refusal,)
    assert preflight(STAGE, pipeline, seen()) == (refusal,)


@pytest.mark.parametrize("rollout", [Canary(), Linear(), Rolling(), AllAtOnce(5)])
def test_what_would_silently_lose_its_guardrails_is_refused(rollout: Rollout) -> None:
    [refusal] = preflight(stage(rollout), MARKETPLACE, seen())

    assert "no deployment guardrails for containers of AWS Marketplace" in refusal.message
    assert refusal.accepted == "all_at_once with bake_minutes 0, progressive."
    assert not refusal.passes


@pytest.mark.parametrize("rollout", [AllAtOnce(0), Progressive()])
def test_what_needs_no_guardrails_loses_none(rollout: Rollout) -> None:
    assert preflight(stage(rollout), MARKETPLACE, seen()) == ()


def test_a_policy_of_an_earlier_version_gets_no_canary_on_inf1() -> None:
    old = stage(serving=RealTime("ml.inf1.xlarge", 10), shadow=Shadow())
    one, two = preflight(old, PACKAGE, seen())

    assert one.message == (
        "SageMaker has no deployment guardrails for Inf1 instances: instead of canary it would "
        "move all traffic at once and without a bake."
    )
    assert one.accepted == "all_at_once with bake_minutes 0, progressive, or other instances."
    assert two.message == "SageMaker has no shadow variants for Inf1 instances."
    assert not one.passes
    assert not two.passes


def test_a_shadow_of_a_marketplace_container_is_refused() -> None:
    [refusal] = preflight(stage(Progressive(), shadow=Shadow()), MARKETPLACE, seen())

    assert refusal == Refusal(
        "SageMaker has no shadow variants for containers of AWS Marketplace.",
        "A stage without shadow.",
    )


@pytest.mark.parametrize(
    ("status", "message", "accepted"),
    [
        ("Creating", "is Creating, and SageMaker starts no update", "passes by itself"),
        ("Updating", "is Updating, and SageMaker starts no update", "passes by itself"),
        ("SystemUpdating", "is SystemUpdating, and SageMaker starts no", "passes by itself"),
        ("RollingBack", "is RollingBack, and SageMaker starts no update", "passes by itself"),
        ("Deleting", "is being deleted", "once it is gone"),
        ("Failed", "is Failed, and can only be deleted", "No endpoint of this name, or one"),
        ("UpdateRollbackFailed", "serves two configurations", "page 'Use rolling deployments'"),
        ("OutOfService", "Endpoint churn is OutOfService.", "The endpoint InService."),
    ],
)
@pytest.mark.parametrize("rollout", EVERY)
def test_an_endpoint_that_is_not_in_service_takes_no_update(
    rollout: Rollout, status: str, message: str, accepted: str
) -> None:
    [refusal] = preflight(stage(rollout), PACKAGE, seen(status=status))

    assert refusal.message.startswith("Endpoint churn ")
    assert message in refusal.message
    assert accepted in refusal.accepted
    assert refusal.passes


@pytest.mark.parametrize("rollout", NATIVE)
@pytest.mark.parametrize(
    ("variants", "names"),
    [
        ([FOREIGN], "the variant AllTraffic"),
        ([MAIN, FOREIGN], "the variants AllTraffic, main"),
        ([MAIN, NEXT], "the variants main, next"),
        ([NEXT], "the variant next"),
    ],
)
def test_variants_must_keep_their_names(
    rollout: Rollout, variants: list[VariantSeen], names: str
) -> None:
    [refusal] = preflight(stage(rollout), PACKAGE, seen(*variants))

    assert refusal == Refusal(
        f"Endpoint churn serves {names}, and an update would have to keep the names: SageOps' "
        "configurations have one variant, main.",
        "The endpoint on a configuration with the one variant main.",
        passes=True,
    )


def test_an_endpoint_without_variants_is_not_taken_for_one_of_ours() -> None:
    [refusal] = preflight(STAGE, PACKAGE, replace(seen(), variants=()))

    assert "serves no variant" in refusal.message


def test_two_variants_are_on_the_way_only_of_progressive() -> None:
    assert preflight(stage(Progressive()), PACKAGE, seen(MAIN, NEXT)) == ()
    [refusal] = preflight(stage(Progressive()), PACKAGE, seen(MAIN, FOREIGN))
    assert refusal.passes


@pytest.mark.parametrize("rollout", EVERY)
def test_nobodys_shadow_test_is_ended(rollout: Rollout) -> None:
    theirs, ours = seen(shadows=("challenger",)), seen(shadows=("shadow",))
    with_shadow = stage(rollout, shadow=Shadow())

    assert preflight(with_shadow, PACKAGE, ours) == ()
    for refused in (
        preflight(with_shadow, PACKAGE, theirs),
        preflight(stage(rollout), PACKAGE, theirs),
        preflight(stage(rollout), PACKAGE, ours),
    ):
        [refusal] = refused
        assert "the update would end somebody's shadow test" in refusal.message
        assert refusal.passes


@pytest.mark.parametrize("rollout", EVERY)
def test_what_an_endpoint_is_stays(rollout: Rollout) -> None:
    [asynchronous] = preflight(stage(rollout), PACKAGE, seen(asynchronous=True))
    [serverless] = preflight(stage(rollout), PACKAGE, seen(VariantSeen("main", 1.0, None)))

    assert "Endpoint churn is asynchronous" in asynchronous.message
    assert "Endpoint churn is serverless" in serverless.message
    assert asynchronous.passes
    assert serverless.passes


@pytest.mark.parametrize("rollout", EVERY)
@pytest.mark.parametrize("instances", [1, 4, 19, 40])
def test_only_rolling_cares_how_far_the_endpoint_is_scaled(
    rollout: Rollout, instances: int
) -> None:
    found = preflight(stage(rollout), PACKAGE, seen(VariantSeen("main", 1.0, instances)))

    if rollout == Rolling() and instances < 5:
        [refusal] = found
        assert f"scaled to {instances} instances at present" in refusal.message
        assert refusal.accepted.startswith("The endpoint at 10 instances as in the policy")
        assert refusal.passes
    else:
        assert found == ()


def test_rolling_over_more_instances_must_fit_into_the_time() -> None:
    slow = stage(Rolling(10, 30))
    assert preflight(slow, PACKAGE, seen(VariantSeen("main", 1.0, 20))) == ()
    [refusal] = preflight(slow, PACKAGE, seen(VariantSeen("main", 1.0, 19)))
    assert "8 hours" in refusal.message


def test_everything_is_said_at_once() -> None:
    found = preflight(
        stage(shadow=Shadow()),
        replace(MARKETPLACE, containers=2),
        seen(VariantSeen("AllTraffic", 1.0, None), asynchronous=True, shadows=("theirs",)),
    )
    assert [refusal.passes for refusal in found] == [False, False, False, True, True, True, True]


@given(stages, st.booleans(), st.sampled_from([(), ("shadow",)]))
def test_a_refusal_is_two_sentences_for_people(
    any_stage: Stage, marketplace: bool, shadows: tuple[str, ...]
) -> None:
    package = replace(PACKAGE, marketplace=marketplace)
    for refusal in preflight(any_stage, package, seen(FOREIGN, shadows=shadows)):
        assert refusal.message.endswith(".")
        assert refusal.accepted.endswith(".")


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        (Canary(), "all_at_once"),
        (Linear(), "all_at_once"),
        (Rolling(), ""),
        (Canary(), "linear"),
        (AllAtOnce(5), ""),
    ],
)
def test_a_downgrade_is_said(asked: Rollout, done: Any) -> None:
    said = downgraded(asked, seen(guardrail=done))

    assert said.startswith("SageMaker did not carry the update out as the policy asks")
    assert f"LastDeploymentConfig shows {done or 'an update without'}" in said


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        (Canary(), "canary"),
        (Linear(), "linear"),
        (Rolling(), "rolling"),
        (AllAtOnce(5), "all_at_once"),
        (AllAtOnce(0), ""),
        (Progressive(), ""),
        (Progressive(), "all_at_once"),
    ],
)
def test_what_was_done_as_asked_is_no_downgrade(asked: Rollout, done: Any) -> None:
    assert downgraded(asked, seen(guardrail=done)) == ""
