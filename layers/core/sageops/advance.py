"""One release through one stage: forward step by step, or back.

Forward: gate, copy the artefact, model, configuration, alarms, deploy, check, bake, live.
Back: until the endpoint serves what it served before, then the harm is counted.
"""

from msgspec.structs import replace

from sageops.comparison import figures
from sageops.conditions import find, with_condition
from sageops.evidence import Criteria, Verdict, judge
from sageops.model import (
    Act,
    AlarmSeen,
    AlarmSpec,
    Arm,
    BlueGreen,
    CopyArtifact,
    CountHarm,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    DeleteEndpoint,
    EndpointSeen,
    Errand,
    Idle,
    PinArtifact,
    PutAlarms,
    Record,
    Release,
    Routing,
    SignalStop,
    Smoke,
    StageRun,
    Step,
    Stop,
    Trouble,
    UpdateEndpoint,
    View,
    Wait,
)
from sageops.moves import (
    act,
    current_run,
    entry,
    go_live,
    later,
    record,
    stop,
    stopped_before_it_began,
    to_step,
)
from sageops.names import VARIANT, alarm_name, artifact_url, config_name
from sageops.policy import Evidence, Stage
from sageops.settle import hold
from sageops.strategies import deployment
from sageops.strategies.timeout import timeout_seconds

__all__ = ["advance", "alarm_names", "errand", "is_judged", "pin"]

# How often an endpoint that moves or bakes is looked at when no event comes. SageMaker and
# CloudWatch act and tell by themselves: this is for the events that were lost.
_LOOK_MINUTES = 5
# How often the evidence is looked at: as often as it changes.
_JUDGED_MINUTES = 1
# DescribeEndpoint's states in which no update can be started.
_BUSY = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
# A failure with this reason is SageMaker's own, and the same configuration may be tried again.
_SERVICE_FAILURE = "Request to service failed"


def advance(view: View, release: Release) -> Step:
    """The next step of the one release of the group that is to move."""
    policy = view.records.policies.get(release.policy_version)
    if policy is None:
        return _no_policy(view, release)
    run = current_run(release)
    stage = policy.stage(run.stage)
    if run.step in ("stopping", "counting"):
        return _held(view, release) or _back(view, release, run, stage)
    paused = find(release.conditions, "Paused")
    if paused is not None and paused.status and stopped_before_it_began(run):
        return Idle(f"{release.name}: {paused.message}")
    return _held(view, release) or _forward(view, release, run, stage)


def errand(release: Release, run: StageRun, stage: Stage) -> Errand:
    return Errand(stage.target, release.name, run.approved_by)


def pin(view: View, release: Release) -> Act:
    """Find out which bytes were approved."""
    return act(view, PinArtifact(release.detail.model_data_url), release)


def alarm_names(config: str, stage: Stage) -> tuple[str, ...]:
    """The alarms that watch a configuration: those we create and those the policy names."""
    own = tuple(spec.name for spec in _alarm_specs(config, stage))
    return own + stage.checks.alarms.names


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
            return act(view, PutAlarms(where, _alarm_specs(config, stage)), release, run.stage)
        case "deploying":
            return _deploy(view, release, run, stage)
        case "checking":
            return act(view, Smoke(where, stage.checks.smoke), release, run.stage)
        case "baking":
            return _bake(view, release, run, stage)
        case _ as step:
            raise AssertionError(f"{release.name} is {step!r} in {run.stage}: nothing to advance")


def _gate(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    if stage.gate == "auto":
        begun = to_step(view, release, run, "copying")
        told = entry(view.now, release, "StageBegun", "The gate is automatic.", stage=stage.name)
        return record(view, begun, log=(told,))
    wish = view.records.wishes.get(release.version)
    word = wish.approvals.get(stage.name) if wish is not None else None
    if word is not None and word.at >= release.admitted_at:
        message = f"{word.by} approved {stage.name}."
        begun = to_step(view, release, replace(run, approved_by=word.by), "copying")
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
        return record(view, begun, log=(told,))
    if run.step == "gate":
        return Idle(f"{release.name} waits for a person to approve {stage.name}")
    message = f"Waits for a person to approve {stage.name}."
    asked = to_step(view, release, run, "gate")
    asked = with_condition(asked, "Approved", False, "GateWaiting", message, view.now)
    told = entry(view.now, release, "GateWaiting", message, severity="action", stage=stage.name)
    return record(view, asked, log=(told,))


def _deploy(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    seen = view.endpoints[stage.name]
    where = errand(release, run, stage)
    if isinstance(seen, Trouble):
        return hold(view, release, run, seen)
    if seen is None:
        asked = replace(run, asked_at=run.asked_at or view.now, asked_seen=None)
        return act(view, CreateEndpoint(where, run.config), release.with_run(asked), stage.name)
    if seen.status == "Failed" and run.asked_at is not None:
        return stop(view, release, run, _failed(run, seen))
    if seen.status in _BUSY:
        return _rolling_out(view, release, run, stage, seen)
    if seen.status != "InService":
        return hold(view, release, run, _out_of_order(stage, seen))
    if seen.config == run.config:
        checking = to_step(view, release, run, "checking")
        told = entry(view.now, release, "Deployed", _served(seen), stage=stage.name)
        return record(view, checking, log=(told,))
    if _was_tried(run, seen):
        return _tried_in_vain(view, release, run, stage, seen)
    asked = replace(
        run,
        asked_at=view.now,
        asked_seen=seen.modified_at,
        replaced=seen.config,
    )
    guardrail = deployment(stage.rollout, alarm_names(run.config, stage))
    update = UpdateEndpoint(where, run.config, guardrail)
    return act(view, update, release.with_run(asked), stage.name)


def _rolling_out(
    view: View, release: Release, run: StageRun, stage: Stage, seen: EndpointSeen
) -> Step:
    """SageMaker moves the traffic. Where the policy wants evidence, the fleets are compared."""
    if not is_judged(run, stage) or seen.pending != run.config:
        return _look_again(view, f"{release.name}: {stage.name} is {seen.status}")
    verdict = _verdict(view, run, stage)
    if verdict.ruling == "regressed":
        why = Stop(
            "RolledBack",
            "Regressed",
            f"{verdict.message[:1].upper()}{verdict.message[1:]}.",
            harm_since=run.asked_at,
            facts=figures(verdict),
        )
        return stop(view, release, run, why)
    why_wait = f"{release.name}: {stage.name} is {seen.status}; {verdict.ruling}: {verdict.message}"
    return Wait(later(view.now, minutes=_JUDGED_MINUTES), why_wait)


def is_judged(run: StageRun, stage: Stage) -> bool:
    """Whether the stage's rollout is compared with what it replaces."""
    asked = run.step == "deploying" and run.asked_at is not None
    return asked and bool(run.replaced) and stage.checks.evidence is not None


def _verdict(view: View, run: StageRun, stage: Stage) -> Verdict:
    wanted = stage.checks.evidence or Evidence()
    criteria = Criteria(
        alpha=wanted.alpha,
        tolerated_ratio=wanted.tolerated_ratio,
        margin=max(Criteria().margin, 2 * wanted.tolerated_ratio),
        warm_up_minutes=wanted.warm_up_minutes,
    )
    elapsed = view.now - (run.asked_at or view.now)
    return judge(view.minutes.get(run.stage, {}), criteria, int(elapsed.total_seconds() // 60))


def _was_tried(run: StageRun, seen: EndpointSeen) -> bool:
    """Whether the update we claimed has come and gone: the endpoint was modified since."""
    return run.asked_at is not None and seen.modified_at != run.asked_seen


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
        again = replace(run, asked_at=None, asked_seen=None)
        return hold(view, release.with_run(again), again, trouble)
    firing = _firing(view.alarms.get(run.stage, ()))
    because = f"alarm {firing.name} fired" if firing else "the update failed"
    said = f" SageMaker says: {seen.failure_reason}" if seen.failure_reason else ""
    message = f"SageMaker rolled {run.stage} back: {because}.{said}"
    reason = "AlarmFired" if firing else "UpdateFailed"
    why = Stop("RolledBack", reason, message, harm_since=run.asked_at)
    return _count(view, release, replace(run, stop=why), seen)


def _out_of_order(stage: Stage, seen: EndpointSeen) -> Trouble:
    return Trouble(
        "missing",
        stage.target.account,
        "sagemaker:DescribeEndpoint",
        f"endpoint {stage.target.endpoint} is {seen.status}: {seen.failure_reason}",
        "Bring it back in service, or delete it, and the release goes on.",
    )


def _failed(run: StageRun, seen: EndpointSeen) -> Stop:
    message = f"The endpoint could not be created: {seen.failure_reason or seen.status}"
    return Stop("Failed", "CreateFailed", message, harm_since=run.asked_at)


def _bake(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    seen = view.endpoints[stage.name]
    if isinstance(seen, Trouble):
        return hold(view, release, run, seen)
    firing = _firing(view.alarms.get(stage.name, ()))
    if firing is not None:
        message = f"Alarm {firing.name} fired while it baked: {firing.reason}"
        why = Stop("RolledBack", "AlarmFired", message, harm_since=run.asked_at)
        return stop(view, release, run, why)
    if seen is None or (seen.config != run.config and seen.status not in _BUSY):
        message = f"{stage.name} was changed behind our back: {_served(seen)}."
        return stop(view, release, run, Stop("Failed", "EndpointChanged", message))
    since = run.since if run.since is not None else view.now
    until = later(since, minutes=stage.checks.bake_minutes)
    if view.now < until:
        look = min(until, later(view.now, minutes=_LOOK_MINUTES))
        return Wait(look, f"{release.name} bakes in {stage.name} until {until:%H:%M}")
    paused = find(release.conditions, "Paused")
    if paused is not None and paused.status:
        return _look_again(view, f"{release.name}: {paused.message}")
    if seen.status != "InService":
        return _look_again(view, f"{release.name}: {stage.name} is {seen.status}")
    return go_live(view, release, run)


def _alarm_specs(config: str, stage: Stage) -> tuple[AlarmSpec, ...]:
    endpoint, limits = stage.target.endpoint, stage.checks.alarms
    errors = AlarmSpec(
        "errors",
        alarm_name(config, "errors"),
        endpoint,
        config,
        limits.error_percent,
        limits.min_requests,
    )
    stop_ = AlarmSpec("stop", alarm_name(config, "stop"), endpoint, config)
    if limits.latency_ms is None:
        return (errors, stop_)
    name = alarm_name(config, "latency")
    return (errors, AlarmSpec("latency", name, endpoint, config, limits.latency_ms), stop_)


# ---------------------------------------------------------------- back


def _back(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    where = errand(release, run, stage)
    why = run.stop
    if why is None:
        raise AssertionError(f"{release.name} goes back in {run.stage} for no reason")
    if run.step == "counting":
        since = why.harm_since or release.admitted_at
        return act(view, CountHarm(where, (Arm(run.config, VARIANT),), since), release, run.stage)
    seen = view.endpoints[stage.name]
    if isinstance(seen, Trouble):
        return hold(view, release, run, seen)
    if seen is None:
        back_to = _goes_back_to(view, run)
        if back_to:
            return act(view, CreateEndpoint(where, back_to), release, run.stage)
        return _count(view, release, run, seen)
    match seen.status:
        case "Failed":
            return act(view, DeleteEndpoint(where), release, run.stage)
        case "Updating" if seen.pending == run.config:
            return act(view, SignalStop(where, run.config), release, run.stage)
        case "Creating" | "Updating" | "SystemUpdating" | "RollingBack" | "Deleting":
            return _look_again(view, f"{release.name}: {stage.name} is {seen.status}")
        case _ if seen.config != run.config:
            return _count(view, release, run, seen)
        case _:
            return _undo(view, release, run, seen, where)


def _undo(view: View, release: Release, run: StageRun, seen: EndpointSeen, where: Errand) -> Step:
    """The endpoint serves what must go."""
    back_to = _goes_back_to(view, run)
    if back_to and run.back_asked_seen not in (None, seen.modified_at):
        again = replace(run, back_asked_seen=None)
        trouble = Trouble(
            "transient",
            where.target.account,
            "sagemaker:UpdateEndpoint",
            f"{run.stage} did not go back to {back_to}: {seen.failure_reason}",
            "It is tried again.",
        )
        return hold(view, release.with_run(again), again, trouble)
    if back_to:
        asked = replace(run, back_asked_seen=seen.modified_at)
        now_ = BlueGreen(Routing("ALL_AT_ONCE"), 0, timeout_seconds(0), ())
        return act(view, UpdateEndpoint(where, back_to, now_), release.with_run(asked), run.stage)
    live = view.records.head.live.get(run.stage)
    if live is not None and live.config == run.config:
        # It was live before it was released anew.
        return _count(view, release, run, seen)
    # Nobody relies on an endpoint that never went live, and nobody wants what it serves: a later
    # version would take it for what to go back to.
    return act(view, DeleteEndpoint(where), release, run.stage)


def _goes_back_to(view: View, run: StageRun) -> str:
    live = view.records.head.live.get(run.stage)
    if live is not None and live.config == run.config:
        return live.replaced.config if live.replaced is not None else ""
    return run.replaced


def _count(view: View, release: Release, run: StageRun, seen: EndpointSeen | None) -> Record:
    counting = to_step(view, release, run, "counting")
    if seen is not None and seen.config == run.config:
        what, why = "NothingToGoBackTo", f"{run.stage} is left as it is: nothing better is known."
    else:
        what, why = "TakenBack", f"{run.stage} is back: {_served(seen)}."
    told = entry(view.now, release, what, why, stage=run.stage)
    return record(view, counting, log=(told,))


# ---------------------------------------------------------------- small things


def _look_again(view: View, why: str) -> Wait:
    return Wait(later(view.now, minutes=_LOOK_MINUTES), why)


def _firing(alarms: tuple[AlarmSeen, ...]) -> AlarmSeen | None:
    return next((alarm for alarm in alarms if alarm.firing), None)


def _served(seen: EndpointSeen | None) -> str:
    if seen is None:
        return "the endpoint is gone"
    return f"it serves {seen.config} and is {seen.status}"
