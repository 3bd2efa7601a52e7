"""`sageops`: policies in, people's words in, and a look at what is going on.

Exit codes: 0 done; 1 something is wrong with the input, or `doctor` found something; 2 wrong
usage; 3 AWS could not be reached or refused. `--json` prints one JSON value to standard output, of
the same content; what went wrong is said on standard error in words either way.
"""

import getpass
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from botocore.exceptions import ClientError
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text
from sageops.adapters.registry import Registry
from sageops.adapters.trouble import message_of
from sageops.board import rows
from sageops.conditions import phase
from sageops.errors import Conflict, TroubleError
from sageops.model import Release as Released
from sageops.policy import Policy
from sageops.wishes import Change

from cli import local, wishes
from cli.changes import changes
from cli.clock import now
from cli.doctor import examine
from cli.explain import explain, shown
from cli.hub import Hub, Unreachable, connect, default_region
from cli.init import Draft, Place, drafted, place, write
from cli.policy_file import Unreadable, read
from cli.power import Finding, Measured, findings, said, sign_in
from cli.push import TakenElsewhere, push
from cli.redrive import redrive
from cli.report import fetch
from cli.status import look, tree

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
policy = typer.Typer(no_args_is_help=True, help="What the owners of a model group want.")
app.add_typer(policy, name="policy")
app.add_typer(local.app, name="local")

StackName = Annotated[str, typer.Option("--stack", help="The hub's CloudFormation stack.")]
Release = Annotated[str, typer.Argument(help="GROUP/VERSION, as in churn/12.")]
By = Annotated[str, typer.Option("--by", help="On whose word.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the log.")]
PolicyFile = Annotated[Path, typer.Argument(help="A policy in YAML.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# So many entries of a log that nobody asked more of.
_SHOWN = 30


@app.callback()
def options(
    profile: Annotated[
        str, typer.Option("--profile", help="The AWS profile; else AWS_PROFILE, or what is set.")
    ] = "",
) -> None:
    """Policies in, people's words in, and a look at what is going on.

    Exit codes: 0 done; 1 something is wrong with the input, or `doctor` found something; 2 wrong
    usage; 3 AWS could not be reached or refused.
    """
    if profile:
        os.environ["AWS_PROFILE"] = profile
        # A profile that is named goes before keys that happen to be set, as with `aws --profile`.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)


def main() -> None:
    """Run the command; every foreseeable error is one line that says what to do."""
    try:
        app()
    except (Unreadable, wishes.NotThere, TakenElsewhere) as error:
        _fail(str(error), 1)
    except Conflict:
        _fail("Somebody else writes at the same time: run it again.", 3)
    except (Unreachable, TroubleError) as error:
        _fail(str(error), 3)
    except ClientError as error:
        _fail(f"AWS refused: {message_of(error)}", 3)


# ---------------------------------------------------------------- policies


@app.command()
def init(  # noqa: PLR0913, PLR0917 - what a policy cannot be written without
    group: Annotated[
        str, typer.Argument(help="The model package group; asked for without it.")
    ] = "",
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", help="STAGE=ACCOUNT, once for each, in their order."),
    ] = None,
    region: Annotated[str, typer.Option("--region", help="Of the endpoints.")] = "",
    instance_type: Annotated[str, typer.Option("--instance-type")] = "ml.m5.large",
    instances: Annotated[
        int, typer.Option("--instances", help="In the last stage.", min=1, max=1000)
    ] = 2,
    folder: Annotated[Path, typer.Option("--folder", help="Where to.")] = Path("policies"),
    as_json: AsJson = False,
) -> None:
    """Write a policy file to begin with: commented, and good as it stands. Asks for what is not
    said; never writes over a file, and asks nothing of AWS."""
    try:
        group = group or typer.prompt("Model package group")
        region = region or default_region() or typer.prompt("Region of the endpoints")
        places = [place(each) for each in stages or []] or _asked_for_places()
    except typer.Abort as error:
        raise Unreadable(
            "Without somebody to ask: sageops init GROUP --region REGION "
            "--stage staging=ACCOUNT --stage production=ACCOUNT"
        ) from error
    file = folder / f"{group}.yaml"
    write(file, drafted(Draft(group, region, places, instance_type, instances)))
    said = [
        f"{file}: written, with the stages {', '.join(each.stage for each in places)}.",
        "Next: put in a smoke request of your model's, and then",
        f"  sageops policy lint {file}",
        f"  sageops policy push {file}",
    ]
    _say(as_json, {"file": str(file), "stages": [each.stage for each in places]}, *said)


def _asked_for_places() -> list[Place]:
    names = typer.prompt("Stages, in their order", default="staging production").split()
    return [Place(each, typer.prompt(f"Account of {each}")) for each in names]


@policy.command()
def lint(file: PolicyFile, as_json: AsJson = False) -> None:
    """Say everything that is wrong with a policy file. Reads nothing but the file."""
    _, found, problems = read(file)
    stages = [stage.name for stage in found.stages] if found is not None else []
    good = f"{file}: good. Group {found.group}, stages {', '.join(stages)}." if found else ""
    content = {"good": found is not None, "problems": problems, "stages": stages}
    _say(as_json, content, *problems, *([good] if good else []))
    if found is None:
        raise typer.Exit(1)


@policy.command(name="push")
def push_(
    file: PolicyFile, by: By = "", stack: StackName = "sageops", as_json: AsJson = False
) -> None:
    """Make a policy file the one in force for its group. Releases under way keep theirs."""
    text, found = _read(file)
    pushed = push(connect(stack), text, found, by or getpass.getuser(), now())
    if not pushed.new:
        said = [f"{found.group}: unchanged, version {pushed.number} is in force."]
    else:
        said = [f"{found.group}: version {pushed.number} is in force."]
    if pushed.history:
        listed = ", ".join(map(str, pushed.history))
        said.append(f"Approved before and not released of themselves: {listed}.")
    _say(as_json, pushed, *said)


@policy.command()
def diff(file: PolicyFile, stack: StackName = "sageops", as_json: AsJson = False) -> None:
    """What pushing a policy file would change of the one in force, value by value."""
    _, found = _read(file)
    hub = connect(stack)
    spec = hub.table.group_spec(found.group)
    pushed = hub.table.policy(found.group, spec.policy_version) if spec is not None else None
    changed = changes(pushed.policy if pushed is not None else None, found)
    if pushed is None:
        said = [f"{found.group} has no policy in force: all of this would be new."]
    elif changed:
        said = [f"{found.group}: against version {pushed.number}, which releases under way keep."]
    else:
        said = [f"{found.group}: the same as version {pushed.number}."]
    _say(as_json, changed, *said, *(f"  {each}" for each in changed))


@policy.command()
def schema() -> None:
    """Print the JSON schema of a policy, for editors."""
    document = msgspec.json.encode(msgspec.json.schema(Policy))
    typer.echo(msgspec.json.format(document, indent=2).decode())


def _read(file: Path) -> tuple[str, Policy]:
    """The file's text and policy; what is wrong with it goes to standard error."""
    text, found, problems = read(file)
    for problem in problems:
        typer.echo(problem, err=True)
    if found is None:
        raise typer.Exit(1)
    return text, found


# ---------------------------------------------------------------- people's words


def _word_on_a_stage(
    word: Callable[[str, str, str, datetime], Change], said: str
) -> Callable[..., None]:
    """The command by which a person says that of a stage of a release."""

    def command(  # noqa: PLR0913, PLR0917 - a command line has that many options
        release: Release,
        stage: Annotated[str, typer.Option("--stage", help="The stage that it is about.")],
        by: By,
        why: Why = "",
        stack: StackName = "sageops",
        as_json: AsJson = False,
    ) -> None:
        change = word(stage, by, why, now())
        told = f"{release}: {said.format(stage=stage, by=by)}"
        _wish(connect(stack), release, change, told, as_json, stage)

    return command


app.command("approve", help="Open a stage's gate for a release.")(
    _word_on_a_stage(wishes.approve, "{stage} is approved by {by}.")
)
app.command(
    "promote",
    help="""Let a stage go on now: no more waiting for evidence, or for the bake to end.

    What does harm is taken back all the same, and an update that SageMaker carries out takes its
    own time.""",
)(_word_on_a_stage(wishes.promote, "{stage} goes on, on the word of {by}."))


@app.command()
def reject(
    release: Release,
    why: Why = "",
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """Reject a version in the registry, with your own credentials. It is released no further, and
    taken back where it is live."""
    hub = connect(stack)
    group, version = wishes.parse(release)
    packages = {
        each.version: each for each in Registry(hub.sagemaker, None, hub.account).packages(group)
    }
    if version not in packages:
        listed = ", ".join(f"{group}/{each}" for each in sorted(packages)) or "none"
        raise wishes.NotThere(f"The registry has no version {release}. It has: {listed}.")
    hub.sagemaker.update_model_package(
        ModelPackageArn=packages[version].arn,
        ModelApprovalStatus="Rejected",
        **({"ApprovalDescription": why[:1024]} if why else {}),
    )
    _say(as_json, {"release": release, "approval": "Rejected"}, f"{release}: rejected.")


@app.command()
def abort(
    release: Release,
    by: By,
    why: Why = "",
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """Stop a release; what it changed is taken back. A live release is rolled back."""
    change = wishes.abort(by, why, now())
    said = f"{release}: aborted by {by}; it is taken back now."
    _wish(connect(stack), release, change, said, as_json)


@app.command()
def rollback(
    release: Release,
    by: By,
    why: Why = "",
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """Take a live release back to what it replaced."""
    hub = connect(stack)
    found = _release(hub, release)
    if phase(found.conditions) != "Live":
        raise wishes.NotThere(
            f"{release} is {phase(found.conditions)}, not Live. To stop a release that is under "
            f"way: sageops abort {release} --by YOUR-NAME"
        )
    change = wishes.abort(by, why, now())
    _wish(hub, release, change, f"{release}: rolled back by {by}, now.", as_json)


@app.command()
def pause(
    release: Release,
    by: By,
    why: Why = "",
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """Begin nothing new for a release. A rollout under way goes on and is still watched."""
    change = wishes.pause(by, why, now())
    _wish(connect(stack), release, change, f"{release}: paused by {by}.", as_json)


@app.command()
def resume(
    release: Release,
    by: By,
    why: Why = "",
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """Let a paused or blocked release go on at once."""
    change = wishes.resume(by, why, now())
    _wish(connect(stack), release, change, f"{release}: goes on.", as_json)


def _wish(  # noqa: PLR0913, PLR0917 - what is wanted, and how it is told
    hub: Hub, release: str, change: Change, said: str, as_json: bool, stage: str | None = None
) -> None:
    wishes.wish(hub, release, change, stage)
    group, version = wishes.parse(release)
    _say(as_json, {"release": release, "wanted": hub.table.wish(group, version)}, said)


# ---------------------------------------------------------------- looking around


@app.command()
def status(
    group: Annotated[str, typer.Argument(help="One model group; all without it.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Until Ctrl-C.")] = False,
    every: Annotated[int, typer.Option("--every", help="Seconds between looks.", min=1)] = 5,
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """What is live where, what moves, and why it waits."""
    hub = connect(stack)
    if group and hub.table.group_spec(group) is None:
        raise wishes.NotThere(
            f"{group} has no policy. Groups that have: {_listed(hub.table.groups())}. "
            f"To begin: sageops init {group}"
        )

    def groups() -> list[Any]:
        return look(hub, [group] if group else hub.table.groups(), now())

    if watch and not as_json:
        _watch(lambda: tree(groups()), every)
        return
    found = groups()
    _say(as_json, found, tree(found))


@app.command()
def history(
    what: Annotated[str, typer.Argument(help="GROUP, or GROUP/VERSION.")],
    every_one: Annotated[
        bool, typer.Option("--all", help=f"Not only the latest {_SHOWN} entries.")
    ] = False,
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """The log: what happened, why, and on whose word, the newest last."""
    hub = connect(stack)
    group, version = wishes.parse(what) if "/" in what else (what, None)
    log = [each for each in hub.table.log(group) if version in (None, each.version)]
    if not log:
        raise wishes.NotThere(f"Nothing is known of {what}. Groups: {_listed(hub.table.groups())}.")
    kept = log if every_one or as_json else log[-_SHOWN:]
    grid = Grid("At (UTC)", "Release", "Stage", "What", "Why", "By")
    for each in kept:
        name = each.group if each.version is None else f"{each.group}/{each.version}"
        cells = (f"{each.at:%Y-%m-%d %H:%M:%S}", name, each.stage or "", each.what, each.why)
        grid.add_row(*(Text(cell) for cell in cells), Text(each.by))
    more = [f"{len(log) - len(kept)} older entries: --all"] if len(kept) < len(log) else []
    _say(as_json, kept, grid, *more)


@app.command(name="explain")
def explain_(release: Release, stack: StackName = "sageops", as_json: AsJson = False) -> None:
    """Why a release is where it is, what it waits for, and what can be done."""
    hub = connect(stack)
    found = _release(hub, release)
    head = hub.table.head(found.group)
    [row] = rows(found.group, head, [found])
    pushed = hub.table.policy(found.group, found.policy_version)
    said = explain(
        row,
        found,
        head,
        pushed.policy if pushed is not None else None,
        hub.table.log(found.group),
        now(),
    )
    _say(as_json, said, shown(said))


@app.command()
def report(
    release: Release,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; else a name of its own.")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Write it now, as things stand.")] = False,
    stack: StackName = "sageops",
    as_json: AsJson = False,
) -> None:
    """Fetch a release's report: one HTML file, or its JSON. It is written when a release ends, and
    at once where there is none yet."""
    found = fetch(connect(stack), release, anew)
    if as_json:
        typer.echo(found.json.decode())
        return
    file = output or Path(f"{release.replace('/', '-')}-report.html")
    file.write_bytes(found.html)
    typer.echo(f"{file}: {len(found.html):,} bytes, written {found.written_at:%Y-%m-%d %H:%M} UTC.")


# ---------------------------------------------------------------- mending


@app.command(name="redrive")
def redrive_(stack: StackName = "sageops", as_json: AsJson = False) -> None:
    """Look again at every group whose looks failed for good: the dead-letter queue, back into the
    queue. Mend the cause first; `reconcile`'s log has it."""
    hub = connect(stack)
    done = redrive(hub)
    said = [f"{done.messages} dead letters, {len(done.groups)} groups looked at again."]
    if done.unreadable:
        said.append(f"{done.unreadable} name no group and stay: docs/runbooks/dead-letters.md")
    _say(as_json, done, *said)


@app.command()
def doctor(stack: StackName = "sageops", as_json: AsJson = False) -> None:
    """Whether all that a release needs is there: functions, rules, schedules, queues, topics,
    alarms, and the roles of every target account. Changes nothing; 1 if something is wrong."""
    hub = connect(stack)
    found = list(examine(hub))
    grid = Grid("", "What", "Said", "Do")
    for each in found:
        mark = Text("✓", "green") if each.good else Text("✗", "bold red")
        fix = "" if each.good else each.fix
        grid.add_row(mark, *(Text(cell) for cell in (each.what, each.said, fix)))
    _say(as_json, found, grid)
    if not all(each.good for each in found):
        raise typer.Exit(1)


# ---------------------------------------------------------------- saying


def _release(hub: Hub, name: str) -> Released:
    """Raises `wishes.NotThere`, with what is there."""
    group, version = wishes.parse(name)
    found = hub.table.release(group, version)
    if found is None:
        known = [each.name for each in hub.table.releases(group)]
        raise wishes.NotThere(f"There is no release {name}. Releases of {group}: {_listed(known)}.")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _say(as_json: bool, content: Any, *said: RenderableType) -> None:
    """Print JSON, or what is for people; text is text, never markup."""
    if as_json:
        typer.echo(msgspec.json.encode(content).decode())
        return
    console = Console(highlight=False)
    for each in said:
        if isinstance(each, str):
            typer.echo(each)
        else:
            console.print(each)


def _watch(shown_now: Callable[[], RenderableType], every: int) -> None:
    with Live(shown_now(), auto_refresh=False, console=Console(highlight=False)) as live:
        try:
            while True:
                time.sleep(every)
                live.update(shown_now(), refresh=True)
        except KeyboardInterrupt:
            return


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
        measure = Measured(*sign_in(profile or None), now())
    told = list(findings(found, measure))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
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
