"""One release through one stage, step by step.

Gate, copy the artefact, model, configuration, alarms, move the endpoint (`rollout`), check, bake,
live; or the way back (`back`).
"""

from msgspec.structs import replace

from sageops.back import back
from sageops.conditions import find, with_condition
from sageops.evidence import Counts
from sageops.model import (
    Act,
    CopyArtifact,
    CreateConfig,
    CreateModel,
    EndpointSeen,
    Entry,
    Idle,
    PinArtifact,
    PutAlarms,
    Release,
    Smoke,
    StageRun,
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
    errand,
    go_live,
    is_paused,
    later,
    look_again,
    record,
    stop,
    stopped_before_it_began,
    to_step,
)
from sageops.names import artifact_url, config_name
from sageops.policy import Stage
from sageops.power import assess, traffic, warning
from sageops.rollout import deploy, mirror, promoted_by, refused, shift
from sageops.seeing import BUSY, firing, served
from sageops.settle import hold
from sageops.watch import alarm_specs

__all__ = ["advance", "pin"]

# How often an endpoint that bakes is looked at when no event comes.
_LOOK_MINUTES = 5


def advance(view: View, release: Release) -> Step:
    """The next step of the one release of the group that is to move."""
    policy = view.records.policies.get(release.policy_version)
    if policy is None:
        return _no_policy(view, release)
    run = current_run(release)
    stage = policy.stage(run.stage)
    if run.step in ("stopping", "counting"):
        return _held(view, release) or back(view, release, run, stage)
    if is_paused(release) and stopped_before_it_began(run):
        return Idle(f"{release.name} is paused in {run.stage}")
    return _held(view, release) or _forward(view, release, run, stage)


def pin(view: View, release: Release) -> Act:
    """Find out which bytes were approved."""
    return act(view, PinArtifact(release.detail.model_data_url), release)


def _held(view: View, release: Release) -> Wait | None:
    if release.held_until is None or view.now >= release.held_until:
        return None
    wish = view.records.wishes.get(release.version)
    resumed = wish.resumed if wish is not None else None
    if resumed is not None and release.held_at is not None and resumed.at > release.held_at:
        return None
    return Wait(release.held_until, f"{release.name}: trying again later")


def _no_policy(view: View, release: Release) -> Step:
    trouble = Trouble(
        kind="missing",
        account="of the hub",
        call="dynamodb:GetItem",
        said=f"version {release.policy_version} of the policy of {release.group} does not exist.",
        fix=f"Restore it in the table, or `sageops abort {release.name}` and push a policy.",
    )
    return _held(view, release) or hold(view, release, current_run(release), trouble)


# ---------------------------------------------------------------- forward


def _forward(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    where = errand(release, run, stage)
    artifact = release.artifact
    if artifact is None:
        return pin(view, release)
    config = config_name(release, artifact, stage)
    match run.step:
        case "waiting" | "gate":
            return _gate(view, release, run, stage)
        case "copying":
            copy = CopyArtifact(where, artifact, artifact_url(release, artifact, stage.target))
            return act(view, copy, release, run.stage)
        case "modelling":
            url = artifact_url(release, artifact, stage.target)
            detail = release.detail
            create = CreateModel(where, config, detail.image, url, detail.environment)
            return act(view, create, release, run.stage)
        case "configuring":
            return act(view, CreateConfig(where, config, config, stage.serving), release, run.stage)
        case "alarming":
            return act(view, PutAlarms(where, alarm_specs(config, stage)), release, run.stage)
        case "mirroring":
            return mirror(view, release, run, stage)
        case "shifting":
            return shift(view, release, run, stage)
        case "deploying":
            return deploy(view, release, run, stage)
        case "checking":
            return act(view, Smoke(where, stage.checks.smoke), release, run.stage)
        case "baking":
            return _bake(view, release, run, stage)
        case _ as step:
            raise AssertionError(f"{release.name} is {step!r} in {run.stage}: nothing to advance")


def _gate(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    seen = view.endpoints.get(stage.name)
    if seen is None or (isinstance(seen, EndpointSeen) and seen.status == "InService"):
        # Before anything is touched, and before a person is asked to approve what cannot be.
        against = refused(view, release, run, stage, seen)
        if against is not None:
            return against
    warned: tuple[Entry, ...] = ()
    if run.step == "waiting":
        release, warned = _powered(view, release, stage)
    if stage.gate == "auto":
        begun = to_step(view, release, replace(run, begun_at=view.now), "copying")
        told = entry(view.now, release, "StageBegun", "The gate is automatic.", stage=stage.name)
        return record(view, begun, log=(*warned, told))
    wish = view.records.wishes.get(release.version)
    word = wish.approvals.get(stage.name) if wish is not None else None
    if word is not None and word.at >= release.admitted_at:
        message = f"{word.by} approved {stage.name}."
        approved = replace(run, approved_by=word.by, begun_at=view.now)
        begun = to_step(view, release, approved, "copying")
        begun = with_condition(begun, "Approved", True, "GateApproved", message, view.now)
        told = entry(
            view.now,
            release,
            "GateApproved",
            message,
            severity="info",
            stage=stage.name,
            by=word.by,
        )
        return record(view, begun, log=(*warned, told))
    if run.step == "gate":
        return Idle(f"{release.name} waits for a person to approve {stage.name}")
    message = f"Waits for a person to approve {stage.name}."
    asked = to_step(view, release, run, "gate")
    asked = with_condition(asked, "Approved", False, "GateWaiting", message, view.now)
    told = entry(view.now, release, "GateWaiting", message, severity="action", stage=stage.name)
    return record(view, asked, log=(*warned, told))


def _powered(view: View, release: Release, stage: Stage) -> tuple[Release, tuple[Entry, ...]]:
    """The release, with a warning where this stage's comparisons would find too little in the
    traffic of the last day."""
    weak = _too_weak(stage, view.traffic[stage.name]) if stage.name in view.traffic else ""
    known = find(release.conditions, "Underpowered")
    if not weak:
        if known is None or not known.status:
            return release, ()
        message = f"{stage.name} has traffic enough for what the policy wants to see."
        return with_condition(release, "Underpowered", False, "Enough", message, view.now), ()
    message = f"{stage.name}: {weak}"
    told = entry(view.now, release, "Underpowered", message, severity="info", stage=stage.name)
    return with_condition(release, "Underpowered", True, "TooLittle", message, view.now), (told,)


def _too_weak(stage: Stage, minutes: tuple[Counts, ...]) -> str:
    """Empty, or what is not enough and what would do."""
    if not minutes:
        return "no requests in the last day, so there is nothing to compare the new version with."
    found = assess(stage, traffic(minutes, len(minutes)))
    return " ".join(warning(each) for each in found if not each.enough)


def _bake(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    seen = view.endpoints[stage.name]
    if isinstance(seen, Trouble):
        return hold(view, release, run, seen)
    alarm = firing(view.alarms.get(stage.name, ()))
    if alarm is not None:
        message = f"Alarm {alarm.name} fired while it baked: {alarm.reason}"
        why = Stop("RolledBack", "AlarmFired", message, harm_since=run.asked_at)
        return stop(view, release, run, why)
    if seen is None or (seen.config != run.config and seen.status not in BUSY):
        message = f"{stage.name} was changed behind our back: {served(seen)}."
        return stop(view, release, run, Stop("Failed", "EndpointChanged", message))
    since = run.since if run.since is not None else view.now
    until = later(since, minutes=stage.checks.bake_minutes + run.unwatched_minutes)
    if view.now < until and not promoted_by(view, release, run):
        look = min(until, later(view.now, minutes=_LOOK_MINUTES))
        return Wait(look, f"{release.name} bakes in {stage.name} until {until:%H:%M}")
    if is_paused(release):
        return look_again(view, f"{release.name} is paused in {stage.name}")
    if seen.status != "InService":
        return look_again(view, f"{release.name}: {stage.name} is {seen.status}")
    return go_live(view, release, run)
