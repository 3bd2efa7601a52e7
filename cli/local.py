"""`sageops local up`: the embedded cloud on this machine, to try a policy before it is trusted."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

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
    port: Annotated[int, typer.Option("--port", help="On 127.0.0.1; 0 for any.")] = 4580,
    minutes: Annotated[float, typer.Option("--minutes", help="Stops by itself after.")] = 120,
) -> None:
    """Three accounts in one process, with a page: board, inbox, traffic, faults, and a clock that
    runs or skips. Nothing of it leaves this machine; Ctrl-C ends it."""
    try:
        from local.company import POLICY, company  # noqa: PLC0415  # only this command needs moto
        from local.playground import Playground, credentials, serving  # noqa: PLC0415
    except ImportError as error:
        typer.echo(f"{_MISSING} ({error})", err=True)
        raise typer.Exit(1) from error
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
