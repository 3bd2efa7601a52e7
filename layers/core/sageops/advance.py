"""One release through one stage, step by step.

Gate, copy the artefact and the image, register, model, configuration, alarms, move the endpoint
(`rollout`), check, bake, live; or the way back (`back`).
"""

from sageops.back import back
from sageops.conditions import find
from sageops.gate import gate
from sageops.model import (
    Act,
    CopyArtifact,
    CreateConfig,
    CreateModel,
    Idle,
    PinArtifact,
    PullImage,
    PutAlarms,
    RegisterPackage,
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
    goes_back,
    is_paused,
    later,
    look_again,
    record,
    stop,
    stopped_before_it_began,
    untroubled,
)
from sageops.names import artifact_url, config_name, served_image
from sageops.policy import Approvals, Stage
from sageops.rollout import changed, deploy, mirror, promoted_by, shift
from sageops.seeing import BUSY, firing
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
    if not goes_back(run) and is_paused(release) and stopped_before_it_began(run):
        return Idle(f"{release.name} is paused in {run.stage}")
    held = _held(view, release)
    if held is not None:
        return held
    if goes_back(run):
        step = back(view, release, run, stage)
    else:
        step = _forward(view, release, run, stage, policy.approval)
    if isinstance(step, Wait | Idle) and _has_passed(view, release, run):
        told = entry(view.now, release, "Unblocked", "It works again.", stage=run.stage)
        return record(view, untroubled(release, view.now), log=(told,))
    return step


def pin(view: View, release: Release) -> Act:
    """Find out which bytes were approved."""
    detail = release.detail
    return act(view, PinArtifact(detail.model_data_url, detail.image), release)


def _held(view: View, release: Release) -> Wait | None:
    if release.held_until is None or view.now >= release.held_until:
        return None
    wish = view.records.wishes.get(release.version)
    resumed = wish.resumed if wish is not None else None
    if resumed is not None and release.held_at is not None and resumed.at > release.held_at:
        return None
    return Wait(release.held_until, f"{release.name}: trying again later")


def _has_passed(view: View, release: Release, run: StageRun) -> bool:
    """Whether what blocked the release is over, seen by there being nothing to try again: the look
    that failed works, or what was missing is there.

    Whether an update that is tried again helps, is seen only when it has come to its end.
    """
    blocked = find(release.conditions, "Blocked")
    if blocked is None or not blocked.status or blocked.reason == "Undecided":
        return False
    if isinstance(view.endpoints.get(run.stage), Trouble):
        return False
    if blocked.reason != "KeepsFailing":
        return True
    if run.asked_at is None or release.held_at is None or run.step == "stopping":
        return False
    return run.asked_at < release.held_at


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


def _forward(view: View, release: Release, run: StageRun, stage: Stage, rules: Approvals) -> Step:
    where, detail = errand(release, run, stage), release.detail
    artifact = release.artifact
    if artifact is None:
        return pin(view, release)
    config, image = config_name(release, artifact, stage), served_image(release, stage)
    match run.step:
        case "waiting" | "gate":
            return gate(view, release, run, stage, rules)
        case "copying":
            copy = CopyArtifact(where, artifact, artifact_url(release, artifact, stage.target))
            return act(view, copy, release, run.stage)
        case "pulling":
            return act(view, PullImage(where, detail.image, image), release, run.stage)
        case "registering":
            url = artifact_url(release, artifact, stage.target)
            registered = RegisterPackage(
                where,
                release.group,
                release.package_arn,
                image,
                url,
                artifact.sha256,
                detail.environment,
            )
            return act(view, registered, release, run.stage)
        case "modelling":
            url = artifact_url(release, artifact, stage.target)
            create = CreateModel(where, config, image, url, detail.environment)
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
        return changed(view, release, run, seen)
    since = run.since if run.since is not None else view.now
    until = later(since, minutes=stage.checks.bake_minutes + run.unwatched_minutes)
    promoter = promoted_by(view, release, run) if view.now < until else ""
    if view.now < until and not promoter:
        look = min(until, later(view.now, minutes=_LOOK_MINUTES))
        return Wait(look, f"{release.name} bakes in {stage.name} until {until:%H:%M}")
    if is_paused(release):
        return look_again(view, f"{release.name} is paused in {stage.name}")
    if seen.status != "InService":
        return look_again(view, f"{release.name}: {stage.name} is {seen.status}")
    return go_live(view, release, run, promoter)
