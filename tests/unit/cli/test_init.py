"""`sageops init`: what it writes is a policy, and nothing of anybody's is written over."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sageops.policy import Canary
from typer.testing import CliRunner

from cli.init import Draft, Place, drafted
from cli.main import app, main
from cli.policy_file import Unreadable, read

TWO = ("--stage", "staging=222222222222", "--stage", "production=333333333333")
HERE = ("--region", "eu-west-1")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path


def init(*arguments: str, answers: str = "") -> str:
    done = CliRunner().invoke(app, ["init", *arguments], input=answers, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_what_is_written_passes_lint_and_says_what_comes_next() -> None:
    said = init("churn", *HERE, *TWO)

    _, policy, problems = read(Path("policies/churn.yaml"))
    assert problems == []
    assert policy is not None
    staging, production = policy.stages
    assert (staging.target.account, staging.gate) == ("222222222222", "auto")
    assert (production.target.endpoint, production.gate) == ("churn-production", "manual")
    assert isinstance(production.rollout, Canary)
    assert "sageops policy lint policies/churn.yaml" in said
    assert "sageops policy push policies/churn.yaml" in said


@given(
    names=st.lists(
        st.sampled_from(["dev", "staging", "prod-eu", "prod-us"]), min_size=1, unique=True
    ),
    instances=st.integers(1, 200),
)
def test_any_answers_that_make_sense_make_a_policy(names: list[str], instances: int) -> None:
    places = [Place(name, f"{number:012d}") for number, name in enumerate(names)]

    text = drafted(Draft("churn", "eu-west-1", places, instances=instances))

    assert text.count("gate: manual") == 1, "the last stage waits for a person"


def test_what_is_commented_out_is_good_as_well(folder: Path) -> None:
    init("churn", *HERE, *TWO)
    lines = Path("policies/churn.yaml").read_text().splitlines()
    keys = [
        *("training:", "  pipeline:", "  schedule:"),
        *("approval:", "  different_people:", "  not_the_registrar:"),
        *("smoke:", "  - body:", "    expect:", "    latency_ms:"),
    ]
    file = folder / "with.yaml"
    file.write_text(
        "\n".join(
            line.replace("# ", "", 1)
            if line.lstrip().startswith(tuple(f"# {key}" for key in keys))
            else line
            for line in lines
        )
    )

    _, policy, problems = read(file)

    assert problems == []
    assert policy is not None
    assert policy.training is not None
    assert policy.approval.different_people
    assert all(stage.checks.smoke for stage in policy.stages)


def test_what_is_not_said_is_asked_for() -> None:
    answers = "fraud\neu-central-1\ndev production\n444444444444\n555555555555\n"

    init(answers=answers)

    _, policy, _ = read(Path("policies/fraud.yaml"))
    assert policy is not None
    assert [(each.name, each.target.account) for each in policy.stages] == [
        ("dev", "444444444444"),
        ("production", "555555555555"),
    ]
    assert {each.target.region for each in policy.stages} == {"eu-central-1"}


def test_the_region_is_that_of_the_profile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config").write_text("[profile work]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_PROFILE", "work")

    init("churn", *TWO)

    assert "region: eu-north-1" in Path("policies/churn.yaml").read_text()


def test_a_file_that_is_there_stays_as_it_is() -> None:
    Path("policies").mkdir()
    Path("policies/churn.yaml").write_text("mine")

    done = CliRunner().invoke(app, ["init", "churn", *HERE, *TWO])

    assert isinstance(done.exception, Unreadable)
    assert "is there already" in str(done.exception)
    assert Path("policies/churn.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("churn", "--stage", "production"), "is not STAGE=ACCOUNT"),
        (("churn", "--stage", "production=333"), "stages[0].target.account"),
        (("churn", "--stage", "Production=333333333333"), "stages[0].name"),
        (("../churn", *TWO), "group"),
        (("churn", *TWO, "--instance-type", "m5"), "instance_type"),
        (("churn: [", *TWO), "Nothing is written"),
        ((), "Without somebody to ask: sageops init GROUP"),
    ],
)
def test_what_would_not_be_a_policy_is_not_written(
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["sageops", "init", *HERE, *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO(""))  # nobody is there

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 1
    assert said in capsys.readouterr().err
    assert list(Path().rglob("*.yaml")) == []
