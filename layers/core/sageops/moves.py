"""The few ways in which status changes: an entry, a claim, a stop, an ending."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from sageops.conditions import find, with_condition
from sageops.model import (
    Act,
    Action,
    Entry,
    Errand,
    Head,
    Intent,
    Live,
    PackageSeen,
    Record,
    Release,
    Severity,
    StageRun,
    StageStep,
    Stop,
    View,
    Wait,
    Word,
)
from sageops.names import at_home
from sageops.policy import Policy, Stage

__all__ = [
    "MOVING",
    "WATCH",
    "act",
    "current_run",
    "end",
    "entry",
    "errand",
    "go_live",
    "goes_back",
    "has_ended",
    "is_of_this_life",
    "is_paused",
    "is_underway",
    "later",
    "look_again",
    "opened",
    "record",
    "registers",
    "restore",
    "stop",
    "stopped_before_it_began",
    "to_step",
    "turn_back",
    "unstuck",
    "untroubled",
    "withdrawn",
]

# For so long the sweep looks at what went live.
WATCH = timedelta(days=1)
# Steps in which nothing in the target serves anything of the release yet.
_BEFORE: frozenset[StageStep] = frozenset(
    {
        "waiting",
        "gate",
        "copying",
        "pulling",
        "registering",
        "modelling",
        "configuring",
        "alarming",
    }
)
# Those in which the endpoint is moved, from the first update on: while two versions serve there.
MOVING: frozenset[StageStep] = frozenset({"mirroring", "shifting", "deploying"})
# How often an endpoint that moves or bakes is looked at when no event comes. SageMaker and
# CloudWatch act and tell by themselves: this is for the events that were lost.
_LOOK_MINUTES = 5


# How far the clocks of those who write the times may be apart: the functions, the registry, the
# command.
_CLOCKS_APART = timedelta(seconds=30)


def is_of_this_life(release: Release, word: Word) -> bool:
    """Whether a word was said since the release was admitted, and not in an earlier life of it."""
    return word.at >= release.admitted_at - _CLOCKS_APART


def current_run(release: Release) -> StageRun:
    """The stage that the release is in: the one that is being taken back, else the first that is
    not live, else the last."""
    ahead = [run for run in release.runs if run.step != "live"]
    back = [run for run in ahead if goes_back(run)]
    return (back or ahead or release.runs[-1:])[0]


def goes_back(run: StageRun) -> bool:
    """Whether the stage is being taken back."""
    return run.step in ("stopping", "counting")


def is_underway(release: Release) -> bool:
    """Whether the release has an endpoint in its hands, so that it must be seen through."""
    return not stopped_before_it_began(current_run(release))


def stopped_before_it_began(run: StageRun) -> bool:
    """Whether a stop at this point leaves nothing to undo."""
    return run.step in _BEFORE or (run.step in MOVING and run.asked_at is None)


def has_ended(release: Release) -> bool:
    """Whether it is over: nothing is done for it any more."""
    ended = find(release.conditions, "Ended")
    return ended is not None and ended.status


def is_paused(release: Release) -> bool:
    """Whether nothing new may be begun."""
    paused = find(release.conditions, "Paused")
    return paused is not None and paused.status


def errand(release: Release, run: StageRun, stage: Stage) -> Errand:
    approver = run.approved_by or release.detail.modified_by
    return Errand(stage.target, release.name, approver, stage.name)


def registers(policy: Policy, release: Release, stage: Stage) -> bool:
    """Whether the stage's account gets a package of its own: not the registry that it is from."""
    return policy.registry == "copy" and not at_home(release, stage.target)


def look_again(view: View, why: str) -> Wait:
    """Nothing to do until something is seen to have changed."""
    return Wait(later(view.now, minutes=_LOOK_MINUTES), why)


def entry(  # noqa: PLR0913 - an entry answers that many questions
    now: datetime,
    release: Release,
    what: str,
    why: str,
    *,
    severity: Severity = "record",
    stage: str | None = None,
    by: str = "sageops",
    facts: dict[str, str] | None = None,
) -> Entry:
    """A line of the log about a release."""
    return Entry(
        at=now,
        group=release.group,
        what=what,
        why=why,
        version=release.version,
        stage=stage,
        by=by,
        policy_version=release.policy_version,
        severity=severity,
        facts=facts or {},
    )


def record(
    view: View, *releases: Release, log: tuple[Entry, ...], head: Head | None = None
) -> Record:
    """Write these; whatever was claimed is settled by it."""
    return Record(replace(head or view.records.head, intent=None), releases, log)


def act(
    view: View,
    action: Action,
    release: Release | None = None,
    stage: str | None = None,
    head: Head | None = None,
) -> Act:
    """Claim `action` on the head, then do it. `release` is written with the claim, and `head`
    where more of it changes."""
    name = release.name if release is not None else view.records.head.group
    intent = Intent(type(action).__name__, name, view.now)
    claimed = replace(head or view.records.head, intent=intent)
    claim = Record(claimed, (release,) if release is not None else ())
    return Act(action, claim, release.version if release is not None else None, stage)


def to_step(view: View, release: Release, run: StageRun, step: StageStep) -> Release:
    """The release with that run at `step` as of now, and no trouble on it."""
    return untroubled(release.with_run(replace(run, step=step, since=view.now)), view.now)


def untroubled(release: Release, now: datetime) -> Release:
    """The release after something worked: the next try of anything is a first one."""
    release = replace(release, troubles=0, held_at=None, held_until=None)
    blocked = find(release.conditions, "Blocked")
    if blocked is None or not blocked.status:
        return release
    return with_condition(release, "Blocked", False, "Passed", "It works again.", now)


def stop(view: View, release: Release, run: StageRun, why: Stop) -> Record:
    """Turn back: at once where nothing was touched, else by way of undoing what was."""
    if stopped_before_it_began(run):
        return end(view, release, run, why)
    # The way back of what was live has its own time: it is not late for what it took to go live.
    begun_at = view.now if run.step == "live" else run.begun_at
    turned = to_step(view, release, replace(run, stop=why, begun_at=begun_at), "stopping")
    turned = with_condition(turned, "Live", False, why.reason, why.message, view.now)
    if find(turned.conditions, "Ended") is not None:
        # It had ended elsewhere, and what it left live is taken back now.
        turned = with_condition(turned, "Ended", False, why.reason, why.message, view.now)
    told = entry(
        view.now,
        release,
        "TakingBack",
        f"{why.message} {run.stage} is being taken back.",
        severity="alert",
        stage=run.stage,
        by=why.by,
        facts={"reason": why.reason, **why.facts},
    )
    return record(view, turned, log=(told,), head=opened(view.records.head, release.version))


def withdrawn(view: View, package: PackageSeen) -> Stop:
    """The registry no longer approves it; `view.details` says on whose word."""
    by = view.details[package.version].modified_by
    what = "rejected" if package.approval == "Rejected" else "no longer approved"
    return Stop("Rejected", "Rejected", f"The package was {what} in the registry by {by}.", by)


def turn_back(view: View, release: Release, why: Stop) -> Record:
    """Stop the release in the stage that it is in."""
    run = current_run(release)
    since = why.harm_since or run.asked_at
    return stop(view, release, run, replace(why, harm_since=since))


def opened(head: Head, *versions: int) -> Head:
    """The head with these among the open ones: a release that was live is open while it ends."""
    new = tuple(version for version in versions if version not in head.open)
    ended = {version: phase for version, phase in head.ended.items() if version not in versions}
    return replace(head, open=(*head.open, *new), ended=ended)


def unstuck(release: Release, now: datetime) -> Release:
    """The release when a stage of it is over: it is no longer late there."""
    stuck = find(release.conditions, "Stuck")
    if stuck is None or not stuck.status:
        return release
    return with_condition(release, "Stuck", False, "Over", "It has come through.", now)


def end(
    view: View,
    release: Release,
    run: StageRun,
    why: Stop,
    facts: dict[str, str] | None = None,
    head: Head | None = None,
) -> Record:
    """The release is over, for this reason; the last thing told about it."""
    # Where nothing was touched, nobody need get up for it.
    urgency: Severity = "action" if stopped_before_it_began(run) else "alert"
    over = with_condition(release, "Ended", True, why.phase, why.message, view.now)
    over = with_condition(over, "Live", False, why.phase, why.message, view.now)
    over = unstuck(to_step(view, over, replace(run, stop=why), "stopped"), view.now)
    told = entry(
        view.now,
        release,
        why.phase,
        why.message,
        severity="info" if why.phase in ("Rejected", "Aborted") else urgency,
        stage=run.stage,
        by=why.by,
        facts={"reason": why.reason, **why.facts, **(facts or {})},
    )
    return record(view, over, log=(told,), head=opened(head or view.records.head, release.version))


def go_live(view: View, release: Release, run: StageRun, promoter: str = "") -> Record:
    """A stage has baked, or a person did not want to wait for that: it is what serves now, and what
    a rollback comes back to."""
    head, now = view.records.head, view.now
    served = head.live.get(run.stage)
    before = _before(served, run, now)
    live = Live(release.version, run.config, now, before)
    head = replace(head, live={**head.live, run.stage: live}, watched_until=now + WATCH)
    moved = unstuck(to_step(view, release, run, "live"), now)
    last = run.stage == release.runs[-1].stage
    early = f" {promoter} promoted it before its bake was over." if promoter else ""
    told = entry(
        now,
        release,
        "Live" if last else "StageLive",
        f"{run.stage} serves version {release.version}.{early}",
        severity="info",
        stage=run.stage,
        by=promoter or "sageops",
        facts={"config": run.config, "replaced": run.replaced or "nothing"},
    )
    if not last:
        return record(view, moved, log=(told,), head=head)
    moved = with_condition(moved, "Live", True, "Baked", told.why, now)
    open_ = tuple(version for version in head.open if version != release.version)
    replaced = _replaced(view, served, release)
    head = opened(replace(head, open=open_), *(each.version for each in replaced))
    return record(view, moved, *replaced, log=(told,), head=head)


def _before(served: Live | None, run: StageRun, now: datetime) -> Live | None:
    """What a rollback of this stage goes back to. One step is kept: what was before that has
    been replaced by something better."""
    if served is not None and served.config == run.config:
        return served.replaced
    if served is not None and served.config == run.replaced:
        return replace(served, replaced=None)
    # An endpoint that we did not make, or that somebody changed: we know its configuration only.
    return Live(version=0, config=run.replaced, since=now) if run.replaced else None


def _replaced(view: View, served: Live | None, by: Release) -> tuple[Release, ...]:
    old = view.records.releases.get(served.version) if served is not None else None
    if old is None or old.version == by.version:
        return ()
    message = f"Replaced by version {by.version}."
    old = with_condition(old, "Live", False, "Replaced", message, view.now)
    return (with_condition(old, "Ended", True, "Superseded", message, view.now),)


def restore(view: View, stage: str) -> tuple[Head, tuple[Release, ...]]:
    """The head, and the release that is live again, after a stage went back to what it served."""
    head = view.records.head
    back = head.live[stage].replaced
    if back is None:
        return head, ()
    live = replace(back, since=view.now, restored=True)
    ended = {version: phase for version, phase in head.ended.items() if version != back.version}
    open_ = tuple(version for version in head.open if version != back.version)
    head = replace(
        head,
        live={**head.live, stage: live},
        ended=ended,
        open=open_,
        watched_until=view.now + WATCH,
    )
    old = view.records.releases.get(back.version)
    if old is None or stage != old.runs[-1].stage:
        return head, ()
    message = f"{stage} went back to version {back.version}."
    old = with_condition(old, "Ended", False, "Restored", message, view.now)
    return head, (with_condition(old, "Live", True, "Restored", message, view.now),)


def later(now: datetime, **span: float) -> datetime:
    """`now` plus a span given as for `timedelta`."""
    return now + timedelta(**span)
