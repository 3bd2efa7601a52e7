"""Whether SageMaker would do what a stage asks for, asked before anything of it is touched. Pure.

SageMaker refuses some updates, and carries others out in another way than asked without a word:
neither may come as a surprise in the middle of a release. What a policy alone can get wrong is
`policy.check`'s; here it meets the package and the endpoint.

Pages of the developer guide: [E] 'Exclusions' of deployment guardrails, [S] 'Exclusions' of shadow
tests, [U] 'Update a serverless endpoint'; [D] `DescribeEndpoint.EndpointStatus` in the API
reference. What is up to the account is not asked here: quotas of instances, and whether a type is
offered in the Region. Nor is what DescribeEndpoint does not show: that a variant is registered with
Application Auto Scaling, or that the endpoint runs on Inf1 at present.
"""

from collections.abc import Iterator

from msgspec import Struct

from sageops.model import EndpointSeen, PackageDetail
from sageops.names import BESIDE, SHADOW, VARIANT
from sageops.policy import (
    BATCH_MINUTES,
    LONGEST_ROLLOUT_MINUTES,
    AllAtOnce,
    Canary,
    Linear,
    Progressive,
    Rolling,
    Rollout,
    Stage,
    is_inf1,
    whole_steps,
)

__all__ = ["Refusal", "downgraded", "preflight"]


class Refusal(Struct, frozen=True):
    """What would not be done as asked and why, and what would be accepted: sentences for people.

    `passes`: by itself, or when somebody mends the endpoint. Otherwise only another policy or
    another package helps.
    """

    message: str
    accepted: str
    passes: bool = False


def preflight(
    stage: Stage, package: PackageDetail, seen: EndpointSeen | None
) -> tuple[Refusal, ...]:
    """Everything that speaks against taking this package to this stage's endpoint as it is now.

    Empty: SageMaker accepts each configuration and update that the stage's strategy asks for, and
    carries it out as asked. `seen` is None where there is no endpoint: the first version is created
    at once, with no shadow and no strategy. Right before an update of ours, `seen` may show what an
    earlier one of the same stage has left: its shadow, or the variant beside.
    """
    return tuple(_refusals(stage, package, seen))


def _refusals(stage: Stage, package: PackageDetail, seen: EndpointSeen | None) -> Iterator[Refusal]:
    if package.containers != 1:
        # We make models of one container; shadow variants exclude several [S].
        yield Refusal(
            f"The package takes {package.containers} containers, and a model of SageOps has one.",
            "A package with one container.",
        )
    if seen is None:
        return
    yield from _excluded(stage, package)
    if seen.status == "InService":
        yield from _in_the_way(stage, seen)
    else:
        yield _not_now(stage, seen.status)


def _excluded(stage: Stage, package: PackageDetail) -> Iterator[Refusal]:
    """'Your endpoint will fall back to using a blue/green deployment with all at once traffic
    shifting and no final baking period' [E]; a request for a shadow is refused [S].

    A valid policy asks for none of it on Inf1; one stored by an earlier version may.
    """
    if package.marketplace:
        what, instead = "containers of AWS Marketplace", ""
    elif is_inf1(stage.serving):
        what, instead = "Inf1 instances", ", or other instances"
    else:
        return
    if _needs_guardrails(stage.rollout):
        yield Refusal(
            f"SageMaker has no deployment guardrails for {what}: instead of "
            f"{_in_words(stage.rollout)} it would move all traffic at once and without a bake.",
            f"all_at_once with bake_minutes 0, progressive{instead}.",
        )
    if stage.shadow is not None:
        yield Refusal(
            f"SageMaker has no shadow variants for {what}.", f"A stage without shadow{instead}."
        )


def _needs_guardrails(rollout: Rollout) -> bool:
    match rollout:
        case AllAtOnce(bake_minutes=bake):
            return bake > 0
        case Canary() | Linear() | Rolling():
            return True
        case Progressive():
            return False


def _in_words(rollout: Rollout) -> str:
    strategy = _strategy(rollout)
    return f"{strategy} with a bake" if strategy == "all_at_once" else strategy


def _strategy(rollout: Rollout) -> str:
    return str(type(rollout).__struct_config__.tag)


def _not_now(stage: Stage, status: str) -> Refusal:
    """No update is started in these states [D]."""
    endpoint = stage.target.endpoint
    match status:
        case "Creating" | "Updating" | "SystemUpdating" | "RollingBack":
            message = f"Endpoint {endpoint} is {status}, and SageMaker starts no update meanwhile."
            accepted = "The endpoint InService: this passes by itself."
        case "Deleting":
            message = f"Endpoint {endpoint} is being deleted."
            accepted = "No endpoint of this name: once it is gone, this passes by itself."
        case "Failed":
            message = f"Endpoint {endpoint} is Failed, and can only be deleted."
            accepted = "No endpoint of this name, or one that is InService."
        case "UpdateRollbackFailed":
            message = f"Endpoint {endpoint} serves two configurations after a rollback that failed."
            accepted = (
                "The endpoint InService: SageMaker's page 'Use rolling deployments' says how."
            )
        case _:
            message = f"Endpoint {endpoint} is {status}."
            accepted = "The endpoint InService."
    return Refusal(message, accepted, passes=True)


def _in_the_way(stage: Stage, seen: EndpointSeen) -> Iterator[Refusal]:
    """What the endpoint is and serves now, as far as the update could not replace it."""
    endpoint = stage.target.endpoint
    if seen.asynchronous:
        # `UpdateEndpoint` refuses to take AsyncInferenceConfig away.
        yield Refusal(
            f"Endpoint {endpoint} is asynchronous, and no update makes it answer at once.",
            "An endpoint for real-time inference under this name, or another name in the policy.",
            passes=True,
        )
    if any(variant.instances is None for variant in seen.variants):
        # The way from instances to serverless is not supported [U]; nothing is said of the way
        # back [unverified]. Guardrails are for instances only (page 'Deployment guardrails').
        yield Refusal(
            f"Endpoint {endpoint} is serverless, and an update to instances is not documented.",
            "An endpoint on instances under this name, or another name in the policy.",
            passes=True,
        )
    yield from _wrong_variants(stage, seen)
    if isinstance(stage.rollout, Rolling):
        yield from _batches_of_now(stage, stage.rollout, seen)


def _wrong_variants(stage: Stage, seen: EndpointSeen) -> Iterator[Refusal]:
    """'Your new endpoint configuration must have the same variant name as the old endpoint
    configuration' [E]. Without guardrails names may change, but nobody's variant or shadow test is
    ended on the way; the one beside is ours while the strategy is progressive.
    """
    served = {variant.name for variant in seen.variants}
    beside = {BESIDE} if isinstance(stage.rollout, Progressive) else set()
    if VARIANT not in served or served - {VARIANT} - beside:
        yield Refusal(
            f"Endpoint {stage.target.endpoint} serves {_listing(served, 'variant')}, and an update "
            f"would have to keep the names: SageOps' configurations have one variant, {VARIANT}.",
            f"The endpoint on a configuration with the one variant {VARIANT}.",
            passes=True,
        )
    foreign = set(seen.shadows) - ({SHADOW} if stage.shadow is not None else set())
    if foreign:
        yield Refusal(
            f"Endpoint {stage.target.endpoint} has {_listing(foreign, 'shadow variant')}, and the "
            "update would end somebody's shadow test.",
            "The endpoint on a configuration without a shadow variant.",
            passes=True,
        )


def _listing(names: set[str], what: str) -> str:
    if not names:
        return f"no {what}"
    return f"the {what}{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}"


def _batches_of_now(stage: Stage, rollout: Rolling, seen: EndpointSeen) -> Iterator[Refusal]:
    """A batch is a share 'of the variant's total instance count' (`RollingUpdatePolicy`), and each
    takes as much off the old fleet. Canaries and linear steps are shares of the new one alone.

    Of which fleet is not said, and the endpoint may have been scaled since it was configured: the
    share must be one that both can express [unverified].
    """
    for variant in seen.variants:
        count = variant.instances
        if variant.name != VARIANT or count is None or count == stage.serving.instance_count:
            continue
        percent = rollout.batch_percent
        total = whole_steps(percent, count) * (rollout.batch_minutes + BATCH_MINUTES)
        if percent * count < 100 or total > LONGEST_ROLLOUT_MINUTES:
            yield Refusal(
                f"Endpoint {stage.target.endpoint} is scaled to {count} instances at present, and "
                f"rolling over them in batches of {percent} % is not possible in whole instances "
                "and SageMaker's 8 hours.",
                f"The endpoint at {stage.serving.instance_count} instances as in the policy, or "
                "another rollout.",
                passes=True,
            )


def downgraded(asked: Rollout, seen: EndpointSeen) -> str:
    """What was done in another way than asked, for an endpoint that serves the new configuration
    after an update; empty if nothing was.

    `seen.guardrail` is LastDeploymentConfig, 'the most recent deployment configuration'. That it
    shows what was carried out, not what was asked for, is documented nowhere [unverified]: if not,
    this never says anything, and `preflight` alone stands in the way. An all_at_once that lost its
    bake looks like one that kept it. Not for a first version, which is created without a strategy.
    """
    if not _needs_guardrails(asked) or seen.guardrail == _strategy(asked):
        return ""
    done = seen.guardrail or "an update without deployment guardrails"
    return (
        f"SageMaker did not carry the update out as the policy asks: {_in_words(asked)} was asked "
        f"for, and LastDeploymentConfig shows {done}. The new version got its traffic without that "
        "protection; the alarms still watch it."
    )
