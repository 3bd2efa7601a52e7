"""A Python that has imported what models are made of; every job and every model is a fork of it.

Importing scikit-learn takes a processor longer than most of the work that follows. A container's
image has it on board; here one process imports it, once, and forks where another would be started.
A fork has an environment, a folder, a session and standard streams of its own, and what it imports
or breaks is its own, too.

`python -m local.warm FD` is that process: it takes orders from the socket FD and ends with it.
"""

import array
import atexit
import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

__all__ = ["Process", "fork"]

ROOT = Path(__file__).parent.parent
_ON_BOARD = (
    "joblib",
    "sklearn.datasets",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.tree",
)
# One thread for linear algebra: many small processes share the machine's cores.
ENVIRONMENT = {
    "PATH": os.defpath,
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_ORDER_BYTES = 1 << 16


@dataclass
class Process:
    """A fork. It leads a process group of its own."""

    pid: int
    _said: BinaryIO
    _code: int | None = None

    def wait(self) -> int:
        """Wait for its end: its exit code, or the negative number of the signal that ended it."""
        if self._code is None:
            with self._said:
                self._code = int(self._said.readline())
        return self._code

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it and all that it started. Raises ProcessLookupError when it has ended."""
        os.killpg(self.pid, how)


def fork(
    program: list[str],
    folder: Path,
    environment: Mapping[str, str],
    stdin: int,
    stdout: int,
    stderr: int,
) -> Process:
    """Run Python with `program`, a file or `-m` and a module, and its arguments, in `folder`.

    It sees `ENVIRONMENT` and `environment`. Raises OSError when it does not come up.
    """
    theirs, ours = os.pipe()
    try:
        order = {"program": program, "folder": str(folder), "environment": dict(environment)}
        streams = array.array("i", [stdin, stdout, stderr, ours])
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)
        _line().sendmsg([json.dumps(order).encode() + b"\n"], [rights])
    finally:
        os.close(ours)
    said = os.fdopen(theirs, "rb")
    first = said.readline()
    if not first:
        said.close()
        raise OSError("no process could be forked")
    return Process(int(first), said)


@cache
def _line() -> socket.socket:
    """The line to this process's own warm Python, which is started by the first order."""
    ours, theirs = socket.socketpair()
    with theirs:
        warm = subprocess.Popen(
            [sys.executable, "-m", "local.warm", str(theirs.fileno())],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        warm.wait()

    atexit.register(end)
    return ours


# --- the other side ------------------------------------------------------------------------------


def _serve(line: socket.socket) -> None:
    for name in _ON_BOARD:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        text, streams, _, _ = socket.recv_fds(line, _ORDER_BYTES, 4)
        if not text:
            return
        # The next order is given when this one has been taken.
        while not text.endswith(b"\n"):
            text += line.recv(_ORDER_BYTES)
        if not os.fork():
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(json.loads(text), streams)
            return
        for each in streams:
            os.close(each)


def _reap(_signal: int, _frame: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(order: dict[str, object], streams: list[int]) -> None:
    """Fork, say who it is, and in the end how it ended; the fork itself returns from its work."""
    *standard, say = streams
    pid = os.fork()
    if not pid:
        os.setsid()
        os.write(say, b"%d\n" % os.getpid())
        os.close(say)
        _become(order, standard)
        return
    for each in standard:
        os.close(each)
    _, status = os.waitpid(pid, 0)
    os.write(say, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(order: dict[str, object], standard: list[int]) -> None:
    """Be what `python PROGRAM` would be; what the program raises ends it as it would there."""
    for number, each in enumerate(standard):
        os.dup2(each, number)
        os.close(each)
    program, folder, environment = order["program"], order["folder"], order["environment"]
    assert isinstance(program, list) and isinstance(folder, str) and isinstance(environment, dict)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update({**ENVIRONMENT, **environment})
    if program[0] == "-m":
        sys.argv = program[1:]
        sys.path[0] = folder
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path[0] = str(Path(program[0]).parent)
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as at_the_other_end:
        _serve(at_the_other_end)
