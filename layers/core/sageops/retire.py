"""What an ended release has left in its stages, and when it goes: model, configurations, alarms.

Its copies of artefact and package stay: they say what was served. What is live, and what a rollback
goes back to, is never touched (architecture: rollback stays possible).
"""

from datetime import datetime

from msgspec.structs import replace

from sageops.model import Head, Release, Retire, StageRun, Step, View
from sageops.moves import act, errand, later, record
from sageops.names import config_name
from sageops.policy import Stage

__all__ = ["another_day", "forget", "keep", "leftover", "retire"]

# Until what could not be removed is tried again.
_HOURS = 24


def keep(view: View, release: Release, head: Head) -> Head:
    """The head when a release has ended: what it left is there for as long as its policy says."""
    policy = view.records.policies.get(release.policy_version)
    if policy is None or policy.retire_after_days is None:
        return head
    return _due(head, release.version, later(view.now, days=policy.retire_after_days))


def another_day(view: View, version: int) -> Head:
    """The head when what a version left could not be removed: nobody waits for it."""
    return _due(view.records.head, version, later(view.now, hours=_HOURS))


def forget(head: Head, version: int) -> Head:
    """The head when a version has nothing left to be removed."""
    return replace(head, kept={k: at for k, at in head.kept.items() if k != version})


def leftover(head: Head) -> int | None:
    """The version whose turn it is to have what it left removed; None when there is none."""
    needed = {each.version for each in head.served}
    free = [each for each in head.kept if each not in needed and each not in head.open]
    return min(free, key=lambda version: (head.kept[version], version), default=None)


def retire(view: View) -> Step | None:
    """Remove what an ended release has left in one stage of it, once its time is over."""
    head = view.records.head
    version = leftover(head)
    if version is None or view.now < head.kept[version]:
        return None
    release = view.records.releases.get(version)
    policy = view.records.policies.get(release.policy_version) if release is not None else None
    if release is None or policy is None:
        return record(view, log=(), head=forget(head, version))
    if _in_use(view) & {config for run in release.runs for config in (run.config, *run.trials)}:
        return record(view, log=(), head=another_day(view, version))
    for run in release.runs:
        stage = policy.stage(run.stage)
        left = _left_in(release, run, stage)
        if left and not run.retired:
            action = Retire(errand(release, run, stage), left[0], left)
            return act(view, action, release, run.stage)
    return record(view, log=(), head=forget(head, version))


def _due(head: Head, version: int, at: datetime) -> Head:
    return replace(head, kept={**head.kept, version: at})


def _in_use(view: View) -> set[str]:
    """The configurations that stages serve, or may go back to: by hand, an endpoint can have been
    brought to one of any version."""
    head, releases = view.records.head, view.records.releases
    served = {each.config for each in head.served}
    goes_back = {run.replaced for version in head.open for run in releases[version].runs}
    return (served | goes_back) - {""}


def _left_in(release: Release, run: StageRun, stage: Stage) -> tuple[str, ...]:
    """The configurations that may be there, that of the version itself first: it has the name of
    its model. None before the stage was begun."""
    if run.begun_at is None or release.artifact is None:
        return ()
    return (config_name(release, release.artifact, stage), *run.trials)
