"""One release on its way back: until the endpoint serves what it served before, then the harm is
counted."""

from msgspec.structs import replace

from sageops.model import (
    Arm,
    BlueGreen,
    CountHarm,
    CreateEndpoint,
    DeleteEndpoint,
    EndpointSeen,
    Errand,
    Record,
    Release,
    Routing,
    ShiftTraffic,
    SignalStop,
    StageRun,
    Step,
    Trouble,
    UpdateEndpoint,
    View,
)
from sageops.moves import act, entry, errand, look_again, record, to_step
from sageops.names import BESIDE, VARIANT
from sageops.policy import Stage
from sageops.seeing import BUSY, served, share
from sageops.settle import hold
from sageops.strategies import by_guardrail
from sageops.strategies.timeout import timeout_seconds

__all__ = ["back", "count"]

_AT_ONCE = BlueGreen(Routing("ALL_AT_ONCE"), 0, timeout_seconds(0), ())


def back(view: View, release: Release, run: StageRun, stage: Stage) -> Step:
    """The next step back; `run.stop` says why."""
    where = errand(release, run, stage)
    why = run.stop
    if why is None:
        raise AssertionError(f"{release.name} goes back in {run.stage} for no reason")
    if run.step == "counting":
        since = why.harm_since or release.admitted_at
        return act(view, CountHarm(where, _answering(run), since), release, run.stage)
    seen = view.endpoints[stage.name]
    if isinstance(seen, Trouble):
        return hold(view, release, run, seen)
    if seen is None:
        back_to = _goes_back_to(view, run)
        if back_to:
            return act(view, CreateEndpoint(where, back_to), release, run.stage)
        return count(view, release, run, seen)
    match seen.status:
        case "Failed":
            return act(view, DeleteEndpoint(where), release, run.stage)
        case "Updating" if seen.pending == run.config and by_guardrail(stage):
            return act(view, SignalStop(where, run.config), release, run.stage)
        case status if status in BUSY:
            return look_again(view, f"{release.name}: {stage.name} is {seen.status}")
        case _ if seen.config not in (run.config, *run.trials):
            return count(view, release, run, seen)
        case _ if share(seen):
            return act(view, ShiftTraffic(where, 0), release, run.stage)
        case _:
            return _undo(view, release, run, seen, where)


def _answering(run: StageRun) -> tuple[Arm, ...]:
    """Whatever of the release answered users; nobody gets the answers of a shadow."""
    return (*(Arm(trial, BESIDE) for trial in run.trials), Arm(run.config, VARIANT))


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
        update = UpdateEndpoint(where, back_to, _AT_ONCE)
        if seen.config in run.trials:
            update = UpdateEndpoint(where, back_to, None, as_many=True)
        return act(view, update, release.with_run(asked), run.stage)
    live = view.records.head.live.get(run.stage)
    if live is not None and live.config == run.config:
        # It was live before it was released anew.
        return count(view, release, run, seen)
    # Nobody relies on an endpoint that never went live, and nobody wants what it serves: a later
    # version would take it for what to go back to.
    return act(view, DeleteEndpoint(where), release, run.stage)


def _goes_back_to(view: View, run: StageRun) -> str:
    live = view.records.head.live.get(run.stage)
    if live is not None and live.config == run.config:
        return live.replaced.config if live.replaced is not None else ""
    return run.replaced


def count(view: View, release: Release, run: StageRun, seen: EndpointSeen | None) -> Record:
    """The endpoint is where it is to stay; what the release did there is counted next."""
    counting = to_step(view, release, run, "counting")
    if seen is not None and seen.config == run.config:
        what, why = "NothingToGoBackTo", f"{run.stage} is left as it is: nothing better is known."
    else:
        what, why = "TakenBack", f"{run.stage} is back: {served(seen)}."
    told = entry(view.now, release, what, why, stage=run.stage)
    return record(view, counting, log=(told,))
