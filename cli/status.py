"""`sageops status`: what is live where, what moves and why it waits, as a tree."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError
from msgspec import json
from rich.text import Text
from rich.tree import Tree
from sageops.adapters.trouble import message_of
from sageops.board import Row, rows
from sageops.comparison import Progress
from sageops.model import Release
from sageops.moves import MOVING, current_run
from sageops.policy import Policy

from cli.hub import Hub

__all__ = ["Bake", "Group", "look", "tree"]

_WIDTH = 20
_COLOURS = {
    "Live": "green",
    "RolledBack": "red",
    "Failed": "red",
    "AwaitingApproval": "yellow",
    "Paused": "yellow",
    "Progressing": "cyan",
}


@dataclass(frozen=True)
class Bake:
    """How far a stage's bake has come, in minutes."""

    done: int
    of: int


@dataclass(frozen=True)
class Group:
    """A group as the tree shows it. `bakes` and `progress` by version; `note` says why there are
    no figures of rollouts under way, where there should be some."""

    name: str
    rows: tuple[Row, ...]
    bakes: dict[int, Bake]
    progress: dict[int, Progress]
    note: str = ""


def look(hub: Hub, names: Iterable[str], now: datetime) -> list[Group]:
    """The groups as they are now. The figures of rollouts come from the board's function, which may
    look into target accounts; without it, or the right to call it, there are none."""
    return [_group(hub, name, now) for name in names]


def _group(hub: Hub, name: str, now: datetime) -> Group:
    releases = hub.table.releases(name)
    policies = {number: _policy(hub, name, number) for number in _baking(releases)}
    bakes = {
        release.version: bake
        for release in releases
        if (bake := _bake(release, policies.get(release.policy_version), now)) is not None
    }
    found = rows(name, hub.table.head(name), releases)
    # Paused, too, a person wants to know what to decide by.
    moves = any(row.phase in ("Progressing", "Paused") and row.step in MOVING for row in found)
    progress, note = _progress(hub, name) if moves or bakes else ({}, "")
    return Group(name, found, bakes, progress, note)


def _baking(releases: Iterable[Release]) -> set[int]:
    return {each.policy_version for each in releases if current_run(each).step == "baking"}


def _policy(hub: Hub, name: str, number: int) -> Policy | None:
    pushed = hub.table.policy(name, number)
    return None if pushed is None else pushed.policy


def _bake(release: Release, policy: Policy | None, now: datetime) -> Bake | None:
    run = current_run(release)
    if run.step != "baking" or run.since is None or policy is None:
        return None
    of = policy.stage(run.stage).checks.bake_minutes
    return Bake(min(int((now - run.since) / timedelta(minutes=1)), of), of)


def _progress(hub: Hub, name: str) -> tuple[dict[int, Progress], str]:
    if "BoardFunctionName" not in hub.outputs:
        return {}, ""
    asked = json.encode({"group": name, "format": "progress"})
    try:
        answer = hub.client("lambda").invoke(
            FunctionName=hub.outputs["BoardFunctionName"], Payload=asked
        )
    except ClientError as error:
        return {}, f"no figures: {message_of(error)}"
    body: Any = answer["Payload"].read()
    if "FunctionError" in answer:
        return {}, "no figures: the board's function failed; its log says why"
    found = json.decode(body, type=list[Progress])
    return {each.version: each for each in found}, ""


# ---------------------------------------------------------------- the tree


def tree(groups: Iterable[Group]) -> Tree:
    """Everything as text: what a model or a service says is never markup."""
    top = Tree(Text("SageOps", "bold"), guide_style="dim")
    for group in groups:
        live = ", ".join(f"{stage} {row.version}" for row in group.rows for stage in row.live_in)
        branch = top.add(
            Text.assemble((group.name, "bold"), (f"  live: {live or 'nothing yet'}", "dim"))
        )
        for row in group.rows:
            _add(branch, row, group)
        if group.note:
            branch.add(Text(group.note, "dim"))
    if not top.children:
        top.add(Text("No model group yet: sageops policy push FILE"))
    return top


def _add(branch: Tree, row: Row, group: Group) -> None:
    where = f" in {row.stage}"
    step = f", {row.step}" if row.phase in ("Progressing", "Paused") else ""
    colour = _COLOURS.get(row.phase, "dim")
    leaf = branch.add(
        Text.assemble((row.name, "bold"), "  ", (row.phase, colour), (f"{where}{step}", "dim"))
    )
    leaf.add(Text(row.why))
    seen, bake = group.progress.get(row.version), group.bakes.get(row.version)
    if seen is not None and seen.share is not None:
        name = "mirrored" if seen.mirrored else "traffic"
        leaf.add(_bar(name, seen.share, f"{100 * seen.share:.0f} %", "cyan"))
    if seen is not None and seen.threshold:
        towards = max(seen.log_evidence, 0.0) / seen.threshold
        said = f"{seen.ruling}: {seen.message}"
        leaf.add(_bar("worse?", towards, said, "red"))
    if bake is not None:
        share = bake.done / bake.of if bake.of else 1.0
        leaf.add(_bar("bake", share, f"{bake.done} of {bake.of} minutes", "green"))


def _bar(name: str, share: float, said: str, colour: str) -> Text:
    full = round(_WIDTH * min(max(share, 0.0), 1.0))
    return Text.assemble(
        f"{name:9}", ("█" * full, colour), ("░" * (_WIDTH - full), "dim"), f"  {said}"
    )
