"""The endpoint on its way to the new version: compared in a shadow, step by step beside the
present one, or by SageMaker's own guardrails.

Every function here is asked what to do next with what the endpoint shows now; an effect that got
lost is seen to be missing and had again.
"""

from datetime import timedelta

from msgspec.structs import replace

from sageops.back import count
from sageops.comparison import figures
from sageops.conditions import is_undecided, with_condition
from sageops.model import (
    CreateEndpoint,
    CreateTrial,
    EndpointSeen,
    Entry,
    PutAlarms,
    Record,
    Release,
    Severity,
    ShiftTraffic,
    Smoke,
    StageRun,
    StageStep,
    Step,
    Stop,
    Trouble,
    UpdateEndpoint,
    View,
    Wait,
)
from sageops.moves import (
    act,
    entry,
    errand,
    is_paused,
    later,
    look_again,
    record,
    stop,
    to_step,
    untroubled,
)
from sageops.names import BESIDE, SHADOW, trial_name
from sageops.policy import Evidence, Progressive, Shadow, Stage
from sageops.preflight import downgraded, preflight
from sageops.seeing import BUSY, firing, out_of_order, served, share, was_tried
from sageops.settle import hold
from sageops.strategies import after_mirroring, deployment, progressive, waits
from sageops.strategies.trial import GoBack, GoOn, StayFor, Trial, look
from sageops.watch import alarm_names, alarm_specs, comparison, verdict

__all__ = ["changed", "deploy", "mirror", "promoted_by", "refused", "shift"]

# How often the evidence is looked at: as often as it changes.
_JUDGED_MINUTES = 1
# While a person is to decide: the evidence may do so yet.
_HELD_MINUTES = 5
# A failure with this reason is SageMaker's own, and the same configuration may be tried again.
_SERVICE_FAILURE = "Request to service failed"


# ---------------------------------------------------------------- beside the present version


def mirror(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    """Mirror some of the requests to the new version until it is known to be no worse."""
    shadow = stage.shadow
    seen = view.endpoints[stage.name]
    if shadow is None or _has_nothing_beside(run, seen):
        return _uncompared(view, release, run, after_mirroring(stage))
    step = _to_trial(view, release, run, stage, shadow)
    if step is not None:
        return step
    if run.compared_since is None:
        mirrored = replace(run, since=view.now, compared_since=view.now)
        why = f"{shadow.percent} % of the requests are mirrored to it; nobody gets its answers."
        told = entry(view.now, release, "Mirroring", why, stage=stage.name)
        return record(view, release.with_run(mirrored), log=(told,))
    found = _look(view, release, run, stage, timedelta(minutes=shadow.minutes), 0)
    if not isinstance(found, GoOn):
        return _act_on(view, release, run, stage, found)
    passed = replace(run, compared_since=None)
    told = _promoted(view, release, run, found) or entry(
        view.now, release, "ShadowPassed", f"{found.why}.", severity="info", stage=stage.name
    )
    return record(view, to_step(view, release, passed, after_mirroring(stage)), log=(told,))


def shift(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    """Give the new version a larger share of the requests, step by step."""
    rollout = stage.rollout
    seen = view.endpoints[stage.name]
    if not isinstance(rollout, Progressive) or _has_nothing_beside(run, seen):
        return _uncompared(view, release, run, "deploying")
    step = _to_trial(view, release, run, stage, rollout)
    if step is not None:
        return step
    if isinstance(seen, EndpointSeen) and share(seen) != run.share:
        # Asked for and not had, or changed by somebody else: it is as the evidence allows.
        return act(view, ShiftTraffic(errand(release, run, stage), run.share), release, run.stage)
    if not run.share:
        return _first_share(view, release, run, stage, rollout)
    if run.since is None:
        why = f"{run.share} % of the requests are its own."
        begun = replace(run, since=view.now, compared_since=run.compared_since or view.now)
        told = entry(
            view.now,
            release,
            "Shifted",
            why,
            severity="info",
            stage=stage.name,
            facts={"share": str(run.share)},
        )
        return record(view, release.with_run(begun), log=(told,))
    found = _look(view, release, run, stage, timedelta(minutes=rollout.step_minutes), run.share)
    if not isinstance(found, GoOn):
        return _act_on(view, release, run, stage, found)
    following = progressive.following(rollout, run.share)
    promoted = _promoted(view, release, run, found)
    told = promoted or entry(view.now, release, "StepPassed", f"{found.why}.", stage=stage.name)
    if following is None or promoted is not None:
        ended = replace(run, compared_since=None)
        return record(view, to_step(view, release, ended, "deploying"), log=(told,))
    moved = to_step(view, release, run, "shifting")
    moved = moved.with_run(replace(run, share=following, since=None))
    return record(view, moved, log=(told,))


def _first_share(
    view: View, release: Release, run: StageRun, stage: Stage, rollout: Progressive
) -> Step:
    if is_paused(release):
        return look_again(view, f"{release.name} is paused in {stage.name}")
    if stage.checks.smoke and not run.smoked:
        # Before the first request of a user is its own.
        smoke = Smoke(errand(release, run, stage), stage.checks.smoke, BESIDE)
        return act(view, smoke, release, run.stage)
    first = replace(run, share=progressive.following(rollout, 0) or 100, since=None)
    return record(view, release.with_run(first), log=())


def _has_nothing_beside(run: StageRun, seen: EndpointSeen | Trouble | None) -> bool:
    """Whether there is nothing that the new version could be compared with."""
    if seen is None:
        return run.asked_at is None
    return isinstance(seen, EndpointSeen) and seen.config == run.config


def _uncompared(view: View, release: Release, run: StageRun, step: StageStep) -> Record:
    why = "It is compared with nothing: no other version serves there."
    told = entry(view.now, release, "NotCompared", why, stage=run.stage)
    return record(view, to_step(view, release, run, step), log=(told,))


def _to_trial(
    view: View, release: Release, run: StageRun, stage: Stage, how: Shadow | Progressive
) -> Step | None:
    """The next step until the endpoint serves both versions; None when it does."""
    seen = view.endpoints[stage.name]
    if seen is None:
        return changed(view, release, run, seen)
    if isinstance(seen, Trouble):
        return hold(view, release, run, seen)
    if seen.status in BUSY:
        return _rolling_out(view, release, run, stage, seen)
    if seen.status != "InService":
        return hold(view, release, run, out_of_order(stage, seen))
    beside = SHADOW if isinstance(how, Shadow) else BESIDE
    present = seen.config if seen.config not in run.trials else run.replaced
    trial = trial_name(run.config, present, beside)
    if seen.config == trial:
        return None
    if was_tried(run, trial, seen):
        return _tried_in_vain(view, release, run, stage, seen)
    if run.share or run.compared_since is not None:
        return changed(view, release, run, seen)
    if is_paused(release):
        return look_again(view, f"{release.name} is paused in {stage.name}")
    against = refused(view, release, run, stage, seen)
    if against is not None:
        return against
    where = errand(release, run, stage)
    if run.trials[-1:] != (trial,):
        mirrored = how.percent if isinstance(how, Shadow) else 0
        both = CreateTrial(where, trial, present, beside, run.config, stage.serving, mirrored)
        return act(view, both, release, run.stage)
    if run.alarmed != trial:
        return act(view, PutAlarms(where, alarm_specs(trial, stage, beside)), release, run.stage)
    asked = _asked(view, run, trial, seen)
    update = UpdateEndpoint(where, trial, None, as_many=True)
    return act(view, update, release.with_run(asked), run.stage)


def _look(
    view: View, release: Release, run: StageRun, stage: Stage, allowed: timedelta, share_: int
) -> GoOn | GoBack | StayFor:
    alarm = firing(view.alarms.get(stage.name, ()))
    if alarm is not None:
        return GoBack("AlarmFired", f"Alarm {alarm.name} fired: {alarm.reason}")
    since = run.since or view.now
    whole = verdict(view, run, stage)
    trial = Trial(
        whole=whole,
        # The first step is the whole so far: the same minutes are not judged twice.
        step=whole if since == run.compared_since else verdict(view, run, stage, since),
        share=share_,
        passed=view.now - since,
        allowed=allowed,
        undecided=(stage.checks.evidence or Evidence()).undecided,
        paused=is_paused(release),
        promoted_by=promoted_by(view, release, run),
    )
    return look(trial)


def promoted_by(view: View, release: Release, run: StageRun) -> str:
    """Who wants the stage to go on without waiting any longer; empty when nobody does."""
    wish = view.records.wishes.get(release.version)
    word = wish.promoted.get(run.stage) if wish is not None else None
    if word is None or run.asked_at is None or word.at < run.asked_at:
        return ""
    return word.by


def _promoted(view: View, release: Release, run: StageRun, found: GoOn) -> Entry | None:
    """The entry of a stage that goes on because a person wants it to."""
    by = promoted_by(view, release, run)
    if not by:
        return None
    why = f"{found.why}."
    return entry(view.now, release, "Promoted", why, severity="info", stage=run.stage, by=by)


def _act_on(
    view: View, release: Release, run: StageRun, stage: Stage, found: GoBack | StayFor
) -> Step:
    if isinstance(found, GoBack):
        facts = figures(verdict(view, run, stage)) if found.reason == "Regressed" else {}
        why_back = Stop("RolledBack", found.reason, found.why, harm_since=run.asked_at)
        return stop(view, release, run, replace(why_back, facts=facts))
    why = f"{found.why} on {stage.target.endpoint}/v{release.version}"
    if found.person and not is_undecided(release):
        message = f"{stage.name} waits for a person: {why}."
        # What it was blocked by before has passed, or there would be no verdict.
        asked = untroubled(release.with_run(replace(run, decision_asked_at=view.now)), view.now)
        held = with_condition(asked, "Blocked", True, "Undecided", message, view.now)
        severity: Severity = "record" if _asked_before(run) else "action"
        told = entry(view.now, release, "Undecided", message, severity=severity, stage=stage.name)
        return record(view, held, log=(told,))
    minutes = _HELD_MINUTES if found.person else _JUDGED_MINUTES
    return Wait(later(view.now, minutes=minutes), f"{release.name} in {stage.name}: {why}")


def _asked_before(run: StageRun) -> bool:
    """Whether people were asked to decide on this step before some trouble came between."""
    asked = run.decision_asked_at
    return asked is not None and run.since is not None and asked >= run.since


# ---------------------------------------------------------------- in the place of the present one


def deploy(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    """Create the endpoint, or let SageMaker update it to the new version's configuration."""
    seen = view.endpoints[stage.name]
    where = errand(release, run, stage)
    if isinstance(seen, Trouble):
        return hold(view, release, run, seen)
    if seen is None:
        asked = replace(
            run, asked_at=run.asked_at or view.now, asked_for=run.config, asked_seen=None
        )
        return act(view, CreateEndpoint(where, run.config), release.with_run(asked), stage.name)
    if seen.status == "Failed" and run.asked_at is not None:
        return stop(view, release, run, _failed(run, seen))
    if seen.status in BUSY:
        return _rolling_out(view, release, run, stage, seen)
    if seen.status != "InService":
        return hold(view, release, run, out_of_order(stage, seen))
    if seen.config == run.config:
        return _deployed(view, release, run, stage, seen)
    if was_tried(run, run.config, seen):
        return _tried_in_vain(view, release, run, stage, seen)
    if is_paused(release):
        return look_again(view, f"{release.name} is paused in {stage.name}")
    against = refused(view, release, run, stage, seen)
    if against is not None:
        return against
    guardrail = deployment(stage.rollout, alarm_names(run.config, stage))
    asked = replace(_asked(view, run, run.config, seen), compared_since=view.now)
    update = UpdateEndpoint(where, run.config, guardrail)
    return act(view, update, release.with_run(asked), stage.name)


def refused(
    view: View, release: Release, run: StageRun, stage: Stage, seen: EndpointSeen | None
) -> Record | None:
    """What speaks against it: held while it may pass, the end of the release if it cannot."""
    against = preflight(stage, release.detail, seen)
    final = next((each for each in against if not each.passes), None)
    if final is not None:
        why = Stop("Failed", "PreflightRefused", f"{final.message} Accepted: {final.accepted}")
        return stop(view, release, run, why)
    for each in against:
        trouble = Trouble(
            "missing",
            stage.target.account,
            f"Preflight of {stage.name}",
            each.message,
            f"Accepted: {each.accepted}",
        )
        return hold(view, release, run, trouble)
    return None


def _deployed(
    view: View, release: Release, run: StageRun, stage: Stage, seen: EndpointSeen
) -> Record:
    told = entry(view.now, release, "Deployed", served(seen), stage=stage.name)
    otherwise = downgraded(stage.rollout, seen) if run.asked_for == run.config else ""
    if not otherwise or not run.replaced:
        return record(view, to_step(view, release, run, "checking"), log=(told,))
    minutes = waits(stage.rollout)
    why = f"{otherwise} The {minutes} minutes of watching are made up for in the bake."
    warned = entry(view.now, release, "Downgraded", why, severity="alert", stage=stage.name)
    unwatched = replace(run, unwatched_minutes=minutes)
    return record(view, to_step(view, release, unwatched, "checking"), log=(told, warned))


def _asked(view: View, run: StageRun, config: str, seen: EndpointSeen) -> StageRun:
    """The run as it is claimed with an update to `config`."""
    return replace(
        run,
        asked_at=run.asked_at or view.now,
        asked_for=config,
        asked_seen=seen.modified_at,
        replaced=run.replaced if seen.config in run.trials else seen.config,
    )


def _rolling_out(
    view: View, release: Release, run: StageRun, stage: Stage, seen: EndpointSeen
) -> Step:
    """SageMaker moves the traffic. Where the policy wants evidence, the fleets are compared."""
    moving = f"{release.name}: {stage.name} is {seen.status}"
    if comparison(run, stage) is None:
        return look_again(view, moving)
    soon = later(view.now, minutes=_JUDGED_MINUTES)
    if seen.pending != run.config:
        return Wait(soon, moving)
    found = verdict(view, run, stage)
    if found.ruling == "regressed":
        why = Stop("RolledBack", "Regressed", found.sentence, harm_since=run.asked_at)
        return stop(view, release, run, replace(why, facts=figures(found)))
    return Wait(soon, f"{moving}; {found.ruling}: {found.message}")


def _tried_in_vain(
    view: View, release: Release, run: StageRun, stage: Stage, seen: EndpointSeen
) -> Step:
    """The silent rollback: InService again, on the old configuration, with a reason."""
    if seen.failure_reason.startswith(_SERVICE_FAILURE):
        trouble = Trouble(
            "transient",
            stage.target.account,
            "sagemaker:UpdateEndpoint",
            seen.failure_reason,
            "It is tried again.",
        )
        untouched = seen.config not in run.trials
        again = replace(
            run, asked_for="", asked_seen=None, asked_at=None if untouched else run.asked_at
        )
        return hold(view, release.with_run(again), again, trouble)
    alarm = firing(view.alarms.get(run.stage, ()))
    because = f"alarm {alarm.name} fired" if alarm else "the update failed"
    said = f" SageMaker says: {seen.failure_reason}" if seen.failure_reason else ""
    message = f"SageMaker rolled {run.stage} back: {because}.{said}"
    reason = "AlarmFired" if alarm else "UpdateFailed"
    why = Stop("RolledBack", reason, message, harm_since=run.asked_at)
    if seen.config in run.trials:
        return stop(view, release, run, why)
    return count(view, release, replace(run, stop=why), seen)


def changed(view: View, release: Release, run: StageRun, seen: EndpointSeen | None) -> Record:
    """Somebody else has put something in the place of ours."""
    message = f"{run.stage} was changed behind our back: {served(seen)}."
    return stop(view, release, run, Stop("Failed", "EndpointChanged", message))


def _failed(run: StageRun, seen: EndpointSeen) -> Stop:
    message = f"The endpoint could not be created: {seen.failure_reason or seen.status}"
    return Stop("Failed", "CreateFailed", message, harm_since=run.asked_at)
