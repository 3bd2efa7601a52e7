"""What `sam build` makes is what Lambda can run: built, packed, laid out as there, and imported."""

import ast
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest
from sageops.adapters.environment import Environment
from samtranslator.yaml_helper import yaml_parse

from tests.template.stacks import REGION, ROOT, of_type, translated

FUNCTIONS = ("Act", "Board", "Intake", "Notify", "Reconcile", "Report", "Sweep")
THIS_PYTHON = "{}.{}".format(*sys.version_info[:2])
# What Lambda sets in every function (page 'Defined runtime environment variables').
LAMBDA = {
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_LAMBDA_FUNCTION_NAME": "sageops-function",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
}
# Prints what the handler takes, and where everything that was imported on the way came from.
IMPORTER = """
import sys
task, opt = sys.argv[1:]
sys.path[:0] = [task, opt + "/python"]
import app, inspect, json
files = [getattr(module, "__file__", None) for module in sys.modules.values()]
print(json.dumps({
    "parameters": list(inspect.signature(app.handler).parameters),
    "files": [file for file in files if file],
}))
"""


def this_platform() -> str:
    """The tag of wheels that run here. On Linux that of the layer, for this machine's processor."""
    if sys.platform == "linux":
        return f"manylinux2014_{platform.machine()}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def sam_build(to: Path, **variables: str) -> Path:
    """Build with the command of `make build`; the variables reach the layer's Makefile."""
    programs = Path(sys.executable).parent
    built = subprocess.run(
        [programs / "sam", "build", "--template", "template.yaml", "--build-dir", to / "build"],
        cwd=ROOT,
        env={
            **os.environ,
            **variables,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": REGION,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return to / "build"


@pytest.fixture(scope="module")
def for_lambda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is deployed."""
    return sam_build(tmp_path_factory.mktemp("lambda"))


@pytest.fixture(scope="module")
def for_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for the Python that runs the tests."""
    return sam_build(
        tmp_path_factory.mktemp("here"), PLATFORM=this_platform(), PYTHON_VERSION=THIS_PYTHON
    )


@pytest.fixture(scope="module")
def opt(for_this_machine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer, packed and unpacked as Lambda does, in the place of `/opt`."""
    return packed(for_this_machine / "CoreLayer", tmp_path_factory.mktemp("opt"))


def packed(built: Path, to: Path) -> Path:
    archive = shutil.make_archive(str(to / "archive"), "zip", built)
    shutil.unpack_archive(archive, to / "unpacked")
    return to / "unpacked"


def declared(function: str) -> set[str]:
    """The environment variables that the template gives a function."""
    properties = of_type(translated("template.yaml"), "AWS::Lambda::Function")[function]
    return set(properties["Environment"]["Variables"])


def imported(function: str, build: Path, opt: Path, to: Path) -> Mapping[str, Any]:
    """Import a handler with nothing on the path but itself, the layer and the standard library."""
    task = packed(build / function, to)
    values = dict.fromkeys(declared(function), "a-value") | {"POWERTOOLS_LOG_LEVEL": "INFO"}
    run = subprocess.run(
        # -I: no variable of Python's own, no folder of this user; -S: no site-packages.
        [sys.executable, "-I", "-S", "-c", IMPORTER, task, opt],
        cwd=to,
        env=LAMBDA | values,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer | {"task": task}


def lambda_python_is_here() -> bool:
    """Whether the machine has a Python 3.13 that runs; the layer holds bytecode only then."""
    for name in ("python3.13", sys.executable):
        program = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if program is None:
            continue
        asked = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"
        if subprocess.run([program, "-c", asked], capture_output=True, check=False).returncode == 0:
            return True
    return False


class TestHandlers:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_imports_with_nothing_but_the_layer(
        self, function: str, for_this_machine: Path, opt: Path, tmp_path: Path
    ) -> None:
        found = imported(function, for_this_machine, opt, tmp_path)
        assert found["parameters"][:2] == ["event", "context"]
        places = (found["task"], opt, sysconfig.get_path("stdlib"))
        strangers = [
            file
            for file in found["files"]
            if not any(Path(file).is_relative_to(place) for place in places)
        ]
        assert strangers == []

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_takes_boto3_from_the_layer(
        self, function: str, for_this_machine: Path, opt: Path, tmp_path: Path
    ) -> None:
        """Lambda's own may be another version, with other defaults for retries."""
        files = imported(function, for_this_machine, opt, tmp_path)["files"]
        assert str(opt / "python/boto3/__init__.py") in files

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_reads_only_what_the_template_gives_it(self, function: str) -> None:
        source = ROOT / "functions" / function.lower() / "app.py"
        read = {
            node.attr
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "env"
        }
        assert read
        assert read <= set(Environment.__struct_fields__)
        assert {field.upper() for field in read} <= declared(function) | set(LAMBDA)

    def test_the_environment_is_read_in_one_place(self) -> None:
        sources = [*ROOT.glob("functions/*/*.py"), *ROOT.glob("layers/core/sageops/**/*.py")]
        readers = {
            str(source.relative_to(ROOT))
            for source in sources
            if {"os.environ", "os.getenv"} & names_in(ast.parse(source.read_text()))
        }
        assert readers == {"layers/core/sageops/adapters/environment.py"}


def names_in(tree: ast.Module) -> set[str]:
    """Every name with a dot, and `os.<name>` for what is imported from os."""
    dotted = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    taken = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return dotted | taken


class TestForLambda:
    def test_every_function_and_the_layer_is_built(self, for_lambda: Path) -> None:
        resources = yaml_parse((for_lambda / "template.yaml").read_text())["Resources"]
        built = {
            name: resource["Properties"].get("CodeUri") or resource["Properties"]["ContentUri"]
            for name, resource in resources.items()
            if {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys()
        }
        assert built == {name: name for name in (*FUNCTIONS, "CoreLayer")}

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_a_function_is_its_own_files_only(self, function: str, for_lambda: Path) -> None:
        sources = {path.name for path in (ROOT / "functions" / function.lower()).glob("*.py")}
        assert {path.name for path in (for_lambda / function).iterdir()} == sources

    def test_the_layer_holds_the_package_as_it_is(self, for_lambda: Path) -> None:
        site, sources = for_lambda / "CoreLayer/python/sageops", ROOT / "layers/core/sageops"
        copied = {path.relative_to(site): path.read_text() for path in site.rglob("*.py")}
        assert copied == {
            path.relative_to(sources): path.read_text() for path in sources.rglob("*.py")
        }
        assert [path.name for path in (for_lambda / "CoreLayer").iterdir()] == ["python"]

    def test_compiled_modules_are_for_lambda(self, for_lambda: Path) -> None:
        """ELF for AArch64 (`e_machine` 183) and CPython 3.13."""
        modules = sorted((for_lambda / "CoreLayer").rglob("*.so*"))
        assert [path.parent.name for path in modules] == ["msgspec"]
        for path in modules:
            header = path.read_bytes()[:20]
            assert header[:4] == b"\x7fELF"
            assert struct.unpack_from("<H", header, 18) == (183,)
            assert ".cpython-313-aarch64-linux-gnu.so" in path.name

    def test_the_locked_versions_are_in_it(self, for_lambda: Path) -> None:
        lines = (ROOT / "layers/core/requirements.txt").read_text().splitlines()
        locked = {line.split()[0].replace("-", "_") for line in lines if "==" in line}
        found = {
            path.name.removesuffix(".dist-info").replace("-", "==")
            for path in (for_lambda / "CoreLayer/python").glob("*.dist-info")
        }
        assert found == locked

    def test_the_layer_has_room_to_grow(self, for_lambda: Path) -> None:
        """A function and its layers are at most 250 MB unpacked (page 'Lambda quotas')."""
        size = sum(path.stat().st_size for path in for_lambda.rglob("*") if path.is_file())
        assert size < 100_000_000

    def test_every_partition_resolves(self, for_lambda: Path) -> None:
        endpoints = for_lambda / "CoreLayer/python/botocore/data/endpoints.json"
        partitions = {each["partition"] for each in json.loads(endpoints.read_text())["partitions"]}
        assert {"aws", "aws-cn", "aws-us-gov"} <= partitions

    def test_bytecode_is_what_lambda_reads(self, for_lambda: Path) -> None:
        """Flag 1: its source's hash is not checked ('Cached bytecode invalidation', PEP 552).

        Without a Python 3.13 on this machine there must be none: another one's is dead weight.
        """
        site = for_lambda / "CoreLayer/python"
        compiled = {path.name.partition(".")[0] for path in (site / "sageops").rglob("*.pyc")}
        if not lambda_python_is_here():
            assert list(site.rglob("*.pyc")) == []
            return
        assert compiled == {path.stem for path in (site / "sageops").rglob("*.py")}
        for path in site.rglob("*.pyc"):
            magic, flags = struct.unpack("<4sI", path.read_bytes()[:8])
            assert ".cpython-313." in path.name
            assert flags == 1
            assert magic == MAGIC_NUMBER or THIS_PYTHON != "3.13"
