"""`sageops local up`: the embedded cloud on this machine, to try a policy before it is trusted."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cli.policy_file import read

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The embedded cloud on this machine.")

_MISSING = (
    "The embedded cloud is not installed: in a checkout, `make demo` installs it into .venv; "
    "or `pip install -e '.[local]'`."
)


@app.callback()
def local() -> None:
    """The embedded cloud on this machine."""


@app.command()
def up(
    policy: Annotated[
        Path | None, typer.Option("--policy", help="A policy of group churn; else the example.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="On 127.0.0.1; 0 for any.")
    ] = 4580,
    minutes: Annotated[float, typer.Option("--minutes", help="Stops by itself after.")] = 120,
) -> None:
    """Three accounts in one process, with a page: board, inbox, traffic, faults, and a clock that
    runs or skips. Nothing of it leaves this machine; Ctrl-C ends it."""
    try:
        from local.company import POLICY, company  # noqa: PLC0415  # only this command needs moto
        from local.playground import (  # noqa: PLC0415
            Playground,
            credentials,
            is_free,
            serving,
            strange,
        )
    except ImportError as error:
        typer.echo(f"{_MISSING} ({error})", err=True)
        raise typer.Exit(1) from error
    _, found, problems = read(policy or POLICY)
    problems += [f"{policy}: {each}" for each in strange(found)] if found is not None else []
    if not is_free(port):
        problems.append(f"Port {port} of 127.0.0.1 is taken: --port 0 takes any that is free.")
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    # Whoever ends it in another way than by Ctrl-C wants its models' processes gone, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.echo("Three accounts are made and a first model is trained …")
    with ExitStack() as stack:
        it = stack.enter_context(company(policy=policy or POLICY))
        it.wait(hours=1)
        ground = Playground(it)
        url = stack.enter_context(serving(ground, port))
        typer.echo(f"Open {url}\n\nFor `sageops` and `aws` in another terminal:\n")
        for name, value in credentials(it, url).items():
            typer.echo(f"  export {name}={value}")
        typer.echo(f"\nIt stops after {minutes:g} minutes, or on Ctrl-C.")
        try:
            time.sleep(60 * minutes)
        except KeyboardInterrupt:
            typer.echo("Stopped.")
