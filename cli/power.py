"""What the rollouts of a policy can find, before any of them starts.

Where the traffic is not said, it is the last day's of the versions that are live now, read from
each stage's endpoint and its CloudWatch metrics with the caller's own credentials.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from sageops.adapters import endpoints, metrics
from sageops.adapters.identity import CONFIG
from sageops.adapters.trouble import message_of
from sageops.errors import TroubleError
from sageops.model import Arm, Errand
from sageops.policy import Policy, Stage
from sageops.power import Power, Traffic, assess, plans, traffic, warning

from cli.hub import Unreachable

__all__ = ["Finding", "Measured", "findings", "said", "sign_in"]


@dataclass(frozen=True)
class Finding:
    """One comparison that a stage makes, and what it can find. Shares are percentages.

    `outcome`: `unknown` where the traffic could not be read (`message` says why and what to do),
    `none` where the stage compares nothing.
    """

    stage: str
    strategy: str
    outcome: Literal["enough", "underpowered", "unknown", "none"]
    message: str
    requests_per_minute: float | None = None
    error_percent: float | None = None
    share_percent: float | None = None
    minutes: int | None = None
    smallest_ratio: float | None = None
    wanted_ratio: float | None = None
    better_share_percent: float | None = None
    better_minutes: int | None = None


class Unmeasured(Exception):
    """A stage's traffic is not known; the message says why and what to do."""


# A stage's traffic. Raises Unmeasured.
Measure = Callable[[Stage], Traffic]


def said(requests_per_minute: float, error_percent: float) -> Measure:
    """The same traffic for every stage."""
    served = Traffic(requests_per_minute, error_percent / 100)
    return lambda _: served


def sign_in(profile: str | None) -> tuple[Any, str]:
    """A session of the profile (None: of the one in force), and its account. Raises
    `Unreachable`."""
    try:
        session = boto3.Session(profile_name=profile)
        # Any Region's STS says who one is, and the stages say theirs.
        sts = session.client("sts", region_name=session.region_name or "us-east-1", config=CONFIG)
        return session, sts.get_caller_identity()["Account"]
    except ClientError as error:
        raise Unreachable(f"AWS refused: {message_of(error)}") from error
    except BotoCoreError as error:
        fix = "Name a profile with --profile, or say the traffic with --requests-per-minute."
        raise Unreachable(f"AWS cannot be reached: {error} {fix}") from error


@dataclass(frozen=True)
class Measured:
    """Reads the traffic of what an endpoint serves now, in the account of `session`."""

    session: Any
    account: str
    now: datetime

    def __call__(self, stage: Stage) -> Traffic:
        target = stage.target
        if target.account != self.account:
            raise Unmeasured(
                f"It is in account {target.account}, and your credentials are for {self.account}: "
                "name a profile of that account with --profile, or say the traffic with "
                "--requests-per-minute."
            )
        errand = Errand(target, f"power-{stage.name}")
        try:
            arm = self._live(errand)
            counts = metrics.see_traffic(self._client(errand, "cloudwatch"), errand, arm, self.now)
        except TroubleError as error:
            trouble = error.trouble
            raise Unmeasured(
                f"{trouble.call} in account {trouble.account}: {trouble.said} Your own credentials "
                "need sagemaker:DescribeEndpoint and cloudwatch:GetMetricData there."
            ) from error
        if not any(each.requests for each in counts):
            raise Unmeasured(
                f"{arm.config} had no requests in the last 24 hours: say what you expect with "
                "--requests-per-minute."
            )
        return traffic(counts, of_minutes=len(counts))

    def _live(self, errand: Errand) -> Arm:
        seen = endpoints.see(self._client(errand, "sagemaker"), errand)
        if seen is None or not seen.variants:
            raise Unmeasured(
                f"There is no endpoint {errand.target.endpoint} in account {self.account} yet: the "
                "first version is compared with nothing. Say what you expect with "
                "--requests-per-minute."
            )
        busiest = max(seen.variants, key=lambda variant: variant.weight)
        return Arm(seen.config, busiest.name)

    def _client(self, errand: Errand, service: str) -> Any:
        return self.session.client(service, region_name=errand.target.region, config=CONFIG)


def findings(policy: Policy, measure: Measure) -> Iterator[Finding]:
    """What each stage's comparisons can find, in the policy's order."""
    for stage in policy.stages:
        compared = plans(stage)
        strategy = stage.rollout.__struct_config__.tag
        if not compared:
            why = "all_at_once" if stage.checks.evidence else "no checks.evidence"
            yield Finding(stage.name, str(strategy), "none", f"It compares nothing: {why}.")
            continue
        names = [("shadow" if plan.mirrored else str(strategy)) for plan in compared]
        try:
            served = measure(stage)
        except Unmeasured as error:
            for name in names:
                yield Finding(stage.name, name, "unknown", str(error))
            continue
        for name, found in zip(names, assess(stage, served), strict=True):
            yield _finding(stage.name, name, served, found)


def _finding(stage: str, strategy: str, served: Traffic, found: Power) -> Finding:
    better = found.better
    return Finding(
        stage=stage,
        strategy=strategy,
        outcome="enough" if found.enough else "underpowered",
        message=warning(found),
        requests_per_minute=served.requests_per_minute,
        error_percent=100 * served.error_rate,
        share_percent=100 * found.plan.share,
        minutes=found.plan.bake_minutes,
        smallest_ratio=found.smallest_ratio,
        wanted_ratio=found.wanted_ratio,
        better_share_percent=None if better is None else 100 * better.share,
        better_minutes=None if better is None else better.bake_minutes,
    )
