"""The machines SageMaker would start: jobs and models really run here, as processes.

A job's container is one process of the present interpreter in a temporary folder that stands
for `/`. A model's container is one process of `local.serving`, one for each distinct artefact
and environment, started by its first health check or request and shared by all accounts. Both are
forks of `local.warm`, which has scikit-learn on board.
"""

import contextlib
import gzip
import http.client
import io
import os
import select
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from local import warm
from local.simulator.site import Reply, Run

__all__ = ["LocalContainers", "pack", "unpack"]

ROOT = Path(__file__).parent.parent
_NOWHERE = Path(os.devnull)
# What SageMaker keeps of a container's words in `FailureReason`, 1024 characters, less a preface.
MESSAGE_CHARACTERS = 900


# An artefact and its container's environment. (Python keeps the hash of the same bytes object.)
_Key = tuple[bytes, frozenset[tuple[str, str]]]


class LocalContainers:
    """`local.simulator.site.Containers` by processes on this machine. Close it when done.

    `job_limit` bounds a job, `start_limit` a model's start and each of its answers, in real time.
    Jobs and models see none of this process's environment but the path. For one thread.
    """

    def __init__(
        self,
        job_limit: timedelta = timedelta(seconds=60),
        start_limit: timedelta = timedelta(seconds=30),
    ) -> None:
        self._job_limit = job_limit.total_seconds()
        self._start_limit = start_limit.total_seconds()
        self._servers: dict[_Key, _Server] = {}

    def __enter__(self) -> "LocalContainers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every model's process and wait for it."""
        while self._servers:
            _, server = self._servers.popitem()
            server.stop()

    def ping(self, artifact: bytes, environment: Mapping[str, str]) -> bool:
        """`GET /ping` to the model in `artifact`, started for it where it does not run yet."""
        try:
            return self._server(artifact, environment).is_healthy()
        except (OSError, http.client.HTTPException):
            self._give_up(artifact, environment)
            return False

    def invoke(
        self,
        artifact: bytes,
        environment: Mapping[str, str],
        body: bytes,
        content_type: str,
        accept: str,
    ) -> Reply:
        """`POST /invocations` to the model in `artifact`; the container that could not be asked
        (it does not start, does not answer, breaks off) answers 500 with the reason.

        The latency is the real time from request to answer; starting the process is no part of it.
        """
        try:
            return self._server(artifact, environment).ask(body, content_type, accept)
        except (OSError, http.client.HTTPException) as error:
            self._give_up(artifact, environment)
            reason = f"{type(error).__name__}: {error}".encode()
            return Reply(500, reason, "text/plain", timedelta())

    def _server(self, artifact: bytes, environment: Mapping[str, str]) -> "_Server":
        key = _key(artifact, environment)
        if key not in self._servers:
            self._servers[key] = _start(artifact, environment, self._start_limit)
        return self._servers[key]

    def _give_up(self, artifact: bytes, environment: Mapping[str, str]) -> None:
        broken = self._servers.pop(_key(artifact, environment), None)
        if broken is not None:
            broken.stop()

    def run(
        self,
        program: str,
        source: bytes,
        arguments: list[str],
        environment: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, bytes]],
        outputs: list[str],
    ) -> Run:
        """Run `program` of `source` in `/opt/ml/code`.

        A path below `/opt/ml` in an argument or an environment variable is rewritten to where it
        really is, so a program must take its folders from there (`SM_MODEL_DIR`,
        `--output /opt/ml/processing/...`) and not spell them itself. `message` is the end of what
        it wrote to stderr, or that it took longer than the limit.
        """
        with tempfile.TemporaryDirectory(prefix="sageops-job-") as folder:
            root = Path(folder)
            code = root / "opt/ml/code"
            unpack(source, code)
            for place, files in inputs.items():
                for name, content in files.items():
                    _write(_below(root, place) / name, content)
            for place in outputs:
                _below(root, place).mkdir(parents=True, exist_ok=True)
            exit_code, message = _run(
                [str(code / program), *(_rewritten(argument, root) for argument in arguments)],
                code,
                {name: _rewritten(value, root) for name, value in environment.items()},
                self._job_limit,
            )
            return Run(
                exit_code, message, {place: _files(_below(root, place)) for place in outputs}
            )


def pack(files: Mapping[str, bytes]) -> bytes:
    """A `tar.gz` of `files`. The same files give the same bytes: no times, no owners."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(archive.getvalue(), mtime=0)


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack a `tar.gz`, refusing what leaves the folder. Raises `tarfile.TarError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        tar.extractall(folder, filter="data")


@dataclass
class _Server:
    """A model's process, its folder, and the one connection to it that is kept open."""

    process: warm.Process
    stdin: BinaryIO
    folder: tempfile.TemporaryDirectory[str]
    connection: http.client.HTTPConnection

    def ask(self, body: bytes, content_type: str, accept: str) -> Reply:
        headers = {"Content-Type": content_type, "Accept": accept}
        began = time.perf_counter_ns()
        self.connection.request("POST", "/invocations", body, headers)
        response = self.connection.getresponse()
        answer = response.read()
        took = timedelta(microseconds=(time.perf_counter_ns() - began) / 1000)
        return Reply(response.status, answer, response.headers.get("Content-Type", ""), took)

    def is_healthy(self) -> bool:
        self.connection.request("GET", "/ping")
        response = self.connection.getresponse()
        response.read()
        return response.status == 200

    def stop(self) -> None:
        self.connection.close()
        _end(self.process)
        self.stdin.close()
        self.folder.cleanup()


def _key(artifact: bytes, environment: Mapping[str, str]) -> _Key:
    return artifact, frozenset(environment.items())


def _start(artifact: bytes, environment: Mapping[str, str], limit: float) -> _Server:
    """Start the model's process and wait until it says on which port it listens.

    The process holds the other end of our pipe as its standard input and ends when that closes,
    however we ended. Raises OSError when it does not start in time.
    """
    folder = tempfile.TemporaryDirectory(prefix="sageops-model-")
    try:
        unpack(artifact, Path(folder.name))
        process, stdin, stdout = _serving(folder.name, environment)
    except (OSError, tarfile.TarError) as error:
        folder.cleanup()
        raise OSError(f"the model's container did not start: {error}") from error
    try:
        with stdout:
            port = _first_line(stdout, process, limit)
    except OSError as error:
        _end(process)
        stdin.close()
        folder.cleanup()
        raise OSError(f"the model's container did not start: {error}") from error
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=limit)
    return _Server(process, stdin, folder, connection)


def _serving(
    folder: str, environment: Mapping[str, str]
) -> tuple[warm.Process, BinaryIO, BinaryIO]:
    """A process of `local.serving`, and our ends of its standard input and output."""
    its_input, stdin = os.pipe()
    stdout, its_output = os.pipe()
    with _NOWHERE.open("wb") as nowhere, os.fdopen(its_input), os.fdopen(its_output, "wb"):
        process = warm.fork(
            ["-m", "local.serving", folder],
            ROOT,
            environment,
            its_input,
            its_output,
            nowhere.fileno(),
        )
    return process, os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")


def _first_line(stdout: BinaryIO, process: warm.Process, limit: float) -> bytes:
    ready, _, _ = select.select([stdout], [], [], limit)
    if not ready:
        raise OSError(f"it was not ready within {limit:g} s")
    line = stdout.readline().strip()
    if not line:
        raise OSError(f"it ended with exit code {process.wait()}")
    return line


def _end(process: warm.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        process.kill()
    process.wait()


def _run(
    command: list[str], folder: Path, environment: Mapping[str, str], limit: float
) -> tuple[int, str]:
    """Run Python with `command` to its end or the limit's: its exit code and last words."""
    with tempfile.TemporaryFile() as words, _NOWHERE.open("r+b") as nowhere:
        null = nowhere.fileno()
        process = warm.fork(command, folder, environment, null, null, words.fileno())
        overdue = threading.Event()

        def stop() -> None:
            overdue.set()
            with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
                process.kill()

        # A timer and not a wait with a limit, which would ask a clock that the embedded cloud may
        # move.
        timer = threading.Timer(limit, stop)
        timer.start()
        exit_code = process.wait()
        timer.cancel()
        timer.join()
        if overdue.is_set():
            return exit_code, f"stopped after the time limit of {limit:g} s"
        size = words.seek(0, io.SEEK_END)
        words.seek(max(0, size - MESSAGE_CHARACTERS))
        return exit_code, words.read().decode(errors="replace").strip()


def _below(root: Path, place: str) -> Path:
    return root / place.lstrip("/")


def _rewritten(value: str, root: Path) -> str:
    """`value` with the container's `/opt/ml` replaced, also inside `--name=/opt/ml/…` and JSON."""
    return value.replace("/opt/ml", str(root / "opt/ml"))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in _regular_files(folder)
    }


def _regular_files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
