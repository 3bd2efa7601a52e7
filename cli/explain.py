"""`sageops explain`: why a release is where it is, what it waits for, and what can be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from sageops.board import Row
from sageops.conditions import is_undecided
from sageops.model import Condition, Entry, Head, Release, StageRun
from sageops.moves import current_run, is_paused
from sageops.policy import Policy, Progressive, Stage

__all__ = ["Explanation", "commands", "explain", "shown"]


@dataclass(frozen=True)
class Explanation:
    """`log` is the latest about it, the newest last."""

    release: str
    phase: str
    stage: str
    why: str
    waits_for: str
    conditions: tuple[Condition, ...]
    log: tuple[Entry, ...]
    commands: tuple[str, ...]


def explain(  # noqa: PLR0913 - everything that plays a part in it
    row: Row,
    release: Release,
    head: Head | None,
    policy: Policy | None,
    log: Sequence[Entry],
    now: datetime,
) -> Explanation:
    """What is recorded of a release, put into words."""
    return Explanation(
        row.name,
        row.phase,
        row.stage,
        row.why,
        _waits_for(row, release, head, policy, now),
        release.conditions,
        tuple(entry for entry in log if entry.version == release.version)[-8:],
        commands(row),
    )


def commands(row: Row) -> tuple[str, ...]:
    """What a person can type now: the board's buttons as commands."""
    found = []
    for button in row.buttons:
        verb = "rollback" if button.action == "abort" and row.phase == "Live" else button.action
        stage = f" --stage {button.stage}" if button.stage else ""
        found.append(f"sageops {verb} {row.name}{stage} --by YOUR-NAME")
    return tuple(found)


def _waits_for(
    row: Row, release: Release, head: Head | None, policy: Policy | None, now: datetime
) -> str:
    run = current_run(release)
    if row.phase in ("Live", "RolledBack", "Failed", "Rejected", "Superseded", "Aborted"):
        return "Nothing: it has come to its end."
    if release.held_until is not None and release.held_until > now:
        return (
            f"The next try of '{run.step}' at {release.held_until:%H:%M} UTC, after "
            f"{release.troubles} that failed."
        )
    if release.approved_at is None:
        return "Somebody who approves or rejects it in the registry."
    if is_paused(release):
        return "Somebody who resumes it."
    if is_undecided(release):
        return (
            f"A person who decides, with `promote` or `abort`: the evidence in {run.stage} does "
            "not."
        )
    other = _in_its_way(release, head)
    return other or _by_step(run, policy, now)


def _in_its_way(release: Release, head: Head | None) -> str:
    """One release of a group moves at a time, and a claimed step names the one that does."""
    intent = head.intent if head is not None else None
    if intent is not None and intent.release not in (release.name, release.group):
        return f"{intent.release}, which is in the middle of {intent.action}."
    return ""


def _by_step(run: StageRun, policy: Policy | None, now: datetime) -> str:
    stage = None if policy is None else policy.stage(run.stage)
    match run.step:
        case "waiting":
            return f"Its turn in {run.stage}: one release of a group moves at a time."
        case "gate":
            return (
                f"A person who approves {run.stage}: as below, or on the package in SageMaker "
                f"Studio (Update model lifecycle: stage {run.stage}, status Approved)."
            )
        case "copying":
            return "S3, which copies the model. A large one takes some minutes."
        case "pulling":
            return "ECR, which copies the image. It takes some minutes."
        case "mirroring" if stage is not None and stage.shadow is not None and run.compared_since:
            until = _at(run.compared_since, stage.shadow.minutes)
            return (
                f"Evidence that it is no worse, or {until}: {stage.shadow.percent} % of the "
                "requests are mirrored to it, and nobody gets its answers."
            )
        case "shifting" if stage is not None and run.share and run.since is not None:
            step = stage.rollout.step_minutes if isinstance(stage.rollout, Progressive) else 0
            return (
                f"Evidence that it is no worse, or {_at(run.since, step)}: {run.share} % of the "
                "requests are its own."
            )
        case "mirroring" | "shifting":
            return f"SageMaker, which sets it up in {run.stage} beside what serves there."
        case "deploying" if run.asked_at is not None:
            minutes = (now - run.asked_at) / timedelta(minutes=1)
            judged = ", while it is compared with what it replaces" if _judged(run, stage) else ""
            return f"SageMaker, which was asked for the update {minutes:.0f} minutes ago{judged}."
        case "baking" if stage is not None and run.since is not None:
            bake = stage.checks.bake_minutes + run.unwatched_minutes
            return f"The end of its bake, at {_at(run.since, bake)}; its alarms are watched."
        case "stopping":
            return f"SageMaker, which brings {run.stage} back to {run.replaced or 'nothing'}."
        case other:
            return f"The step '{other}', which is done at the next look, within minutes."


def _at(since: datetime, minutes: int) -> str:
    return f"{since + timedelta(minutes=minutes):%H:%M} UTC"


def _judged(run: StageRun, stage: Stage | None) -> bool:
    return bool(run.replaced) and stage is not None and stage.checks.evidence is not None


def shown(found: Explanation) -> Lines:
    """The explanation for a terminal, all of it as text."""
    parts: list[RenderableType] = [
        Text.assemble((found.release, "bold"), f" is {found.phase} in {found.stage}."),
        Text(found.why),
        Text(""),
        Text.assemble(("It waits for: ", "bold"), found.waits_for),
        Text(""),
        Text("Conditions", "bold"),
        *(line for each in found.conditions for line in _condition(each)),
        Text(""),
        Text("Last in its log", "bold"),
        _entries(found.log),
    ]
    if found.commands:
        parts += [Text(""), Text("What can be done", "bold")]
        parts += [Text(f"  {each}") for each in found.commands]
    return Lines(*parts)


def _condition(each: Condition) -> tuple[RenderableType, ...]:
    since = f"since {each.last_transition_at:%Y-%m-%d %H:%M}"
    what = f"  {each.type}: {'yes' if each.status else 'no'}, {each.reason}, {since}"
    return Text(what), Padding(Text(each.message), (0, 0, 0, 6), expand=False)


def _entries(log: Sequence[Entry]) -> Table:
    grid = Table.grid(padding=(0, 1))
    for each in log:
        at = f"  {each.at:%Y-%m-%d %H:%M:%S}"
        grid.add_row(*map(Text, (at, each.stage or "", each.what, each.why)))
    return grid
