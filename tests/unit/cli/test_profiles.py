"""Whose credentials the command uses."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app, main

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "the-usual-one")
    for name in KEYS:
        monkeypatch.setenv(name, "set")


def test_a_profile_that_is_named_goes_before_keys_that_are_set() -> None:
    done = CliRunner().invoke(app, ["--profile", "work", "policy", "schema"])

    assert done.exit_code == 0
    assert os.environ["AWS_PROFILE"] == "work"
    assert not any(name in os.environ for name in KEYS)


def test_without_one_it_is_as_it_was() -> None:
    done = CliRunner().invoke(app, ["policy", "schema"])

    assert done.exit_code == 0
    assert os.environ["AWS_PROFILE"] == "the-usual-one"
    assert all(name in os.environ for name in KEYS)


def test_a_profile_that_is_not_there_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sageops", "--profile", "nosuch", "status"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert "The config profile (nosuch) could not be found. Name a profile" in said
