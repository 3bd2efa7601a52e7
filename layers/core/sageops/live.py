"""What went live, and whether it should stay: an alarm, a person's word, a change by hand."""

from msgspec.structs import replace

from sageops.conditions import find, with_condition
from sageops.model import (
    CreateEndpoint,
    Drift,
    EndpointSeen,
    Head,
    Live,
    Record,
    Release,
    Step,
    Stop,
    Trouble,
    UpdateEndpoint,
    View,
)
from sageops.moves import (
    act,
    current_run,
    entry,
    errand,
    goes_back,
    has_ended,
    is_underway,
    later,
    opened,
    record,
    stop,
    turn_back,
    withdrawn,
)
from sageops.policy import Stage

__all__ = ["drift", "live"]


def live(view: View) -> Step | None:
    """Whether something that went live does harm, or should no longer be live."""
    for stage, served in view.records.head.live.items():
        release = view.records.releases.get(served.version)
        if release is None or _is_busy(view, stage) or not _serves(view, stage, served):
            continue
        if _turns_back(view, release):
            continue  # one stage after the other
        step = _alarm(view, stage, served, release) or _word(view, stage, served, release)
        if step is not None:
            return step
    return None


def _turns_back(view: View, release: Release) -> bool:
    """Whether the release is being taken back in some stage."""
    return _is_open(view, release) and goes_back(current_run(release))


def _is_open(view: View, release: Release) -> bool:
    return release.version in view.records.head.open and not has_ended(release)


def _serves(view: View, stage: str, live: Live) -> bool:
    seen = view.endpoints.get(stage)
    if seen is None or isinstance(seen, Trouble):
        return False
    return seen.status == "InService" and seen.config == live.config


def _alarm(view: View, stage: str, live: Live, release: Release) -> Step | None:
    firing = [
        each for each in view.alarms.get(stage, ()) if each.firing and each.since > live.since
    ]
    if not firing:
        return None
    alarm = firing[0]
    message = f"Alarm {alarm.name} fired after it went live: {alarm.reason}"
    if live.replaced is not None:
        since = max(live.since, later(alarm.since, minutes=-15))
        why = Stop("RolledBack", "AlarmAfterLive", message, harm_since=since)
        if _is_open(view, release) and is_underway(release):
            return turn_back(view, release, replace(why, harm_since=None))
        return stop(view, release, release.run(stage), why)
    news = [each for each in firing if live.warned_of is None or each.since > live.warned_of]
    if not news:
        return None
    alarm = max(news, key=lambda each: each.since)
    message = f"Alarm {alarm.name} fired after it went live: {alarm.reason}"
    head = view.records.head
    head = replace(head, live={**head.live, stage: replace(live, warned_of=alarm.since)})
    message = f"{message} There is no better version known to go back to: please look."
    told = entry(view.now, release, "AlarmAfterLive", message, severity="alert", stage=stage)
    return record(view, log=(told,), head=head)


def _word(view: View, stage: str, live: Live, release: Release) -> Step | None:
    """Production serves no package that is not approved, and nothing that was aborted."""
    if stage != release.runs[-1].stage:
        return None
    why = _against(view, release)
    if why is None:
        return None
    if live.replaced is None:
        return _stuck_with(view, release, stage, why)
    # CloudWatch keeps the figures of single minutes for 15 days.
    why = replace(why, harm_since=max(live.since, later(view.now, days=-15)))
    return stop(view, release, release.run(stage), why)


def _against(view: View, release: Release) -> Stop | None:
    """A person's word by which this version should not be served."""
    package = view.packages.get(release.version)
    wish = view.records.wishes.get(release.version)
    if package is not None and package.approval != "Approved":
        return withdrawn(view, package)
    if wish is not None and wish.aborted is not None:
        return Stop("Aborted", "Aborted", f"{wish.aborted.by} rolled it back.", wish.aborted.by)
    return None


def _stuck_with(view: View, release: Release, stage: str, why: Stop) -> Record | None:
    message = (
        f"{why.message} There is no better version known to go back to: approve another, "
        f"or delete the endpoint of {stage} yourself."
    )
    told_before = find(release.conditions, "Blocked")
    if told_before is not None and told_before.status and told_before.message == message:
        return None
    stuck = with_condition(release, "Blocked", True, "NothingToGoBackTo", message, view.now)
    told = entry(view.now, release, "Blocked", message, severity="alert", stage=stage, by=why.by)
    return record(view, stuck, log=(told,))


# ---------------------------------------------------------------- changed by hand


def drift(view: View) -> Step | None:
    """Whether a stage serves something else than what went live there, with nothing of ours under
    way: people are told, and it is corrected or adopted where the policy says so."""
    for name, live in view.records.head.live.items():
        release = view.records.releases.get(live.version)
        stage = _stage(view, release, name)
        seen = view.endpoints.get(name, _UNSEEN)
        if release is None or stage is None or isinstance(seen, Trouble) or _is_busy(view, name):
            continue
        if seen is not None and seen.status != "InService":
            continue
        step = _drifted(view, release, stage, live, seen)
        if step is not None:
            return step
    return None


_UNSEEN = Trouble("missing", "", "", "", "")


def _stage(view: View, release: Release | None, name: str) -> Stage | None:
    """The stage under the policy that the release was admitted with."""
    policy = view.records.policies.get(release.policy_version) if release is not None else None
    stages = policy.stages if policy is not None else ()
    return next((stage for stage in stages if stage.name == name), None)


def _is_busy(view: View, name: str) -> bool:
    """Whether a release has the stage's endpoint in its hands."""
    unended = (view.records.releases[version] for version in view.records.head.open)
    runs = [current_run(each) for each in unended if not has_ended(each) and is_underway(each)]
    return any(run.stage == name for run in runs)


def _drifted(
    view: View, release: Release, stage: Stage, live: Live, seen: EndpointSeen | None
) -> Step | None:
    config = seen.config if seen is not None else ""
    if config == live.config:
        return _is_back(view, release, stage, live)
    if live.drift is None or live.drift.config != config:
        return _tell(view, release, stage, live, config)
    match stage.drift:
        case "correct" if _why_not(view, release) is None:
            return _correct(view, release, stage, live, live.drift, seen)
        case "adopt" if seen is not None:
            return _adopt(view, release, stage, live, seen)
        case _:
            return None


def _tell(view: View, release: Release, stage: Stage, live: Live, config: str) -> Record:
    now_ = f"serves {config}" if config else "is gone"
    against = _why_not(view, release)
    then = {
        "tell": "It is left as it is: the policy's `drift` says tell.",
        "correct": "It is brought back." if against is None else f"That stays: {against.message}",
        "adopt": "It is taken for what is wanted." if config else "It is left as it is.",
    }[stage.drift]
    message = (
        f"{stage.target.endpoint} was changed by hand: it {now_} instead of {live.config}. {then}"
    )
    told = entry(
        view.now,
        release,
        "Drifted",
        message,
        severity="alert",
        stage=stage.name,
        facts={"wanted": live.config, "found": config or "nothing"},
    )
    marked = with_condition(release, "Drifted", True, "ChangedByHand", message, view.now)
    return record(view, marked, log=(told,), head=_with(view, stage, live, Drift(config)))


def _why_not(view: View, release: Release) -> Stop | None:
    """What speaks against bringing it back: a person's word, or that it was stopped, there or in
    another stage, and serves for want of a better one."""
    stopped = (run.stop for run in release.runs if run.stop is not None)
    return _against(view, release) or next(stopped, None)


def _is_back(view: View, release: Release, stage: Stage, live: Live) -> Record | None:
    if live.drift is None:
        return None
    message = f"{stage.target.endpoint} serves {live.config} again."
    told = entry(view.now, release, "DriftEnded", message, severity="info", stage=stage.name)
    marked = with_condition(release, "Drifted", False, "Back", message, view.now)
    return record(view, marked, log=(told,), head=_with(view, stage, live, None))


def _correct(  # noqa: PLR0913 - what is so, and what should be
    view: View,
    release: Release,
    stage: Stage,
    live: Live,
    known: Drift,
    seen: EndpointSeen | None,
) -> Step | None:
    if known.gave_up or (release.held_until is not None and view.now < release.held_until):
        return None
    modified_at = seen.modified_at if seen is not None else None
    if known.asked and modified_at != known.asked_seen:
        why = seen.failure_reason if seen is not None else "the endpoint is gone again."
        message = f"{stage.name} could not be brought back to {live.config}: {why}"
        told = entry(
            view.now, release, "CorrectionFailed", message, severity="alert", stage=stage.name
        )
        over = replace(known, gave_up=True)
        return record(view, log=(told,), head=_with(view, stage, live, over))
    where = errand(release, release.run(stage.name), stage)
    asked = replace(known, asked=True, asked_seen=modified_at)
    if seen is None:
        back: CreateEndpoint | UpdateEndpoint = CreateEndpoint(where, live.config)
    else:
        back = UpdateEndpoint(where, live.config, None)
    return act(view, back, release, stage.name, _with(view, stage, live, asked))


def _adopt(view: View, release: Release, stage: Stage, live: Live, seen: EndpointSeen) -> Record:
    """What somebody put there is what a rollback goes back to from now on."""
    message = f"{stage.name} serves {seen.config}, which somebody put there, and that is adopted."
    told = entry(view.now, release, "Adopted", message, severity="info", stage=stage.name)
    taken = Live(0, seen.config, view.now, replace(live, replaced=None, drift=None))
    head = _with(view, stage, taken, None)
    if stage.name != release.runs[-1].stage or release.version in head.open:
        return record(view, release, log=(told,), head=head)
    over = with_condition(release, "Live", False, "ChangedByHand", message, view.now)
    over = with_condition(over, "Ended", True, "Superseded", message, view.now)
    return record(view, over, log=(told,), head=opened(head, release.version))


def _with(view: View, stage: Stage, live: Live, drift_: Drift | None) -> Head:
    head = view.records.head
    return replace(head, live={**head.live, stage.name: replace(live, drift=drift_)})
