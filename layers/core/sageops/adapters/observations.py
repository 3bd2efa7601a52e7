"""What CloudWatch knows of a release's rollouts, read with a role that can read metrics only.

For what people look at (report, board). The loop's own view is `adapters.cloud`.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from sageops.adapters.identity import Targets
from sageops.adapters.metrics import see_latency, see_minutes
from sageops.comparison import Compared, what_is_compared
from sageops.errors import TroubleError
from sageops.evidence import Counts, Minute
from sageops.model import Errand, Release
from sageops.policy import Policy
from sageops.watch import Comparison, slow_ms

__all__ = ["observe"]

# A minute is read when it has been over for one.
_MARGIN = timedelta(minutes=2)


def observe(
    targets: Targets, release: Release, policy: Policy, now: datetime, stage: str | None = None
) -> tuple[Compared, ...]:
    """Each rollout that was begun, of one stage or of all, with its minutes. What cannot be read
    is said in `problem`."""
    known = {each.name for each in policy.stages}
    return tuple(
        _filled(targets, release, policy, each, now)
        for each in what_is_compared(release, now)
        if each.stage in known and stage in (None, each.stage)
    )


def _filled(
    targets: Targets, release: Release, policy: Policy, compared: Compared, now: datetime
) -> Compared:
    stage = policy.stage(compared.stage)
    where = Errand(stage.target, release.name, stage=stage.name)
    end = min(now, compared.until + _MARGIN)
    arms = Comparison(compared.control or compared.canary, compared.canary, compared.since)
    try:
        client = targets.client(where, "cloudwatch")
        minutes = see_minutes(client, where, arms, end, slow_ms(stage))
        latency = see_latency(client, where, arms, end)
    except TroubleError as error:
        return replace(compared, problem=error.trouble.message)
    if compared.control is None:
        minutes = {name: tuple(map(_alone, each)) for name, each in minutes.items()}
        latency = tuple(replace(each, control=None) for each in latency)
    return replace(compared, minutes=minutes, latency=latency)


def _alone(minute: Minute) -> Minute:
    return replace(minute, control=Counts())
