"""What follows from a step: from its outcome, or from the trouble that it met."""

from datetime import datetime

from msgspec.structs import replace

from sageops.conditions import find, with_condition
from sageops.model import (
    Act,
    Copied,
    CopyArtifact,
    CountHarm,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    CreateTrial,
    DeleteEndpoint,
    Done,
    Entry,
    Harmed,
    LabelPackage,
    Outcome,
    PinArtifact,
    Pinned,
    Pulled,
    PullImage,
    PutAlarms,
    Record,
    Registered,
    RegisterPackage,
    Release,
    Retire,
    ShiftTraffic,
    SignalStop,
    Smoke,
    Smoked,
    StageRun,
    StageStep,
    Started,
    Stop,
    Training,
    Trouble,
    Underway,
    UpdateEndpoint,
    View,
)
from sageops.moves import (
    current_run,
    end,
    entry,
    later,
    record,
    registers,
    restore,
    stop,
    to_step,
    untroubled,
)
from sageops.names import copies_image
from sageops.retire import another_day
from sageops.strategies import after_alarming

__all__ = ["after", "hold", "troubled"]

# Between tries: a minute, doubled each time, up to a quarter of an hour.
_LONGEST_HOLD_MINUTES = 15
# A trouble that should pass is told to people when it has lasted this many tries.
_TRIES_BEFORE_TELLING = 5
_LOOK_SECONDS = 60


def after(view: View, act: Act, outcome: Outcome) -> Record:
    """What to record now that the action was done. `view` holds the claim as it was stored."""
    if act.version is None:
        return _after_group(view, outcome)
    release = view.records.releases[act.version]
    if isinstance(act.action, LabelPackage):
        return record(view, _labelled(release, act.action), log=())
    return _after_release(view, release, _run(release, act), act, outcome)


def _labelled(release: Release, action: LabelPackage) -> Release:
    return replace(release, label=f"{action.shown.stage} {action.shown.status}")


def _run(release: Release, act: Act) -> StageRun:
    """The run that the action was for: a stage that is put right may be behind the present one."""
    return current_run(release) if act.stage is None else release.run(act.stage)


def _after_group(view: View, outcome: Outcome) -> Record:
    if not isinstance(outcome, Started):
        raise AssertionError(f"{outcome} does not come of starting a pipeline")
    head, wanted = view.records.head, view.records.spec.training_wanted or view.now
    training = Training(wanted, outcome.execution_arn)
    told = Entry(view.now, head.group, "TrainingStarted", outcome.execution_arn)
    return record(view, log=(told,), head=replace(head, training=training))


def _after_release(
    view: View, release: Release, run: StageRun, act: Act, outcome: Outcome
) -> Record:
    match act.action, outcome:
        case PinArtifact(image=tagged), Pinned(artifact, image):
            why = f"{artifact.url} is {artifact.size} bytes of SHA-256 {artifact.sha256}."
            if image != tagged:
                why = f"{why} {tagged} is {image}."
            told = entry(view.now, release, "Pinned", why)
            detail = replace(release.detail, image=image)
            pinned = untroubled(replace(release, artifact=artifact, detail=detail), view.now)
            return record(view, pinned, log=(told,))
        case PinArtifact(url=url), Underway(done, of):
            told = entry(view.now, release, "Pinning", f"{done} of {of} parts of {url}.")
            return record(view, untroubled(release, view.now), log=(told,))
        case CopyArtifact(destination=destination), Underway(done, of):
            why = f"{done} of {of} parts of {destination}."
            return _next_step(view, release, run, run.step, "Copying", why)
        case CopyArtifact(artifact=artifact, destination=destination), Copied(sha256):
            return _copied(view, release, run, artifact.sha256, sha256, destination)
        case PullImage(destination=destination), Pulled(True):
            step = _after_copies(view, release, run)
            return _next_step(view, release, run, step, "ImageCopied", destination)
        case PullImage(destination=destination), Pulled(False):
            why = f"ECR was asked for {destination}."
            return _look_later(view, release, run, "ImageAsked", why)
        case RegisterPackage(), Registered(package_arn):
            return _next_step(view, release, run, "modelling", "PackageRegistered", package_arn)
        case CreateModel(name=name), Done():
            return _next_step(view, release, run, "configuring", "ModelCreated", name)
        case CreateConfig(name=name), Done():
            named = replace(run, config=name)
            return _next_step(view, release, named, "alarming", "ConfigCreated", name)
        case CreateTrial(name=name, present=present, beside=beside), Done():
            both = replace(run, trials=(*run.trials, name))
            why = f"{name}: {present} as it is, and beside it the new version as {beside}."
            return _next_step(view, release, both, run.step, "TrialCreated", why)
        case PutAlarms(alarms=alarms), Done():
            names = ", ".join(alarm.name for alarm in alarms)
            if run.step != "alarming":
                watched = replace(run, alarmed=alarms[0].config)
                return _next_step(view, release, watched, run.step, "AlarmsCreated", names)
            stage = view.records.policies[release.policy_version].stage(run.stage)
            return _next_step(view, release, run, after_alarming(stage), "AlarmsCreated", names)
        case CreateEndpoint(config=config), Done():
            return _asked(view, release, run, "CreationAsked", f"The endpoint is made on {config}.")
        case UpdateEndpoint(config=config), Done():
            what = "RollbackAsked" if run.step == "stopping" else "RolloutAsked"
            return _asked(view, release, run, what, f"The endpoint goes to {config}.")
        case ShiftTraffic(percent=percent), Done():
            why = f"The new version is to get {percent} % of the requests."
            return _asked(view, release, run, "ShareAsked", why)
        case DeleteEndpoint(), Done():
            return _asked(view, release, run, "DeletionAsked", "The endpoint is deleted.")
        case Retire(configs=configs), Done():
            gone = release.with_run(replace(run, retired=True))
            why = f"{', '.join(configs)}: models, configurations and alarms are removed."
            told = entry(view.now, release, "Retired", why, stage=run.stage)
            return record(view, gone, log=(told,))
        case SignalStop(), Done():
            return _signalled(view, release, run)
        case Smoke(), Smoked(problem, slowest_ms):
            return _smoked(view, release, run, problem, slowest_ms)
        case CountHarm(), Harmed(requests, errors):
            return _counted(view, release, run, requests, errors)
        case _:
            raise AssertionError(f"{outcome} does not come of {act.action}")


def _copied(
    view: View, release: Release, run: StageRun, wanted: str, got: str, destination: str
) -> Record:
    if got == wanted:
        stage = view.records.policies[release.policy_version].stage(run.stage)
        step = "pulling" if copies_image(release, stage) else _after_copies(view, release, run)
        return _next_step(view, release, run, step, "ArtifactCopied", destination)
    message = f"{destination} has SHA-256 {got}, the approved artefact {wanted}."
    return stop(view, release, run, Stop("Failed", "ArtifactChanged", message))


def _after_copies(view: View, release: Release, run: StageRun) -> StageStep:
    policy = view.records.policies[release.policy_version]
    own = registers(policy, release, policy.stage(run.stage))
    return "registering" if own else "modelling"


def _next_step(
    view: View, release: Release, run: StageRun, step: str, what: str, why: str
) -> Record:
    moved = to_step(view, release, run, step)  # type: ignore[arg-type]
    return record(view, moved, log=(entry(view.now, release, what, why, stage=run.stage),))


def _asked(view: View, release: Release, run: StageRun, what: str, why: str) -> Record:
    told = entry(view.now, release, what, why, stage=run.stage)
    return record(view, _answered(release, view.now), log=(told,))


def _answered(release: Release, now: datetime) -> Release:
    """Asking worked. Whether it helps is seen later: until then the tries stay counted."""
    blocked = find(release.conditions, "Blocked")
    if blocked is not None and blocked.reason == "KeepsFailing":
        return release
    return replace(untroubled(release, now), troubles=release.troubles)


def _signalled(view: View, release: Release, run: StageRun) -> Record:
    """SageMaker goes back when its alarm sees our signal; the signal is repeated until it does."""
    why = "SageMaker was told to go back."
    return _look_later(view, release, run, "StopSignalled", why)


def _look_later(view: View, release: Release, run: StageRun, what: str, why: str) -> Record:
    """What was asked for takes a while: the same step once more, in a minute."""
    until = later(view.now, seconds=_LOOK_SECONDS)
    again = replace(_answered(release, view.now), held_at=view.now, held_until=until)
    told = entry(view.now, release, what, why, stage=run.stage)
    return record(view, again, log=(told,))


def _smoked(view: View, release: Release, run: StageRun, problem: str, slowest_ms: float) -> Record:
    facts = {"slowest_ms": f"{slowest_ms:.0f}"}
    if problem:
        why = Stop("RolledBack", "SmokeFailed", problem, harm_since=run.asked_at)
        return stop(view, release, run, why)
    if run.step == "shifting":
        moved = untroubled(release.with_run(replace(run, smoked=True)), view.now)
    else:
        moved = to_step(view, release, run, "baking")
    message = f"Every answer was as wanted, the slowest after {slowest_ms:.0f} ms."
    told = entry(
        view.now,
        release,
        "SmokePassed",
        message,
        # After `progressive` it is asked once more, and that it still answers is no news.
        severity="record" if run.smoked else "info",
        stage=run.stage,
        facts=facts,
    )
    return record(view, moved, log=(told,))


def _counted(view: View, release: Release, run: StageRun, requests: int, errors: int) -> Record:
    why = run.stop
    if why is None:
        raise AssertionError(f"{release.name} was counted without a reason")
    facts = {"harmed": str(errors), "requests": str(requests)}
    harm = f"{errors} of the {requests} requests it answered were harmed."
    message = f"{why.message} {harm if requests else 'No user got an answer of it.'}"
    live = view.records.head.live.get(run.stage)
    if live is not None and live.version == release.version:
        head, restored = restore(view, run.stage)
        ended = end(view, release, run, replace(why, message=message), facts, head)
        return replace(ended, releases=(*ended.releases, *restored))
    return end(view, release, run, replace(why, message=message), facts)


# ---------------------------------------------------------------- trouble


def troubled(view: View, act: Act, trouble: Trouble) -> Record:
    """What to record when the action met trouble. `view` holds the claim as it was stored."""
    if act.version is None:
        return _troubled_group(view, trouble)
    release = view.records.releases[act.version]
    run = _run(release, act)
    if isinstance(act.action, LabelPackage) and trouble.kind == "transient":
        return record(view, log=())
    if isinstance(act.action, LabelPackage):
        # The label is for people to look at; a release does not stop for it.
        told = entry(view.now, release, "LabelFailed", trouble.message, severity="action")
        return record(view, _labelled(release, act.action), log=(told,))
    if isinstance(act.action, Retire):
        return _not_retired(view, release, run, trouble)
    if trouble.kind == "refused" and run.step not in ("stopping", "counting", "live"):
        if run.asked_for in ("", *run.trials[:1], *(() if run.trials else (run.config,))):
            # It was the first that was asked of the endpoint, or nothing was yet.
            run = replace(run, asked_at=None, asked_for="", asked_seen=None)
        why = Stop("Failed", "Refused", trouble.message)
        return stop(view, release.with_run(run), run, why)
    return hold(view, release, run, trouble)


def _not_retired(view: View, release: Release, run: StageRun, trouble: Trouble) -> Record:
    told = entry(view.now, release, "NotRetired", trouble.message, stage=run.stage)
    return record(view, log=(told,), head=another_day(view, release.version))


def _troubled_group(view: View, trouble: Trouble) -> Record:
    head = view.records.head
    wanted = view.records.spec.training_wanted or view.now
    if trouble.kind == "transient":
        # The look that comes next tries again; the claim is given back.
        return record(view, log=())
    told = Entry(view.now, head.group, "TrainingFailed", trouble.message, severity="action")
    return record(view, log=(told,), head=replace(head, training=Training(wanted, "", "Failed")))


def hold(view: View, release: Release, run: StageRun, trouble: Trouble) -> Record:
    """The release stays where it is for a while, and says why where a person should know."""
    tries = release.troubles + 1
    minutes = min(2 ** (tries - 1), _LONGEST_HOLD_MINUTES)
    until = later(view.now, minutes=minutes)
    held = replace(release, troubles=tries, held_at=view.now, held_until=until)
    if trouble.kind == "transient" and tries < _TRIES_BEFORE_TELLING:
        told = entry(view.now, release, "TriedAgain", trouble.message, stage=run.stage)
        return record(view, held, log=(told,))
    reason = {
        "transient": "KeepsFailing",
        "denied": "AccessDenied",
        "missing": "NotFound",
        "refused": "Refused",
    }[trouble.kind]
    old = find(release.conditions, "Blocked")
    news = old is None or not old.status or old.message != trouble.message
    held = with_condition(held, "Blocked", True, reason, trouble.message, view.now)
    told = entry(
        view.now,
        release,
        "Blocked",
        trouble.message,
        severity="alert" if news else "record",
        stage=run.stage,
    )
    return record(view, held, log=(told,))
