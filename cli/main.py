"""`sageops`: policies in, people's words in, and a look at what is going on.

Exit codes: 0 done; 1 something is wrong with the input; 2 wrong usage; 3 AWS could not be
reached or refused.
"""

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import ClientError
from msgspec import json
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text
from sageops.adapters.trouble import message_of
from sageops.board import rows
from sageops.errors import TroubleError
from sageops.policy import Policy

from cli import wishes
from cli.hub import Unreachable, connect
from cli.policy_file import Unreadable, read
from cli.power import Finding, Measured, findings, said, sign_in
from cli.push import TakenElsewhere, push

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
policy = typer.Typer(no_args_is_help=True, help="What the owners of a model group want.")
app.add_typer(policy, name="policy")

StackName = Annotated[str, typer.Option("--stack", help="The hub's CloudFormation stack.")]
Release = Annotated[str, typer.Argument(help="GROUP/VERSION, as in churn/12.")]
By = Annotated[str, typer.Option("--by", help="On whose word.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the log.")]
PolicyFile = Annotated[Path, typer.Argument(help="A policy in YAML.")]


def main() -> None:
    """Run the command; every foreseeable error is one line that says what to do."""
    try:
        app()
    except (Unreadable, wishes.NotThere, TakenElsewhere) as error:
        _fail(str(error), 1)
    except (Unreachable, TroubleError) as error:
        _fail(str(error), 3)
    except ClientError as error:
        _fail(f"AWS refused: {message_of(error)}", 3)


@policy.command()
def lint(file: PolicyFile) -> None:
    """Say everything that is wrong with a policy file. Reads nothing but the file."""
    _, found, problems = read(file)
    for problem in problems:
        typer.echo(problem)
    if found is None:
        raise typer.Exit(1)
    stages = ", ".join(stage.name for stage in found.stages)
    typer.echo(f"{file}: good. Group {found.group}, stages {stages}.")


@policy.command(name="push")
def push_(file: PolicyFile, by: By = "", stack: StackName = "sageops") -> None:
    """Make a policy file the one in force for its group. Releases under way keep theirs."""
    text, found, problems = read(file)
    for problem in problems:
        typer.echo(problem, err=True)
    if found is None:
        raise typer.Exit(1)
    pushed = push(connect(stack), text, found, by or getpass.getuser(), datetime.now(UTC))
    if not pushed.new:
        typer.echo(f"{found.group}: unchanged, version {pushed.number} is in force.")
        return
    typer.echo(f"{found.group}: version {pushed.number} is in force.")
    if pushed.history:
        listed = ", ".join(map(str, pushed.history))
        typer.echo(f"Approved before and not released of themselves: {listed}.")


@policy.command()
def schema() -> None:
    """Print the JSON schema of a policy, for editors."""
    typer.echo(json.format(json.encode(json.schema(Policy)), indent=2).decode())


@app.command()
def approve(
    release: Release,
    stage: Annotated[str, typer.Option("--stage", help="The stage whose gate is opened.")],
    by: By,
    why: Why = "",
    stack: StackName = "sageops",
) -> None:
    """Open a stage's gate for a release."""
    change = wishes.approve(stage, by, why, datetime.now(UTC))
    wishes.wish(connect(stack), release, change, stage)
    typer.echo(f"{release}: {stage} is approved by {by}.")


@app.command()
def abort(release: Release, by: By, why: Why = "", stack: StackName = "sageops") -> None:
    """Stop a release; what it changed is taken back. A live release is rolled back."""
    wishes.wish(connect(stack), release, wishes.abort(by, why, datetime.now(UTC)))
    typer.echo(f"{release}: aborted by {by}; it is taken back now.")


@app.command()
def pause(release: Release, by: By, why: Why = "", stack: StackName = "sageops") -> None:
    """Begin nothing new for a release. A rollout under way goes on and is still watched."""
    wishes.wish(connect(stack), release, wishes.pause(by, why, datetime.now(UTC)))
    typer.echo(f"{release}: paused by {by}.")


@app.command()
def promote(
    release: Release,
    stage: Annotated[str, typer.Option("--stage", help="The stage that is to go on.")],
    by: By,
    why: Why = "",
    stack: StackName = "sageops",
) -> None:
    """Let a stage go on now: no more waiting for evidence, or for the bake to end.

    What does harm is taken back all the same, and an update that SageMaker carries out takes its
    own time.
    """
    change = wishes.promote(stage, by, why, datetime.now(UTC))
    wishes.wish(connect(stack), release, change, stage)
    typer.echo(f"{release}: {stage} goes on, on the word of {by}.")


@app.command()
def resume(release: Release, by: By, why: Why = "", stack: StackName = "sageops") -> None:
    """Let a paused or blocked release go on at once."""
    wishes.wish(connect(stack), release, wishes.resume(by, why, datetime.now(UTC)))
    typer.echo(f"{release}: goes on.")


@app.command()
def status(
    group: Annotated[str, typer.Argument(help="One model group; all without it.")] = "",
    stack: StackName = "sageops",
) -> None:
    """What is live where, what moves, and why it waits."""
    hub = connect(stack)
    grid = Grid("Group", "Version", "Phase", "Stage", "Live in", "Why")
    for each in [group] if group else hub.table.groups():
        for row in rows(each, hub.table.head(each), hub.table.releases(each)):
            live = ", ".join(row.live_in)
            cells = (row.group, str(row.version), row.phase, row.stage, live, row.why)
            # As text: what a model or a service says is never markup.
            grid.add_row(*(Text(cell) for cell in cells))
    Console().print(grid)


@app.command()
def power(
    file: PolicyFile,
    requests_per_minute: Annotated[
        float | None, typer.Option(min=0, help="What each endpoint gets; else it is measured.")
    ] = None,
    error_percent: Annotated[
        float | None,
        typer.Option(min=0.0001, max=99, help="Of these, answered 5xx; 0.1 if not said."),
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", help="The AWS profile to measure with.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """How small a regression each comparison of a policy can find, and what would do.

    With 80 % power, in the traffic of the last day, or in the traffic that you say.
    """
    _, found, problems = read(file)
    for problem in problems:
        typer.echo(problem, err=True)
    if found is None:
        raise typer.Exit(1)
    if requests_per_minute is not None:
        measure = said(requests_per_minute, 0.1 if error_percent is None else error_percent)
    elif error_percent is not None:
        raise typer.BadParameter("--error-percent goes with --requests-per-minute.")
    else:
        measure = Measured(*sign_in(profile or None), datetime.now(UTC))
    told = list(findings(found, measure))
    if as_json:
        typer.echo(json.format(json.encode(told), indent=2).decode())
    else:
        Console().print(_power_grid(told))
        for each in told:
            typer.echo(f"{each.stage}, {each.strategy}: {each.message}")
    asked = [each for each in told if each.outcome != "none"]
    if asked and all(each.outcome == "unknown" for each in asked):
        raise typer.Exit(3)


def _power_grid(told: list[Finding]) -> Grid:
    grid = Grid("Stage", "Strategy", "Traffic", "Share, time", "Finds", "Wanted", "", "Would do")
    for each in told:
        if each.outcome in ("none", "unknown"):
            grid.add_row(each.stage, each.strategy, *["-"] * 4, each.outcome, "-")
            continue
        grid.add_row(
            each.stage,
            each.strategy,
            f"{each.requests_per_minute:,.4g} a minute, {each.error_percent:.2g} % bad",
            f"{each.share_percent:.3g} %, {each.minutes} min",
            "nothing" if each.smallest_ratio is None else f"{each.smallest_ratio:.2g} times",
            f"{each.wanted_ratio:.3g} times",
            each.outcome,
            "-"
            if each.better_minutes is None
            else f"{each.better_share_percent:.3g} %, {each.better_minutes} min",
        )
    return grid


def _fail(message: str, code: int) -> None:
    typer.echo(message, err=True)
    sys.exit(code)
