"""Jobs and models really run: processes, folders, HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from local.containers import LocalContainers, pack, unpack

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

ROOT = Path(__file__).parents[3]

# A model that adds a number to each input; its defaults read and write.
PLAIN = b"""
import os

def model_fn(model_dir):
    return Model(float(open(os.path.join(model_dir, "offset")).read()))

class Model:
    def __init__(self, offset):
        self.offset = offset
    def predict(self, data):
        if (data == 13).any():
            raise ValueError("thirteen")
        return data + self.offset
"""


@pytest.fixture
def containers() -> Iterator[LocalContainers]:
    with LocalContainers() as running:
        yield running


def artifact(script: bytes = PLAIN, offset: bytes = b"1") -> bytes:
    return pack({"offset": offset, "code/inference.py": script})


def ask(
    containers: LocalContainers,
    model: bytes,
    body: bytes = b"[[1, 2]]",
    content_type: str = "application/json",
    accept: str = "application/json",
    **environment: str,
) -> tuple[int, bytes]:
    reply = containers.invoke(model, environment, body, content_type, accept)
    return reply.status, reply.body


def script(text: str) -> bytes:
    return pack({"job.py": text.encode()})


def run(containers: LocalContainers, text: str, *arguments: str, **more: Any) -> Any:
    given: dict[str, Any] = {"environment": {}, "inputs": {}, "outputs": [], **more}
    return containers.run("job.py", script(text), list(arguments), **given)


def processes_of(containers: LocalContainers) -> list[int]:
    return [server.process.pid for server in containers._servers.values()]


# Archives


def test_the_same_files_pack_to_the_same_bytes(tmp_path: Path) -> None:
    files = {"b/c.txt": b"c", "a.txt": b"a"}
    assert pack(files) == pack(dict(reversed(files.items())))
    unpack(pack(files), tmp_path)
    assert (tmp_path / "b/c.txt").read_bytes() == b"c"


def test_an_artefact_that_leaves_its_folder_is_refused(containers: LocalContainers) -> None:
    status, body = ask(containers, pack({"../outside": b"x"}))
    assert status == 500
    assert b"outside the destination" in body


# Jobs


def test_a_job_reads_its_inputs_and_leaves_its_outputs(containers: LocalContainers) -> None:
    text = """
import os, pathlib, sys
name, folder = sys.argv[1:]
made = pathlib.Path(os.environ["SM_MODEL_DIR"]) / "deep"
made.mkdir()
(made / name).write_bytes(pathlib.Path(folder, "x/rows.csv").read_bytes() * 2)
"""
    result = run(
        containers,
        text,
        "twice.csv",
        "/opt/ml/input/data/train",
        environment={"SM_MODEL_DIR": "/opt/ml/model"},
        inputs={"/opt/ml/input/data/train": {"x/rows.csv": b"1,2\n"}},
        outputs=["/opt/ml/model", "/opt/ml/empty"],
    )
    assert (result.exit_code, result.message) == (0, "")
    assert result.outputs == {
        "/opt/ml/model": {"deep/twice.csv": b"1,2\n1,2\n"},
        "/opt/ml/empty": {},
    }


def test_a_failing_job_says_its_last_words(containers: LocalContainers) -> None:
    result = run(containers, "import sys; print('x' * 5000, file=sys.stderr); raise KeyError('k')")
    assert result.exit_code == 1
    assert result.message.endswith("KeyError: 'k'")
    assert len(result.message) <= 900


def test_a_job_is_bounded_in_time_with_everything_it_started() -> None:
    text = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])
"""
    with LocalContainers(job_limit=timedelta(seconds=0.5)) as containers:
        result = run(containers, text)
    assert result.exit_code == -signal.SIGKILL
    assert result.message == "stopped after the time limit of 0.5 s"


def test_a_job_sees_nothing_of_our_environment(
    containers: LocalContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    text = "import os, sys; sys.exit(int('AWS_SECRET_ACCESS_KEY' in os.environ))"
    assert run(containers, text).exit_code == 0


# Models


def test_a_model_is_served_by_its_own_script(containers: LocalContainers) -> None:
    own = b"""
def model_fn(model_dir):
    return 2
def input_fn(body, content_type):
    return int(body), content_type
def predict_fn(data, model):
    return data[0] * model, data[1]
def output_fn(prediction, accept):
    return f"{prediction[0]} from {prediction[1]} for {accept}", "text/plain"
"""
    reply = containers.invoke(artifact(own), {}, b"21", "text/csv; charset=utf-8", "text/x")
    assert (reply.status, reply.body) == (200, b"42 from text/csv for text/x")
    assert reply.content_type == "text/plain"


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "answer"),
    [
        (b"[[1, 2]]", "application/json", "*/*", b"[[2.0, 3.0]]"),
        (b"[[1, 2]]", "", "", b"[[2.0, 3.0]]"),
        (b"1,2\n3,4\n", "text/csv", "text/csv", b"2.0,3.0\n4.0,5.0\n"),
    ],
)
def test_functions_that_are_missing_have_the_containers_defaults(
    containers: LocalContainers, body: bytes, content_type: str, accept: str, answer: bytes
) -> None:
    assert ask(containers, artifact(), body, content_type, accept) == (200, answer)


def test_arrays_travel_as_npy(containers: LocalContainers) -> None:
    npy = "application/x-npy"
    status, one_more = ask(containers, artifact(), b"[[1, 2]]", accept=npy)
    assert status == 200
    assert ask(containers, artifact(), one_more, content_type=npy) == (200, b"[[3.0, 4.0]]")


def test_media_types_without_a_default_are_refused(containers: LocalContainers) -> None:
    assert ask(containers, artifact(), content_type="image/png")[0] == 415
    assert ask(containers, artifact(), accept="image/png")[0] == 406


def test_what_the_model_raises_is_its_answer(containers: LocalContainers) -> None:
    assert ask(containers, artifact(), b"[[13]]") == (500, b"ValueError: thirteen")
    assert ask(containers, artifact(), b"[[12]]")[0] == 200


def test_a_model_that_does_not_load_answers_why(containers: LocalContainers) -> None:
    status, body = ask(containers, artifact(offset=b"not a number"))
    assert status == 500
    assert body.startswith(b"the model did not load: ValueError: could not convert")
    assert b"has no model_fn" in ask(containers, artifact(b""))[1]


def test_a_container_that_ends_answers_500_and_is_started_anew(
    containers: LocalContainers,
) -> None:
    ask(containers, artifact())
    (pid,) = processes_of(containers)
    os.kill(pid, signal.SIGKILL)
    status, _ = ask(containers, artifact())
    assert status == 500
    assert ask(containers, artifact()) == (200, b"[[2.0, 3.0]]")


def test_a_container_that_never_starts_answers_in_time() -> None:
    with LocalContainers(start_limit=timedelta(seconds=0.5)) as containers:
        status, body = ask(containers, artifact(b"while True: pass"))
    assert status == 500
    assert b"not ready within 0.5 s" in body


def test_one_process_serves_an_artefact_and_another_one_another(
    containers: LocalContainers,
) -> None:
    for _ in range(3):
        assert ask(containers, artifact()) == (200, b"[[2.0, 3.0]]")
    assert len(processes_of(containers)) == 1
    assert ask(containers, artifact(offset=b"5")) == (200, b"[[6.0, 7.0]]")
    assert len(processes_of(containers)) == 2


def test_the_environment_reaches_the_model(containers: LocalContainers) -> None:
    other = pack(
        {
            "code/mine.py": b"import os\ndef model_fn(d): return os.environ['WHO']\n"
            b"def predict_fn(data, model): return model\n"
        }
    )
    answer = ask(containers, other, SAGEMAKER_PROGRAM="mine.py", WHO="me")
    assert answer == (200, b'"me"')


def test_latency_is_real_time_under_a_moved_clock(containers: LocalContainers) -> None:
    slow = b"""
import time
def model_fn(model_dir): return None
def predict_fn(data, model):
    time.sleep(0.05)
    return 1
"""
    ask(containers, artifact(slow))
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False):
        reply = containers.invoke(artifact(slow), {}, b"1", "application/json", "*/*")
    assert timedelta(seconds=0.05) < reply.latency < timedelta(seconds=1)


def test_processes_end_when_closed(containers: LocalContainers) -> None:
    ask(containers, artifact())
    (pid,) = processes_of(containers)
    containers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(artifact())
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "model.tar.gz")],
        cwd=ROOT,
        # What a killed parent leaves behind lies where the test's files do.
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout
    with parent, os.fdopen(os.pidfd_open(int(parent.stdout.readline()))) as child:
        parent.kill()
        # Readable when the process has ended.
        assert child.fileno() in _readable(child.fileno(), 10)


PARENT = """
import pathlib, sys, time
from local.containers import LocalContainers
containers = LocalContainers()
containers.invoke(pathlib.Path(sys.argv[1]).read_bytes(), {}, b"[1]", "application/json", "")
print([s.process.pid for s in containers._servers.values()][0], flush=True)
time.sleep(600)
"""


def _readable(descriptor: int, seconds: float) -> list[int]:
    import select

    return select.select([descriptor], [], [], seconds)[0]
