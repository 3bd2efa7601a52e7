"""What an ended release has left in its stages, and when it goes: model, configurations, alarms.

Its copies of artefact and package stay: they say what was served. What is live, and what a rollback
goes back to, is never touched (architecture: rollback stays possible).
"""

from datetime import timedelta

from msgspec.structs import replace

from sageops.conditions import find
from sageops.model import Head, Live, Release, Retire, StageRun, Step, View
from sageops.moves import act, errand, record
from sageops.names import config_name
from sageops.policy import Policy, Stage

__all__ = ["keep", "leftover", "retire"]


def keep(head: Head, version: int) -> Head:
    """The head when a release has ended: what it has left is there for a while."""
    return replace(head, kept=(*(each for each in head.kept if each != version), version))


def leftover(head: Head) -> int | None:
    """The version whose turn it is to have what it left removed; None when there is none."""
    needed = {each.version for live in head.live.values() for each in _with_replaced(live)}
    return next((each for each in head.kept if each not in needed and each not in head.open), None)


def retire(view: View) -> Step | None:
    """Remove what an ended release has left in one stage of it, once its policy's time is over."""
    head = view.records.head
    version = leftover(head)
    release = view.records.releases.get(version) if version is not None else None
    policy = view.records.policies.get(release.policy_version) if release is not None else None
    if release is None or policy is None or not _is_due(view, release, policy):
        return None
    for run in release.runs:
        stage = policy.stage(run.stage)
        left = _left_in(release, run, stage)
        if left and not run.retired:
            action = Retire(errand(release, run, stage), left[0], left)
            return act(view, action, release, run.stage)
    kept = tuple(each for each in head.kept if each != release.version)
    return record(view, log=(), head=replace(head, kept=kept))


def _with_replaced(live: Live) -> tuple[Live, ...]:
    return (live,) if live.replaced is None else (live, live.replaced)


def _is_due(view: View, release: Release, policy: Policy) -> bool:
    ended, days = find(release.conditions, "Ended"), policy.retire_after_days
    if ended is None or not ended.status or days is None:
        return False
    if release.held_until is not None and view.now < release.held_until:
        return False
    ours = {config for run in release.runs for config in (run.config, *run.trials)}
    due = view.now >= ended.last_transition_at + timedelta(days=days)
    return due and not ours & _in_use(view)


def _in_use(view: View) -> set[str]:
    """The configurations that stages serve, or may go back to: by hand, an endpoint can have been
    brought to one of any version."""
    head, releases = view.records.head, view.records.releases
    live = {each.config for live in head.live.values() for each in _with_replaced(live)}
    goes_back = {run.replaced for version in head.open for run in releases[version].runs}
    return (live | goes_back) - {""}


def _left_in(release: Release, run: StageRun, stage: Stage) -> tuple[str, ...]:
    """The configurations that may be there, that of the version itself first: it has the name of
    its model. None before the stage was begun."""
    if run.begun_at is None or release.artifact is None:
        return ()
    return (config_name(release, release.artifact, stage), *run.trials)
