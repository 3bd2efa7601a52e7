"""What to do next for one model group: a pure function of one look at it.

`plan` asks one question after the other, most urgent first, and the first answer is the step.
Every question is answered from what is stored and what the world shows, never from the event
that caused the look, so that lost, repeated, late and reordered events change nothing.
"""

from datetime import timedelta

from msgspec.structs import replace

from sageops.advance import advance, pin
from sageops.conditions import find, phase, with_condition
from sageops.lifecycle import heard, label, said_before, show, unheard
from sageops.live import drift, live
from sageops.model import (
    Approval,
    Entry,
    Idle,
    PackageSeen,
    Record,
    Records,
    Release,
    StageRun,
    StartPipeline,
    Step,
    Stop,
    Trouble,
    View,
    Wait,
)
from sageops.moves import (
    act,
    current_run,
    entry,
    goes_back,
    has_ended,
    is_paused,
    is_underway,
    later,
    record,
    turn_back,
    withdrawn,
)
from sageops.names import training_token
from sageops.retire import forget, keep, leftover, retire
from sageops.strategies import longest

__all__ = ["LEASE", "candidates", "plan", "to_describe"]

# How long a claimed step is left to the worker that claimed it: longer than a function may run.
LEASE = timedelta(seconds=150)
_TRAINING_LOOK_MINUTES = 10
# How often a live stage is tried again that cannot be looked at.
_UNSEEN_MINUTES = 15


def plan(view: View) -> Step:
    """The one next step for the group."""
    at_it = _somebody_is_at_it(view)
    if at_it is not None:
        return at_it
    step = (
        _admission(view)
        or _registry(view)
        or _said(view)
        or _wishes(view)
        or live(view)
        or _pinning(view)
        or _turns(view)
        or _overdue(view)
        or _next(view)
    )
    if isinstance(step, Wait | Idle):
        # What no release waits for, so that its troubles hold none up.
        return (
            _closing(view)
            or _labels(view)
            or drift(view)
            or _training(view)
            or _watched(view)
            or retire(view)
            or step
        )
    return step


def candidates(records: Records, packages: tuple[PackageSeen, ...]) -> tuple[PackageSeen, ...]:
    """The versions that are to become releases: new ones, and rejected ones approved after all."""
    found = (package for package in packages if _is_candidate(records, package))
    return tuple(sorted(found, key=lambda package: package.version))


def _is_candidate(records: Records, package: PackageSeen) -> bool:
    if package.version in records.releases and package.version not in records.head.ended:
        return False
    ended = records.head.ended.get(package.version)
    match package.approval:
        case "Approved":
            fresh = ended is None and package.version not in records.spec.approved_before
            return fresh or ended == "Rejected"
        case "PendingManualApproval":
            return ended is None and package.version not in records.spec.known_before
        case "Rejected":
            return False


def to_describe(records: Records, packages: tuple[PackageSeen, ...]) -> tuple[PackageSeen, ...]:
    """The versions whose details a look needs: those to admit, and those of which something that
    somebody said is news."""
    news = tuple(
        package
        for package in packages
        if (release := records.releases.get(package.version)) is not None
        and package.version != leftover(records.head)
        and (package.approval != _known_approval(release) or unheard(release, package))
    )
    return candidates(records, packages) + news


def _known_approval(release: Release) -> Approval:
    return "PendingManualApproval" if release.approved_at is None else "Approved"


# ---------------------------------------------------------------- the questions, in their order


def _somebody_is_at_it(view: View) -> Step | None:
    intent = view.records.head.intent
    if intent is None:
        return None
    if view.now < intent.at + LEASE:
        return Wait(intent.at + LEASE, f"{intent.action} of {intent.release} is under way")
    # What came of it is found by looking, and may never be told again: it had its effect, or not.
    why = f"{intent.action} of {intent.release} was begun and not recorded: its worker is gone."
    named = (each for each in view.records.releases.values() if each.name == intent.release)
    release = next(named, None)
    if release is None:
        told = Entry(view.now, view.records.head.group, "Interrupted", why)
    else:
        told = entry(view.now, release, "Interrupted", why, stage=current_run(release).stage)
    return record(view, log=(told,))


def _training(view: View) -> Step | None:
    head, wanted = view.records.head, view.records.spec.training_wanted
    run, seen = head.training, view.training
    if run is not None and not run.ended:
        if seen is None or seen.status in ("Executing", "Stopping"):
            return None
        over = replace(head, training=replace(run, ended=seen.status))
        return record(
            view, log=(_training_entry(view, seen.status, seen.failure_reason),), head=over
        )
    current = view.records.policies.get(view.records.spec.policy_version)
    policy = current.training if current is not None else None
    if policy is None or wanted is None or (run is not None and run.wanted >= wanted):
        return None
    token = training_token(head.group, wanted.isoformat())
    return act(view, StartPipeline(policy.pipeline, token))


def _training_entry(view: View, status: str, reason: str) -> Entry:
    match status:
        case "Succeeded":
            what, why, severity = "TrainingSucceeded", "The training pipeline succeeded.", "record"
        case "Stopped":
            what, why, severity = "TrainingStopped", "Somebody stopped the training.", "info"
        case _:
            what, why, severity = "TrainingFailed", reason or f"It ended as {status}.", "action"
    return Entry(view.now, view.records.head.group, what, why, severity=severity)  # type: ignore[arg-type]


def _admission(view: View) -> Step | None:
    if view.records.spec.policy_version not in view.records.policies:
        return None
    for package in candidates(view.records, tuple(view.packages.values())):
        return _admit(view, package)
    return None


def _admit(view: View, package: PackageSeen) -> Record:
    records, detail = view.records, view.details[package.version]
    policy = records.policies[records.spec.policy_version]
    approved = package.approval == "Approved"
    release = Release(
        group=records.head.group,
        version=package.version,
        package_arn=package.arn,
        policy_version=records.spec.policy_version,
        admitted_at=view.now,
        detail=detail,
        runs=tuple(StageRun(stage.name) for stage in policy.stages),
        approved_at=view.now if approved else None,
        label=said_before(detail.life_cycle),
    )
    message = (
        f"Approved in the registry by {detail.modified_by}."
        if approved
        else "Waits for somebody to approve or reject it in the registry."
    )
    reason = "Approved" if approved else "PendingManualApproval"
    release = with_condition(release, "Approved", approved, reason, message, view.now)
    told = entry(
        view.now,
        release,
        "Approved" if approved else "Registered",
        message,
        severity="info" if approved else "action",
        by=detail.modified_by,
        facts={metric.name: f"{metric.value:.4g}" for metric in detail.metrics},
    )
    ended = {k: v for k, v in records.head.ended.items() if k != package.version}
    head = replace(records.head, open=(*records.head.open, package.version), ended=ended)
    # What an earlier life of it has left, this one may make use of.
    return record(view, release, log=(told,), head=forget(head, package.version))


def _registry(view: View) -> Step | None:
    for release in _running(view):
        package = view.packages.get(release.version)
        approved = release.approved_at is not None
        if package is None:
            why = Stop("Failed", "PackageDeleted", "The package is gone from the registry.")
            return turn_back(view, release, why)
        if package.approval == "Approved" and not approved:
            return _approve(view, release)
        if package.approval == "Rejected" or (approved and package.approval != "Approved"):
            return turn_back(view, release, withdrawn(view, package))
    return None


def _approve(view: View, release: Release) -> Record:
    detail = view.details[release.version]
    message = f"Approved in the registry by {detail.modified_by}."
    release = with_condition(release, "Approved", True, "Approved", message, view.now)
    release = replace(release, approved_at=view.now, detail=detail)
    told = entry(view.now, release, "Approved", message, severity="info", by=detail.modified_by)
    return record(view, release, log=(told,))


def _said(view: View) -> Step | None:
    return next(filter(None, (heard(view, release) for release in _running(view))), None)


def _wishes(view: View) -> Step | None:
    for release in _running(view):
        wish = view.records.wishes.get(release.version)
        if wish is not None and wish.aborted is not None:
            by = wish.aborted.by
            reason = f": {wish.aborted.why}" if wish.aborted.why else "."
            return turn_back(
                view, release, Stop("Aborted", "Aborted", f"{by} aborted it{reason}", by)
            )
        paused = find(release.conditions, "Paused")
        word = wish.paused if wish is not None else None
        if word is not None and (paused is None or not paused.status):
            message = f"Paused by {word.by}; nothing new is begun until it is resumed."
            return _pause(view, release, True, word.by, message)
        if word is None and paused is not None and paused.status:
            resumed = wish.resumed if wish is not None else None
            by = resumed.by if resumed is not None else "sageops"
            return _pause(view, release, False, by, f"Resumed by {by}.")
    return None


def _pause(view: View, release: Release, paused: bool, by: str, message: str) -> Record:
    what = "Paused" if paused else "Resumed"
    release = with_condition(release, "Paused", paused, what, message, view.now)
    told = entry(view.now, release, what, message, severity="info", by=by)
    return record(view, release, log=(told,))


def _closing(view: View) -> Step | None:
    """A release that has ended leaves the open ones when the registry shows its end."""
    for release in _open(view):
        if not has_ended(release):
            continue
        if release.label != label(release):
            return show(view, release)
        head = view.records.head
        open_ = tuple(version for version in head.open if version != release.version)
        ended = {**head.ended, release.version: phase(release.conditions)}
        closed = replace(head, open=open_, ended=ended)
        return record(view, log=(), head=keep(view, release, closed))
    return None


def _labels(view: View) -> Step | None:
    for release in view.records.releases.values():
        if release.version not in view.records.head.ended and release.label != label(release):
            return show(view, release)
    return None


def _pinning(view: View) -> Step | None:
    """What was approved is pinned at once, though its turn may come later."""
    for release in _by_approval(view):
        if release.artifact is None and (
            release.held_until is None or view.now >= release.held_until
        ):
            return pin(view, release)
    return None


def _watched(view: View) -> Step | None:
    """What went live has been watched long enough."""
    until = view.records.head.watched_until
    if until is None or view.now < until:
        return None
    return record(view, log=(), head=replace(view.records.head, watched_until=None))


def _turns(view: View) -> Step | None:
    """One at a time, the newest approval next; an older one that never went live gives way."""
    approved = _by_approval(view)
    for release in approved[:-1]:
        if not is_underway(release):
            message = f"Version {approved[-1].version} was approved after it, before it went live."
            over = with_condition(release, "Ended", True, "Superseded", message, view.now)
            told = entry(view.now, release, "Superseded", message, severity="info")
            return record(view, over, log=(told,))
    return None


def _overdue(view: View) -> Step | None:
    """A release that has been on its way through a stage for longer than it should."""
    for release in _open(view):
        run = current_run(release)
        stuck = find(release.conditions, "Stuck")
        policy = view.records.policies.get(release.policy_version)
        if run.begun_at is None or policy is None or (stuck is not None and stuck.status):
            continue
        if has_ended(release) or is_paused(release):
            continue
        allowed = longest(policy.stage(run.stage))
        if view.now < run.begun_at + allowed:
            continue
        blocked = find(release.conditions, "Blocked")
        because = blocked.message if blocked is not None and blocked.status else ""
        message = f"{run.stage} has taken longer than {allowed}, and is {run.step}. {because}"
        marked = with_condition(release, "Stuck", True, "Overdue", message.strip(), view.now)
        told = entry(view.now, release, "Stuck", message.strip(), severity="alert", stage=run.stage)
        return record(view, marked, log=(told,))
    return None


def _next(view: View) -> Step:
    # What is under way comes before what waits for its turn: `_turns` leaves no other order.
    for release in _by_approval(view):
        return advance(view, release)
    training = view.records.head.training
    if training is not None and not training.ended:
        return Wait(later(view.now, minutes=_TRAINING_LOOK_MINUTES), "training runs")
    for stage, served in view.records.head.live.items():
        held = view.records.releases.get(served.version)
        if served.drift is not None and held is not None and held.held_until is not None:
            if view.now < held.held_until:
                return Wait(held.held_until, f"{stage}: trying again later to bring it back")
        seen = view.endpoints.get(stage)
        if isinstance(seen, Trouble):
            # An alarm or a person's word on what is live would be lost on us.
            return Wait(later(view.now, minutes=_UNSEEN_MINUTES), f"{stage}: {seen.message}")
    return Idle("nothing is wanted that is not so")


# ---------------------------------------------------------------- which releases


def _open(view: View) -> list[Release]:
    head = view.records.head
    return [view.records.releases[version] for version in head.open]


def _running(view: View) -> list[Release]:
    """Open releases that neither have ended nor are on their way back."""
    return [
        release
        for release in _open(view)
        if not has_ended(release) and not goes_back(current_run(release))
    ]


def _by_approval(view: View) -> list[Release]:
    """Approved releases that have not ended, the oldest approval first."""
    unended = (release for release in _open(view) if not has_ended(release))
    approved = ((each.approved_at, each.version) for each in unended if each.approved_at)
    return [view.records.releases[version] for _, version in sorted(approved)]
