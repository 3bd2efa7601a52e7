"""The nine invariants of docs/architecture.md, as functions of a world.

Each yields what violates it: after every step in what is new since the step before, and once more
when the story is over (`world.over`) in how it ended.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace
from sageops.conditions import find, phase
from sageops.evidence import Counts, Minute, judge
from sageops.model import Entry, Head, Live, Release, StageRun
from sageops.moves import current_run, is_of_this_life
from sageops.names import BESIDE, SHADOW, copies_image, served_image
from sageops.policy import Evidence, Progressive, Stage
from sageops.watch import criteria

from local.simulator.site import Document
from tests.simulation.clients import PART, sums_of_parts
from tests.simulation.wire import CHANGES, Call
from tests.simulation.world import BOUND, HUB, Change, World

__all__ = ["INVARIANTS", "differences", "ends", "letters", "restless"]

_BUSY = {"Creating", "Updating", "RollingBack", "Deleting"}
_SHIFT = "sagemaker:UpdateEndpointWeightsAndCapacities"
_MOVES = {
    "sagemaker:CreateEndpoint",
    "sagemaker:UpdateEndpoint",
    "sagemaker:DeleteEndpoint",
    _SHIFT,
}
_TOWARDS = {"sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"}
_SKEW = timedelta(seconds=30)
_NOBODY = Counts()
_SERVICE_FAILURE = "Request to service failed"


# ---------------------------------------------------------------- 1


def one_update_at_a_time(world: World) -> Iterator[str]:
    """At most one update is in flight per endpoint: none is asked for while one of ours is under
    way, and no two releases of a group have the same stage's endpoint in their hands.

    The client's own retry of a call whose answer was lost is not counted: SageMaker refuses it.
    """
    for call in world.new_calls:
        if call.operation not in _MOVES or call.again:
            continue
        where = (call.account, call.region, call.parameters["EndpointName"])
        if call.status in _BUSY and world.ours.get(where):
            yield f"{call.operation} of {where[2]} while it is {call.status}"
        if not call.error:
            world.ours[where] = True
    for change in world.new_changes:
        holders: dict[str, int] = {}
        for version in change.head.open:
            release = world.releases[change.group, version]
            run = current_run(release)
            if _is_ended(release) or not _holds_endpoint(run):
                continue
            if run.stage in holders:
                both = f"{holders[run.stage]} and {version}"
                yield f"{change.group}: versions {both} both have {run.stage} in their hands"
            holders[run.stage] = version


def _holds_endpoint(run: StageRun) -> bool:
    return run.step in ("checking", "baking", "stopping") or (
        run.step in ("mirroring", "shifting", "deploying") and run.asked_at is not None
    )


# ---------------------------------------------------------------- 2


def served_is_entitled(world: World) -> Iterator[str]:
    """Nothing is brought to a stage that is not Approved in the registry, has not passed the
    earlier stages as the same bytes and image, or lacks the gate's approval.

    Registry and person may change their minds while a worker acts: what was approved at some
    moment of the worker's run counts. In the end the last stage serves what is still approved, or
    people have been told that there is nothing else to serve. A package that is deleted from the
    registry after it went live is not taken back: that is housekeeping, not a word on the model.
    """
    for call, release, run in _forward(world):
        for problem in _lacks(world, call, release, run):
            yield f"{release.name} went to {run.stage} although {problem}"
    if world.over:
        yield from _served_in_the_end(world)


def _lacks(world: World, call: Call, release: Release, run: StageRun) -> Iterator[str]:
    group, version = release.group, release.version
    if not _approved_since(world.approvals[group, version], call.began):
        yield "it was not approved in the registry"
    policy = world.policies[group, release.policy_version]
    stage = policy.stage(run.stage)
    if stage.gate == "manual":
        words = world.gates.get((group, version, run.stage), [])
        if not any(word >= release.admitted_at - timedelta(minutes=1) for word in words):
            yield "nobody approved the stage"
    made_of = _made_of(world, call.account, call.region, run.config)
    trial = call.parameters["EndpointConfigName"]
    if trial in world.trials:
        yield from _wrong_trial(world, call, run, trial)
    pinned = release.artifact.sha256 if release.artifact is not None else ""
    if made_of != (served_image(release, stage), pinned):
        yield f"it is made of {made_of}, not of what was approved"
    if copies_image(release, stage) and not _has_arrived(world, call, made_of[0]):
        yield f"{made_of[0]} is not in the account's registry"
    for earlier in release.runs[: release.runs.index(run)]:
        target = policy.stage(earlier.stage).target
        if earlier.step != "live":
            yield f"{earlier.stage} is only {earlier.step}"
        elif _same(_made_of(world, target.account, target.region, earlier.config)) != _same(
            made_of
        ):
            yield f"{earlier.stage} passed with other bytes"


def _wrong_trial(world: World, call: Call, run: StageRun, trial: str) -> Iterator[str]:
    """A trial holds the new version, and beside it what the endpoint serves: no third one."""
    configs = world.simulator.site(call.account, call.region).state["endpoint-configs"]
    [present] = configs[run.replaced]["ProductionVariants"]
    main, *others = configs[trial]["ProductionVariants"]
    others += configs[trial].get("ShadowProductionVariants", [])
    if main["ModelName"] != present["ModelName"]:
        yield f"{trial} would have {main['ModelName']} answer in place of {present['ModelName']}"
    if [each["ModelName"] for each in others] != [run.config]:
        yield f"{trial} compares {others}, not {run.config}"


def _approved_since(history: list[tuple[datetime, str]], began: datetime) -> bool:
    later = [status for at, status in history if at >= began]
    before = [status for at, status in history if at < began]
    return "Approved" in later or before[-1:] == ["Approved"]


def _made_of(world: World, account: str, region: str, config: str) -> tuple[str, str]:
    """Image and SHA-256 of what a configuration serves, as the target account has them."""
    models = world.simulator.site(account, region).state["models"]
    container: Document = models[config]["PrimaryContainer"]
    body = world.bucket.get(container["ModelDataUrl"].removeprefix("s3://"))
    if len(body) <= PART:
        return container["Image"], hashlib.sha256(body).hexdigest()
    sums = sums_of_parts(body)
    return container["Image"], f"{hashlib.sha256(sums).hexdigest()}-{len(sums) // 32}"


def _same(made_of: tuple[str, str]) -> tuple[str, str]:
    """Digest and SHA-256: an account may have the image in a registry of its own."""
    image, sha256 = made_of
    return image.partition("@")[2], sha256


def _has_arrived(world: World, call: Call, image: str) -> bool:
    repository, _, digest = image.partition("/")[2].partition("@")
    arrives = world.services.pulled.get((call.account, call.region, repository, digest))
    return arrives is not None and arrives <= call.at


def _served_in_the_end(world: World) -> Iterator[str]:
    for group, stage in world.stages():
        if stage.name != world.policy_of(group).stages[-1].name:
            continue
        target = stage.target
        there = world.endpoint(target.account, target.region, target.endpoint)
        if there is None:
            continue
        owner = world.configs.get(there.config_name) or world.trials.get(there.config_name)
        if owner is None:
            continue
        version = owner[1]
        approval = world.approval(group, version)
        release = world.releases[group, version]
        if stage.name != release.runs[-1].stage:
            # A stage on the way, under the policy that it was admitted with.
            continue
        if approval not in ("Approved", "") and not _is_blocked(release):
            yield f"{stage.name} serves {release.name}, which is {approval}, and nobody was told"


# ---------------------------------------------------------------- 3


def stopped_goes_no_further(world: World) -> Iterator[str]:
    """After a regressed verdict, an alarm or an abort, a release goes no further, and the endpoint
    ends on the last good configuration: the latest that baked and was not taken back since. Beside
    the present version, it has more of the requests only when the evidence, a person or the policy
    says so.

    Where nothing good is known, there is nothing to hold it to.
    """
    for call in _accepted(world, _TOWARDS):
        owner = _owner(world, call.parameters["EndpointConfigName"])
        if owner is None:
            continue
        group, version, stage = owner
        good = _baked(world, group, stage)
        if world.releases[group, version].run(stage).stop is not None and good:
            yield f"{group}/{version} was stopped in {stage} and came there again"
    for call, release, run in _forward(world):
        aborted = world.aborts.get((release.group, release.version))
        if aborted is not None and aborted < call.began:
            yield f"{release.name} went to {run.stage} after it was aborted"
    for call in _accepted(world, {_SHIFT}):
        acting = _acting(call)
        stopped = [at for whose, at in world.stopped.items() if whose[:2] == acting]
        if _share(call) and any(at < call.at for at in stopped):
            yield f"{acting} was stopped and got {_share(call)} % of the requests"
    for change in world.new_changes:
        yield from _live_under_alarm(world, change)
        yield from _gone_on_unasked(world, change)
    if world.over:
        yield from _last_good(world)


def _share(call: Call) -> int:
    """The percentage that a call gives to the version beside the present one."""
    wanted = call.parameters["DesiredWeightsAndCapacities"]
    weights: dict[str, float] = {each["VariantName"]: each["DesiredWeight"] for each in wanted}
    return round(100 * weights[BESIDE] / sum(weights.values()))


def _gone_on_unasked(world: World, change: Change) -> Iterator[str]:
    """Whether a comparison was ended, or the next step of it begun, for no good reason."""
    for version, release in change.releases.items():
        old = change.old_releases.get(version)
        if old is None or old.admitted_at != release.admitted_at:
            continue
        for before, after in zip(old.runs, release.runs, strict=True):
            begun = before.since is not None and before.compared_since is not None
            goes_on = (after.step, after.share) != (before.step, before.share)
            if before.step not in ("mirroring", "shifting") or not begun or not goes_on:
                continue
            if after.stop is None and not _may_go_on(world, change, old, before):
                where = f"{release.name} in {after.stage}"
                yield f"{where} went on from {before.step} at {before.share} % without a reason"


def _may_go_on(world: World, change: Change, release: Release, run: StageRun) -> bool:
    stage = world.policies[release.group, release.policy_version].stage(run.stage)
    evidence = stage.checks.evidence or Evidence()
    word = world.wish(release.group, release.version).promoted.get(run.stage)
    if word is not None and run.asked_at is not None and word.at >= run.asked_at:
        return True
    rollout, shadow = stage.rollout, stage.shadow
    if run.step == "mirroring":
        assert shadow is not None
        allowed = shadow.minutes
    else:
        assert isinstance(rollout, Progressive)
        allowed = rollout.step_minutes
    assert run.since is not None
    # Each of two places may be off by a quarter of a minute.
    is_over = change.at + _SKEW >= run.since + timedelta(minutes=allowed)
    if is_over and (run.share == 100 or evidence.undecided == "promote"):
        return True
    return run.share < 100 and _is_shown_healthy(world, change, stage, run, evidence)


def _is_shown_healthy(
    world: World, change: Change, stage: Stage, run: StageRun, evidence: Evidence
) -> bool:
    """By the figures that CloudWatch had: those of the step's closed minutes, give or take one."""
    beside = SHADOW if run.step == "mirroring" else BESIDE
    where = (stage.target.account, stage.target.region, run.trials[-1])
    assert run.since is not None
    is_first = run.since == run.compared_since
    warm_up = evidence.warm_up_minutes if is_first else 0
    wanted = replace(criteria(evidence), warm_up_minutes=warm_up)
    begin = run.since.replace(second=0, microsecond=0) + timedelta(minutes=not is_first)
    for late in (0, 1, 2):
        span = (begin, change.at - timedelta(minutes=late))
        minutes = _minutes(world, where, beside, span, evidence.slow_ms)
        if judge(minutes, wanted, 0).ruling == "healthy":
            return True
    return False


def _minutes(
    world: World,
    where: tuple[str, str, str],
    beside: str,
    span: tuple[datetime, datetime],
    slow_ms: int | None,
) -> dict[str, tuple[Minute, ...]]:
    bad = {"server errors": "Invocation5XXErrors", "client errors": "Invocation4XXErrors"}

    def counts(variant: str, name: str) -> dict[datetime, Counts]:
        arm = (*where, variant)
        requests = world.cloudwatch.figures(arm, "Invocations", "Sum", span)
        if name in bad:
            errors = world.cloudwatch.figures(arm, bad[name], "Sum", span)
        else:
            quick = world.cloudwatch.figures(arm, "ModelLatency", f"TC(:{slow_ms}000)", span)
            errors = {at: of - quick[at] for at, of in requests.items()}
        return {at: Counts(int(of), int(errors[at])) for at, of in requests.items()}

    names = [*bad, *(["slow answers"] if slow_ms is not None else [])]
    found: dict[str, tuple[Minute, ...]] = {}
    for name in names:
        old, new = counts("main", name), counts(beside, name)
        times = sorted(old.keys() | new.keys())
        found[name] = tuple(Minute(old.get(at, _NOBODY), new.get(at, _NOBODY), at) for at in times)
    return found


def _live_under_alarm(world: World, change: Change) -> Iterator[str]:
    for stage, live in change.head.live.items():
        old = change.old_head.live.get(stage)
        if live.restored or (old is not None and old.config == live.config):
            continue
        for alarm in world.cloudwatch.alarms.values():
            if alarm.config == live.config and alarm.firing and alarm.since < change.began:
                yield f"{change.group}/{live.version} went live in {stage} under {alarm.name}"


def _last_good(world: World) -> Iterator[str]:
    for group, stage in world.stages():
        if (group, stage.name) in world.by_hand:
            continue
        good = _baked(world, group, stage.name)
        target = stage.target
        there = world.endpoint(target.account, target.region, target.endpoint)
        serves = "" if there is None else there.config_name
        waits = any(
            _holds_endpoint(run)
            for version in (world.heads[group].open if group in world.heads else ())
            for run in world.releases[group, version].runs
            if run.stage == stage.name
        )
        if good and serves != good[-1] and not waits:
            yield f"{stage.name} of {group} serves {serves or 'nothing'}, not {good[-1]}"


def _baked(world: World, group: str, stage: str) -> list[str]:
    """The configurations that went live, less those that were taken back, by the log."""
    good: list[str] = []
    for _, entry in world.entries.get(group, []):
        if entry.stage != stage or entry.version is None:
            continue
        if entry.what in ("Live", "StageLive"):
            if good[-1:] != [entry.facts["config"]]:
                good.append(entry.facts["config"])
        elif entry.what in ("RolledBack", "Failed", "Rejected", "Aborted") and good[1:]:
            if world.configs[good[-1]][1] == entry.version and entry.severity != "record":
                is_last = "harmed" in entry.facts
                good = good[:-1] if is_last else good
    return good


# ---------------------------------------------------------------- 4


def all_ends_in_time(world: World) -> Iterator[str]:
    """Once faults stop, every release ends in bounded time, or waits for a person; and nothing
    lies in the dead-letter queue that was not failed on five times for what was done to us."""
    if not world.over:
        return
    hours = BOUND / timedelta(hours=1)
    for reason in restless(world):
        yield f"{hours:g} hours after the last fault {reason}"
    for sent in world.dead:
        if len(sent.failures) < 5:
            yield f"{sent.body} lies in the dead-letter queue after {sent.failures}"


def restless(world: World) -> Iterator[str]:
    """What is not at rest: everything that neither has ended nor waits for a person."""
    if world.under_way:
        yield f"{world.under_way} deliveries are under way"
    yield from _served_in_the_end(world)
    for group, at in world.acted.items():
        if world.looked.get(group, at) <= at:
            yield f"{group} was not looked at since somebody did something"
    for (group, version), history in world.approvals.items():
        if (group, version) in world.deleted:
            continue
        release = world.releases.get((group, version))
        ended = world.heads[group].ended.get(version) if group in world.heads else None
        wanted = (
            history[-1][1] != "Rejected"
            if release is None
            else (history[-1][1] == "Approved" and ended == "Rejected")
        )
        if wanted:
            yield f"{group}/{version} is {history[-1][1]} and was not taken up"
    for group, head in world.heads.items():
        if head.training is not None and not head.training.ended:
            yield f"{group} is in training"
        wanted_at = world.training_wanted(group)
        if wanted_at is not None and (head.training is None or head.training.wanted < wanted_at):
            yield f"{group} is to be trained"
        for version in head.open:
            release = world.releases[group, version]
            if not _waits(world, release) and not _behind(world, release):
                run = current_run(release)
                yield f"{release.name} is {phase(release.conditions)}, {run.step} in {run.stage}"
        yield from _left_behind(world, group, head)
    for _, stage in world.stages():
        target = stage.target
        there = world.endpoint(target.account, target.region, target.endpoint)
        if there is not None and there.status in _BUSY | {"SystemUpdating"}:
            yield f"{target.endpoint} is {there.status}"


def _left_behind(world: World, group: str, head: Head) -> Iterator[str]:
    """What should be gone by now, of an ended release that nothing goes back to."""
    live = [each for live in head.live.values() for each in (live, live.replaced) if each]
    needed = {each.version for each in live} | set(head.open)
    for version in set(head.kept) - needed:
        if head.kept[version] <= world.clock.now:
            yield f"{group}/{version} has ended, and what it left is still there"


def _waits(world: World, release: Release) -> bool:
    """Whether a person must do something before it can go on."""
    if _is_ended(release):
        return False
    group, version, run = release.group, release.version, current_run(release)
    wish = world.wish(group, version)
    if wish.aborted is not None and run.stop is None and not _is_blocked(release):
        return False
    if release.approved_at is None:
        return world.approval(group, version) == "PendingManualApproval"
    blocked = find(release.conditions, "Blocked")
    if blocked is not None and blocked.status and blocked.reason in ("NotFound", "Refused"):
        return True
    if blocked is not None and blocked.status and blocked.reason == "Undecided":
        word = wish.promoted.get(run.stage)
        return word is None or (run.asked_at is not None and word.at < run.asked_at)
    paused = find(release.conditions, "Paused")
    if wish.paused is not None and paused is not None and paused.status:
        return True
    heard = run.said is not None and is_of_this_life(release, run.said)
    given = run.stage in wish.approvals or heard
    return (
        run.step == "gate"
        and not given
        and not world.is_approved_in_studio(group, version, run.stage)
    )


def _behind(world: World, release: Release) -> bool:
    """Whether another release of the group, which waits for a person, has the turn."""
    others = (world.releases[release.group, v] for v in world.heads[release.group].open)
    return any(
        _waits(world, other) and _holds_endpoint(current_run(other))
        for other in others
        if other.version != release.version
    )


# ---------------------------------------------------------------- 5


def nothing_is_done_twice(world: World) -> Iterator[str]:
    """Repeated, reordered, late and lost events change neither the end state nor the number of
    side effects: each thing is made once, and each release is brought to a stage once, again only
    after a failure of the service.

    The rest of it is a comparison of two worlds, `differences`.
    """
    for call in _accepted(world, CHANGES):
        undone = _undoes(call)
        if undone is not None:
            world.times[undone] = 0
        once = _once(world, call)
        if once is None:
            continue
        world.times[once] += 1
        if world.times[once] > 1 + _allowances(world, call):
            yield f"{' '.join(once)} for the {world.times[once]}. time"


def _undoes(call: Call) -> tuple[str, ...] | None:
    """What may be made once more afterwards: for a version that is approved after all."""
    match call.operation:
        case "sagemaker:DeleteModel":
            made = ("sagemaker:CreateModel", call.parameters["ModelName"])
        case "sagemaker:DeleteEndpointConfig":
            made = ("sagemaker:CreateEndpointConfig", call.parameters["EndpointConfigName"])
        case _:
            return None
    return (made[0], call.account, call.region, made[1])


def _once(world: World, call: Call) -> tuple[str, ...] | None:
    """What may be done once; None for what may be repeated without harm."""
    given = call.parameters
    where = (call.operation, call.account, call.region)
    match call.operation:
        case "sagemaker:CreateModel":
            return (*where, given["ModelName"])
        case "sagemaker:CreateEndpointConfig":
            return (*where, given["EndpointConfigName"])
        case "s3:CopyObject" | "s3:CompleteMultipartUpload":
            return (*where, given["Key"])
        case "sagemaker:UpdateEndpoint" | "sagemaker:CreateEndpoint":
            acting = _acting(call)
            life = world.releases[acting].admitted_at.isoformat() if acting else ""
            target = (given["EndpointName"], given["EndpointConfigName"])
            return (*where, *target, "for", str(acting), life)
        case "sagemaker:UpdateEndpointWeightsAndCapacities":
            acting = _acting(call)
            life = world.releases[acting].admitted_at.isoformat() if acting else ""
            share = f"{_share(call)} %"
            return (*where, given["EndpointName"], share, "for", str(acting), life)
        case _:
            return None


def _allowances(world: World, call: Call) -> int:
    """How often it may be done again: forward after failures of the service, back after any."""
    given = call.parameters
    if call.operation == _SHIFT:
        return world.changed_by_hand[given["EndpointName"]]
    if call.operation not in _TOWARDS:
        return 0
    owner = _owner(world, given["EndpointConfigName"])
    is_forward = owner is not None and owner[:2] == _acting(call)
    counted = world.service_failures if is_forward else world.failures
    failures = counted[given["EndpointName"], given["EndpointConfigName"]]
    # What somebody changes by hand while it is in our hands, or where it is to be, is made again.
    return failures + world.changed_by_hand[given["EndpointName"]]


def differences(world: World, twin: World) -> Iterator[str]:
    """What two worlds, in which people did the same, came to that is not the same."""
    for what, mine, theirs in (
        ("the endpoints", _endpoints(world), _endpoints(twin)),
        ("the releases", _phases(world), _phases(twin)),
        ("what people were told", letters(world), letters(twin)),
        ("the side effects", _effects(world), _effects(twin)),
    ):
        if mine != theirs:
            changed = set(mine.items()) ^ set(theirs.items())
            yield f"{what} are not the same: {sorted(changed, key=str)[:4]}"


def ends(world: World) -> dict[str, str]:
    """What a story came to: each endpoint's version and status, and each release's phase."""
    served = {
        name: f"{shown.rpartition('-')[0]} {shown.rpartition(' ')[2]}" if shown else ""
        for name, shown in _endpoints(world).items()
    }
    return {**served, **_phases(world)}


def _endpoints(world: World) -> dict[str, str]:
    found = {}
    for _, stage in world.stages():
        target = stage.target
        there = world.endpoint(target.account, target.region, target.endpoint)
        found[target.endpoint] = "" if there is None else f"{there.config_name} {there.status}"
    return found


def _phases(world: World) -> dict[str, str]:
    return {release.name: phase(release.conditions) for release in world.releases.values()}


def letters(world: World) -> dict[str, int]:
    """How often people were told what, by the subject's title: what follows it has figures."""
    counted: dict[str, int] = {}
    for told in world.told:
        # That something keeps failing is told of the fault, not of what people did; and whether
        # the traffic so far is enough to judge by depends on the minute in which it is read.
        if told.entry.what not in ("Blocked", "LabelFailed", "Stuck", "Underpowered"):
            title = told.subject.partition(": ")[0]
            counted[title] = counted.get(title, 0) + 1
    return counted


def _effects(world: World) -> dict[str, int]:
    counted: dict[str, int] = {}
    for call in world.effects:
        once = None if call.again else _once(world, call)
        if once is not None:
            name = " ".join(part for part in once[:5])
            counted[name] = counted.get(name, 0) + 1
    return counted


# ---------------------------------------------------------------- 6


def failed_is_not_tried_again(world: World) -> Iterator[str]:
    """A configuration that failed is not brought to its endpoint again, service failures aside.

    A rollback to a good configuration is tried until it succeeds; an update that we stopped
    ourselves, on a person's word, has not failed; and who rejects a version while it fails, and
    approves it again, asks for it anew.
    """
    for call, release, run in _forward(world):
        config = call.parameters["EndpointConfigName"]
        key = (call.account, call.parameters["EndpointName"], config)
        failed_at, reason = world.failed_configs.get(key, (call.at, ""))
        if failed_at >= call.at or reason.startswith(_SERVICE_FAILURE) or "/stop]" in reason:
            continue
        if failed_at < release.admitted_at:
            continue
        yield f"{release.name} went to {run.stage} again, where it had failed: {reason}"


# ---------------------------------------------------------------- 7


def rollback_stays_possible(world: World) -> Iterator[str]:
    """What a rollback needs, the last good configuration, its model and its artefact, exists until
    something newer is live and has baked."""
    if not world.new_calls and not world.new_changes and not world.over:
        return
    for group, stage in world.stages():
        head = world.heads.get(group)
        live = head.live.get(stage.name) if head is not None else None
        needed: list[Live] = [] if live is None else [live]
        if live is not None and live.replaced is not None:
            needed.append(live.replaced)
        for version in head.open if head is not None else ():
            for run in world.releases[group, version].runs:
                if run.stage == stage.name and run.replaced and _holds_endpoint(run):
                    needed.append(Live(0, run.replaced, world.clock.now))
        site = world.simulator.site(stage.target.account, stage.target.region)
        for each in needed:
            config = site.state.get("endpoint-configs", {}).get(each.config)
            if config is None:
                yield f"the configuration {each.config} that {stage.name} may go back to is gone"
                continue
            model = site.state["models"].get(config["ProductionVariants"][0]["ModelName"])
            if model is None:
                yield f"the model of {each.config} that {stage.name} may go back to is gone"
                continue
            url = model["PrimaryContainer"]["ModelDataUrl"].removeprefix("s3://")
            if url not in world.bucket.objects:
                yield f"the artefact of {each.config} that {stage.name} may go back to is gone"


# ---------------------------------------------------------------- 8

# Told at most once of a release between its admission and its end, for each stage and severity.
_ONCE = {
    "Registered",
    "Approved",
    "GateWaiting",
    "GateApproved",
    "SmokePassed",
    "SmokeFailed",
    "AlarmFired",
    "EndpointChanged",
    "CreateFailed",
    "StageLive",
    "Live",
    "RolledBack",
    "Failed",
    "Rejected",
    "Aborted",
    "Superseded",
    "ShadowPassed",
    "CorrectionFailed",
    "Adopted",
}


def people_are_told_once(world: World) -> Iterator[str]:
    """A person is told everything that needs them, once: no entry of the log twice, no two entries
    for the same thing, and in the end every entry that was to be told, and one for everything that
    waits, has ended or is blocked.

    A crash between telling and noting that it was told tells again: nothing can prevent that.
    """
    for change in world.new_changes:
        for _, entry in change.entries:
            yield from _said_before(world, change, entry.version, entry.what, entry)
    if world.over:
        yield from _told_in_the_end(world)


def _said_before(
    world: World, change: Change, version: int | None, what: str, entry: Entry
) -> Iterator[str]:
    if version is None or entry.severity == "record":
        return
    release = world.releases[change.group, version]
    old = change.old_releases.get(version)
    key: tuple[str, ...]
    if what == "Blocked" and old is not None and _is_blocked(old):
        before = find(old.conditions, "Blocked")
        if before is not None and before.message == entry.why:
            yield f"{release.name} is told to be blocked again: {entry.why}"
    if what == "AlarmAfterLive":
        fired = sum(
            count for name, count in world.cloudwatch.fired.items() if name in entry.why.split()
        )
        key = ("told", change.group, str(version), what, str(entry.stage), entry.why)
        world.times[key] += 1
        if world.times[key] > fired:
            yield f"{release.name}: {entry.why} is told {world.times[key]} times"
    if what == "Undecided":
        run = current_run(release)
        step = (run.step, str(run.share), str(run.since))
        asked: tuple[str, ...] = ("told", release.name, what, str(entry.stage), *step)
        world.times[asked] += 1
        if world.times[asked] > 1:
            yield f"{release.name} is told to be undecided in {entry.stage} again"
    if what == "Stuck":
        # Once on the way to live, once on the way back from it.
        begun = str(current_run(release).begun_at)
        late: tuple[str, ...] = ("told", release.name, what, str(entry.stage), begun)
        world.times[late] += 1
        if world.times[late] > 1:
            yield f"{release.name} is told to be stuck in {entry.stage} again"
    if what == "Drifted":
        yield from _drifted_again(world, change, entry)
    if what in _ONCE:
        # As of the change itself: in the same moment it may have been admitted anew.
        life = change.releases.get(version, release).admitted_at.isoformat()
        key = ("told", release.name, life, what, str(entry.stage), entry.severity)
        world.times[key] += 1
        if world.times[key] > 1:
            yield f"{release.name}: {what} in {entry.stage} is said again: {entry.why}"


def _drifted_again(world: World, change: Change, entry: Entry) -> Iterator[str]:
    """Each change by hand is told once, and nothing else is taken for one."""
    assert entry.version is not None and entry.stage is not None
    release = world.releases[change.group, entry.version]
    policy = world.policies[change.group, release.policy_version]
    endpoint = policy.stage(entry.stage).target.endpoint
    key = ("told", "Drifted", endpoint)
    world.times[key] += 1
    if world.times[key] > world.changed_by_hand[endpoint]:
        yield f"{endpoint} is told to have drifted for the {world.times[key]}. time: {entry.why}"


def _told_in_the_end(world: World) -> Iterator[str]:
    counts: dict[str, int] = {}
    for told in world.told:
        counts[told.position] = counts.get(told.position, 0) + 1
    for entries in world.entries.values():
        for position, entry in entries:
            count = counts.get(position, 0)
            allowed = 2 if position in world.told_twice_allowed else 1
            if entry.severity == "record" and count:
                yield f"{position} was only to be kept, and was told"
            elif entry.severity != "record" and not 1 <= count <= allowed:
                yield f"{position}, {entry.what}, was told {count} times"
    for release in world.releases.values():
        want = _wants_telling(world, release)
        told_of = {
            (told.entry.what)
            for told in world.told
            if (told.entry.group, told.entry.version) == (release.group, release.version)
        }
        if want and want not in told_of:
            yield f"{release.name} is {want} and nobody was told"


def _wants_telling(world: World, release: Release) -> str:
    if _is_ended(release):
        ended = phase(release.conditions)
        # Whoever replaced it is told to be live, and names what it replaced.
        replaced = find(release.conditions, "Live") is not None and ended == "Superseded"
        return "" if replaced else ended
    if release.approved_at is None:
        return "Registered"
    if current_run(release).step == "gate":
        return "GateWaiting"
    if not _is_blocked(release):
        return ""
    blocked = find(release.conditions, "Blocked")
    return "Undecided" if blocked is not None and blocked.reason == "Undecided" else "Blocked"


# ---------------------------------------------------------------- 9

_ENTRIES = {
    "s3:CopyObject": {"ArtifactCopied", "ArtifactChanged"},
    "s3:CreateMultipartUpload": {"Pinning", "Pinned", "Copying", "ArtifactCopied"},
    "s3:UploadPartCopy": {"Pinning", "Pinned", "Copying", "ArtifactCopied"},
    "s3:AbortMultipartUpload": {"Pinned"},
    "s3:CompleteMultipartUpload": {"ArtifactCopied"},
    "sagemaker:CreateModel": {"ModelCreated"},
    "sagemaker:CreateEndpointConfig": {"ConfigCreated", "TrialCreated"},
    "cloudwatch:PutMetricAlarm": {"AlarmsCreated"},
    "cloudwatch:PutMetricData": {"StopSignalled", "TakenBack"},
    # A worker that crashed after its call leaves it to the next to say what came of it.
    "sagemaker:CreateEndpoint": {"CreationAsked", "Deployed", "CreateFailed", "TakenBack"},
    "sagemaker:UpdateEndpoint": {
        "RolloutAsked",
        "RollbackAsked",
        "Deployed",
        "TakenBack",
        "RolledBack",
        "TriedAgain",
        "Blocked",
    },
    "sagemaker:UpdateEndpointWeightsAndCapacities": {"ShareAsked", "Shifted", "TakenBack"},
    "sagemaker:DeleteEndpoint": {"DeletionAsked", "TakenBack"},
    "sagemaker:DeleteEndpointConfig": {"Retired"},
    "sagemaker:DeleteModel": {"Retired"},
    "cloudwatch:DeleteAlarms": {"Retired"},
    "sagemaker:StartPipelineExecution": {"TrainingStarted"},
}
# What a try that got only half of it done, or was never heard of again, leaves.
_IN_VAIN = {"TriedAgain", "Blocked", "Interrupted", "NotRetired"}


def every_change_is_logged(world: World) -> Iterator[str]:
    """Every change has a log entry: what, why, on whose word, under which policy version; every
    call in a target account carries the release in its session name, tags and source identity."""
    for change in world.new_changes:
        moved = any(
            _moved(old, change.releases[version]) for version, old in change.old_releases.items()
        )
        # What a claim begins is said when it is known what came of it.
        is_claim = change.head.intent is not None
        changed = change.head.live != change.old_head.live and not is_claim
        if (moved or changed) and not change.entries:
            yield f"{change.group}: status changed without a word in the log"
        for position, entry in change.entries:
            if not entry.why or not entry.by:
                yield f"{position}, {entry.what}, does not say why or on whose word"
            if entry.version is not None and entry.policy_version is None:
                yield f"{position}, {entry.what}, does not say under which policy"
    for call in world.new_calls:
        if call.account != HUB:
            yield from _unsigned(world, call)
    if world.over:
        yield from _unlogged(world)


def _moved(old: Release | None, new: Release) -> bool:
    if old is None:
        return True
    steps = [(run.step, run.stop) for run in old.runs] != [(run.step, run.stop) for run in new.runs]
    return steps or phase(old.conditions) != phase(new.conditions)


def _unsigned(world: World, call: Call) -> Iterator[str]:
    if call.credentials is None:
        yield f"{call.operation} in {call.account} with nobody's credentials"
        return
    acting = _acting(call)
    if acting not in world.releases:
        yield f"{call.operation} in {call.account} for no release"
        return
    name = f"sageops-{acting[0]}-{acting[1]}"
    if (call.credentials.session_name, call.credentials.source_identity) != (name, name):
        yield f"{call.operation} in {call.account} as {call.credentials.session_name}"


def _unlogged(world: World) -> Iterator[str]:
    said: dict[tuple[str, int | None], set[str]] = {}
    for group, entries in world.entries.items():
        for _, entry in entries:
            said.setdefault((group, entry.version), set()).add(entry.what)
    for call in world.effects:
        if call.operation not in _ENTRIES:
            continue
        wanted = _ENTRIES[call.operation] | _IN_VAIN
        if call.operation == "sagemaker:StartPipelineExecution":
            found = any(wanted & whats for (_, version), whats in said.items() if version is None)
        elif call.credentials is None:
            # In the hub, under no release's name.
            found = any(wanted & whats for whats in said.values())
        else:
            acting = _acting(call)
            found = acting is not None and bool(wanted & said.get(acting, set()))
        if not found:
            yield f"{call.operation} at {call.at:%H:%M} is nowhere in the log"


# ---------------------------------------------------------------- common


def _accepted(world: World, operations: frozenset[str] | set[str]) -> Iterator[Call]:
    """The new calls of these operations that had their effect, the client's retries aside."""
    for call in world.new_calls:
        if call.operation in operations and not call.error and not call.again:
            yield call


def _forward(world: World) -> Iterator[tuple[Call, Release, StageRun]]:
    """New calls that bring a release's own configuration, or its trial, to an endpoint."""
    for call in _accepted(world, _TOWARDS):
        owner = _owner(world, call.parameters["EndpointConfigName"])
        if owner is None or _acting(call) != owner[:2]:
            continue
        release = world.releases[owner[0], owner[1]]
        yield call, release, release.run(owner[2])


def _owner(world: World, config: str) -> tuple[str, int, str] | None:
    """The group, version and stage that a configuration, or a trial, was made for."""
    return world.configs.get(config) or world.trials.get(config)


def _acting(call: Call) -> tuple[str, int] | None:
    """The release for whose sake a call in a target account was made, by its session's tags."""
    if call.credentials is None:
        return None
    name = dict(call.credentials.tags).get("sageops:release", "")
    group, _, version = name.rpartition("/")
    return (group, int(version)) if version.isdigit() else None


def _is_ended(release: Release) -> bool:
    ended = find(release.conditions, "Ended")
    return ended is not None and ended.status


def _is_blocked(release: Release) -> bool:
    blocked = find(release.conditions, "Blocked")
    return blocked is not None and blocked.status


INVARIANTS = (
    one_update_at_a_time,
    served_is_entitled,
    stopped_goes_no_further,
    all_ends_in_time,
    nothing_is_done_twice,
    failed_is_not_tried_again,
    rollback_stays_possible,
    people_are_told_once,
    every_change_is_logged,
)
