"""One execution environment of a function: its own modules, environment variables and session.

Documentation: Lambda developer guide, "Understanding the Lambda execution environment lifecycle"
and "Working with Lambda environment variables" (the reserved ones).
"""

import contextlib
import importlib.util
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3

__all__ = ["Sandbox", "load"]

# A real environment is a process of its own. What keeps state per process (clients, loggers,
# metrics, a cold-start flag) is imported afresh for each function.
_OWN_PACKAGES = ("sageops", "aws_lambda_powertools")
# What an environment has of the machine that it runs on.
_OF_THE_MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")


@dataclass
class Sandbox:
    """A loaded function. `call` runs something in it and puts the caller's own world back.

    `packages` are the top-level modules that it has for itself.
    """

    folder: Path
    packages: frozenset[str]
    environment: dict[str, str]
    handler: Callable[[Any, Any], Any]
    modules: dict[str, ModuleType]
    session: Any
    output: "_Output"

    def call(self, do: Callable[[], Any]) -> tuple[Any, str, Exception | None]:
        """What `do()` returned, what it wrote to standard output, and what it raised."""
        with _entered(self), self.output.recorded() as log:
            try:
                return do(), log.getvalue(), None
            except Exception as error:  # whatever a handler raises is the function's error
                return None, log.getvalue(), error


def load(folder: Path, handler: str, variables: Mapping[str, str]) -> Sandbox:
    """Initialise a function: import the module that `handler` (`app.handler`) names.

    Raises what the module raises.
    """
    module_name, function_name = handler.rsplit(".", 1)
    machine = {name: os.environ[name] for name in _OF_THE_MACHINE if name in os.environ}
    sandbox = Sandbox(
        folder,
        frozenset({*_OWN_PACKAGES, *(path.stem for path in folder.iterdir())}),
        {**machine, **variables},
        _not_loaded,
        modules={},
        session=None,
        output=_Output(),
    )
    with _entered(sandbox), _own_loggers(variables.get("POWERTOOLS_SERVICE_NAME")):
        with sandbox.output.recorded():
            module = _module(folder, module_name)
        sandbox.handler = getattr(module, function_name)
    return sandbox


def _not_loaded(_event: Any, _context: Any) -> Any:
    raise RuntimeError("the function is still being loaded")


def _module(folder: Path, name: str) -> ModuleType:
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None or not path.is_file():
        raise ImportError(f"Unable to import module '{name}': no {path}")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _entered(sandbox: Sandbox) -> Iterator[None]:
    """Inside, the interpreter is the function's; outside, everything is as it was."""
    outside = _own_modules(sandbox, list(sys.modules))
    environment, session, stdout = dict(os.environ), boto3.DEFAULT_SESSION, sys.stdout
    for name in outside:
        del sys.modules[name]
    shared = frozenset(sys.modules)
    sys.modules.update(sandbox.modules)
    sys.path.insert(0, str(sandbox.folder))
    os.environ.clear()
    os.environ.update(sandbox.environment)
    boto3.DEFAULT_SESSION = sandbox.session
    sys.stdout = sandbox.output
    try:
        yield
    finally:
        sandbox.session = boto3.DEFAULT_SESSION
        # There are thousands, and few are new.
        new = [name for name in sys.modules if name not in shared]
        sandbox.modules = _own_modules(sandbox, new)
        for name in sandbox.modules:
            del sys.modules[name]
        sys.modules.update(outside)
        sys.path.remove(str(sandbox.folder))
        sys.stdout, boto3.DEFAULT_SESSION = stdout, session
        os.environ.clear()
        os.environ.update(environment)


def _own_modules(sandbox: Sandbox, names: list[str]) -> dict[str, ModuleType]:
    """Which of these loaded modules are of the packages that each function has for itself."""
    packages = sandbox.packages
    return {name: sys.modules[name] for name in names if name.partition(".")[0] in packages}


@contextlib.contextmanager
def _own_loggers(service: str | None) -> Iterator[None]:
    """Let the function's loggers be new: `logging` keeps them by name for the whole process."""
    known = logging.Logger.manager.loggerDict
    outside = {
        name: known.pop(name)
        for name in list(known)
        if name.partition(".")[0] in {*_OWN_PACKAGES, service}
    }
    try:
        yield
    finally:
        for name in list(known):
            if name.partition(".")[0] in {*_OWN_PACKAGES, service}:
                del known[name]
        known.update(outside)


class _Output(io.TextIOBase):
    """A function's standard output; loggers keep it, so it stays one object for all calls."""

    def __init__(self) -> None:
        self._log = io.StringIO()

    def write(self, text: str) -> int:
        return self._log.write(text)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[io.StringIO]:
        before, self._log = self._log, io.StringIO()
        try:
            yield self._log
        finally:
            self._log = before
