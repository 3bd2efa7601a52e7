"""Policy files: every problem at once, each with its file, its line and its path."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sageops.policy import Problem

from cli.policy_file import Unreadable, point_at, read

EXAMPLE = """\
group: churn
stages:
  - name: staging
    target: &there
      account: "222222222222"
      region: eu-west-1
      endpoint: churn-staging
    serving:
      instance_type: ml.m5.large
  - name: production
    target: {<<: *there, account: "333333333333", endpoint: churn}
    rollout:
      strategy: canary
      canary_percent: 70
    serving:
      instance_type: ml.m5.large
      instance_count: 10
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a folder `policies` in it: files have the names people type."""
    monkeypatch.chdir(tmp_path)
    Path("policies").mkdir()
    return Path("policies")


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "churn.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_problem_is_pointed_at(folder: Path) -> None:
    _, policy, problems = read(written(folder, EXAMPLE))

    assert policy is None
    assert problems == [
        "policies/churn.yaml:14 stages[1].rollout.canary_percent: 70 is above 50, SageMaker's limit"
    ]


def test_every_problem_is_listed_at_once(folder: Path) -> None:
    bad = (
        EXAMPLE.replace('"222222222222"', "222222222222")
        .replace("    serving:\n      instance_type: ml.m5.large\n  -", "    colour: red\n  -")
        .replace("      strategy: canary\n", "")
    )

    _, policy, problems = read(written(folder, bad))

    assert policy is None
    assert problems == [
        "policies/churn.yaml:3 stages[0].serving: missing",
        "policies/churn.yaml:5 stages[0].target.account: 222222222222 is not text (numbers need "
        "quotes)",
        "policies/churn.yaml:8 stages[0].colour: unknown; known here: name, target, serving, "
        "rollout, checks, gate, shadow, drift, deadline_minutes",
        "policies/churn.yaml:11 stages[1].rollout.strategy: missing; one of all_at_once, canary, "
        "linear, rolling, progressive",
    ]


def test_a_good_file_is_a_policy_and_its_text(folder: Path) -> None:
    good = EXAMPLE.replace("70", "10  # one of the ten")

    text, policy, problems = read(written(folder, good))

    assert problems == []
    assert text == good
    assert policy is not None
    assert policy.stage("production").target.account == "333333333333"
    assert policy.stage("production").target.region == "eu-west-1"  # merged


def test_a_problem_of_what_was_merged_is_pointed_at_where_it_stands(folder: Path) -> None:
    bad = EXAMPLE.replace("eu-west-1", "Ireland").replace("70", "10")

    _, _, problems = read(written(folder, bad))

    assert [each.partition(":")[0] for each in problems] == ["policies/churn.yaml"] * 2
    assert all(each.startswith("policies/churn.yaml:6 ") for each in problems)


def test_an_empty_file_is_a_problem_of_the_whole(folder: Path) -> None:
    assert read(written(folder, ""))[2] == [
        "policies/churn.yaml:1 the whole file: nothing is not a mapping with group, stages, "
        "training, approval, registry, retire_after_days"
    ]


def test_what_is_missing_is_pointed_at_where_it_should_be() -> None:
    lines = {(): 1, ("stages",): 2, ("stages", 0): 3}
    problem = Problem(("stages", 0, "target", "account"), "missing")

    assert point_at(Path("a.yaml"), lines, problem) == "a.yaml:3 stages[0].target.account: missing"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("group: a\nstages: []\ngroup: b\n", "churn.yaml:3 'group' was said before, in line 1"),
        (
            "stages:\n  - name: a\n    gate: auto\n    name: b\n",
            "churn.yaml:4 'name' was said before, in line 2",
        ),
        ("group: 'churn\nstages", "churn.yaml: not YAML: .* found unexpected end of stream"),
        ("group: churn\n---\ngroup: fraud\n", "churn.yaml: not YAML: .* another document"),
        ("group: \x00", "churn.yaml: not YAML: "),
        (b"group: \xff\xfe", "churn.yaml: not UTF-8 text: invalid start byte"),
        ("group: !!python/object:os.system x", "churn.yaml:1 not a value of YAML's: "),
        ("group: churn\nday: 2024-99-99\n", "churn.yaml:2 not a value of YAML's: month must be"),
        ("group: churn\nday: !!int abc\n", "churn.yaml:2 not a value of YAML's: "),
        ("<<: 3\n", "churn.yaml: not YAML: .* expected a mapping"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(folder: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said) as error:
        read(written(folder, text))

    assert str(error.value).startswith("policies/churn.yaml:")
    assert "\n" not in str(error.value)


def test_a_missing_file_says_so(folder: Path) -> None:
    with pytest.raises(Unreadable, match=r"^policies/gone\.yaml: No such file or directory$"):
        read(folder / "gone.yaml")
    with pytest.raises(Unreadable, match=r"^policies: Is a directory$"):
        read(folder)


@pytest.mark.parametrize("text", ["&a [*a]", "group: &x {b: *x}"])
def test_a_value_inside_itself_cannot_be_read(folder: Path, text: str) -> None:
    with pytest.raises(Unreadable):
        read(written(folder, text))


@pytest.mark.parametrize("text", ["group: !!timestamp x", "group: !!bool x"])
def test_a_tag_that_does_not_go_with_its_value_cannot_be_read(folder: Path, text: str) -> None:
    with pytest.raises(Unreadable):
        read(written(folder, text))


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.text("abc:- \n\t'\"[]{}#?|>%@`,<10.~", max_size=60))
def test_any_text_is_a_policy_or_problems_or_unreadable(folder: Path, text: str) -> None:
    try:
        _, policy, problems = read(written(folder, text))
    except Unreadable as error:
        assert str(error).startswith("policies/churn.yaml")
    else:
        assert policy is None
        assert all(each.startswith("policies/churn.yaml:") for each in problems)


SHIPPED = sorted((Path(__file__).parents[3] / "policies").glob("*.yaml"))


def test_there_are_policies_that_ship() -> None:
    assert [file.name for file in SHIPPED] == ["churn.yaml", "fraud.yaml"]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_the_policies_that_ship_are_good(file: Path) -> None:
    _, policy, problems = read(file)

    assert problems == []
    assert policy is not None
    assert policy.group == file.stem
