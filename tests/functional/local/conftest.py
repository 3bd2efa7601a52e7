"""A cloud, and a way to deploy a small template with small handlers into it."""

import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.cloud import Cloud

START = datetime(2026, 3, 1, tzinfo=UTC)
HUB, STAGING = "111111111111", "222222222222"

Deploy = Callable[..., dict[str, str]]


class NoContainers:
    """Nothing here serves a model."""

    def invoke(self, *_: object) -> object:
        raise AssertionError("no model is served")

    def run(self, *_: object) -> object:
        raise AssertionError("no job is run")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(START, containers=NoContainers()) as opened:  # type: ignore[arg-type]
        yield opened


@pytest.fixture
def deploy(cloud: Cloud, tmp_path: Path) -> Deploy:
    """`deploy(resources, outputs, handlers, account)`: YAML below those keys, code by folder."""

    def deployed(
        resources: str,
        outputs: str = "",
        handlers: dict[str, str] | None = None,
        account: str = HUB,
    ) -> dict[str, str]:
        for name, code in (handlers or {}).items():
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            (folder / "app.py").write_text(textwrap.dedent(code))
        parts = ["Transform: AWS::Serverless-2016-10-31", "Resources:", _indented(resources)]
        if outputs:
            parts += ["Outputs:", _indented(outputs)]
        template = tmp_path / f"template-{account}.yaml"
        template.write_text("\n".join(parts))
        return cloud.deploy(template, account, "small", {})

    return deployed


def _indented(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text), "  ")
