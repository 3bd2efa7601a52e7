"""The dashboard and the alarms: each alarm has a runbook, and looks at something that there is."""

import json
import re
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from cli.doctor import FUNCTIONS
from local.cloudformation import Scope
from tests.template.stacks import ROOT, of_type, translated

STACK = yaml_parse((ROOT / "stacks" / "operations.yaml").read_text())
ALARMS = of_type(STACK, "AWS::CloudWatch::Alarm")
RUNBOOKS = ROOT / "docs" / "runbooks"


def metrics_of(alarm: dict[str, Any]) -> list[tuple[str, str]]:
    if "MetricName" in alarm:
        return [(alarm["Namespace"], alarm["MetricName"])]
    stats = (each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each)
    return [(each["Namespace"], each["MetricName"]) for each in stats]


@pytest.mark.parametrize("name", ALARMS)
def test_each_alarm_names_a_runbook_that_says_what_to_do(name: str) -> None:
    said = ALARMS[name]["AlarmDescription"]["Fn::Sub"]
    found = re.search(r"Runbook: \$\{Runbooks\}/([a-z-]+)\.md$", said)
    assert found is not None
    book = (RUNBOOKS / f"{found[1]}.md").read_text()
    assert f"Alarm `sageops-{found[1]}`" in book
    assert ALARMS[name]["AlarmName"]["Fn::Sub"] == f"${{HubName}}-{found[1]}"
    for heading in ("## What it harms", "## What to do"):
        assert heading in book


def test_each_runbook_has_an_alarm() -> None:
    names = {each["AlarmName"]["Fn::Sub"].removeprefix("${HubName}-") for each in ALARMS.values()}
    assert {book.stem for book in RUNBOOKS.glob("*.md")} == names


def test_each_alarm_tells_somebody() -> None:
    assert all(each["AlarmActions"] == [{"Ref": "Topic"}] for each in ALARMS.values())


def test_cloudwatch_may_use_the_topic_and_its_key() -> None:
    """A topic with the key `alias/aws/sns` takes nothing from CloudWatch (SNS developer guide, 'Key
    management', 'Enable compatibility between event sources and encrypted topics')."""
    [topic] = of_type(STACK, "AWS::SNS::Topic").values()
    assert topic["KmsMasterKeyId"] == {"Fn::GetAtt": ["Key", "Arn"]} or topic["KmsMasterKeyId"] == {
        "Fn::GetAtt": "Key.Arn"
    }
    service = {"Service": "cloudwatch.amazonaws.com"}
    [policy] = of_type(STACK, "AWS::SNS::TopicPolicy").values()
    [key] = of_type(STACK, "AWS::KMS::Key").values()
    publishing = [s for s in policy["PolicyDocument"]["Statement"] if s["Principal"] == service]
    encrypting = [s for s in key["KeyPolicy"]["Statement"] if s["Principal"] == service]
    assert [each["Action"] for each in publishing] == ["sns:Publish"]
    assert [each["Action"] for each in encrypting] == [["kms:Decrypt", "kms:GenerateDataKey"]]


@pytest.mark.parametrize("name", ALARMS)
def test_what_an_alarm_of_ours_looks_at_is_published(name: str) -> None:
    code = "".join(path.read_text() for path in (ROOT / "functions").glob("*/app.py"))
    for namespace, metric in metrics_of(ALARMS[name]):
        if namespace == "SageOps":
            assert f'"{metric}"' in code


def test_the_dashboard_is_json_and_shows_the_board_every_alarm_and_every_function() -> None:
    [dashboard] = of_type(STACK, "AWS::CloudWatch::Dashboard").values()
    scope = Scope(
        STACK,
        {
            "HubName": "sageops",
            "BoardFunctionArn": "board-arn",
            **{f"{queue}QueueName": queue for queue in ("DeadLetter", "Undelivered", "Untold")},
            "QueueName": "Queue",
        },
        {"AWS::Region": "eu-west-1"},
    )
    text = re.sub(r"\$\{(\w+)\.Arn\}", r"arn-of-\1", dashboard["DashboardBody"]["Fn::Sub"])
    widgets = json.loads(scope.resolve({"Fn::Sub": text}))["widgets"]
    [board] = [each for each in widgets if each["type"] == "custom"]
    assert board["properties"]["endpoint"] == "board-arn"
    [alarms] = [each for each in widgets if each["type"] == "alarm"]
    assert alarms["properties"]["alarms"] == [f"arn-of-{name}" for name in ALARMS]
    [errors] = [each for each in widgets if "Errors" in each["properties"]["title"]]
    shown = {metric[3].removeprefix("sageops-") for metric in errors["properties"]["metrics"]}
    assert shown == set(FUNCTIONS)
    for each in widgets:
        assert each["x"] + each["width"] <= 24


def test_the_hub_gives_the_stack_what_it_asks_for() -> None:
    [nested] = of_type(translated("template.yaml"), "AWS::CloudFormation::Stack").values()
    given = set(nested["Parameters"])
    needed = {name for name, each in STACK["Parameters"].items() if "Default" not in each}
    assert needed <= given <= set(STACK["Parameters"])


def test_the_doctor_knows_every_function() -> None:
    functions = of_type(translated("template.yaml"), "AWS::Lambda::Function").values()
    names = {
        each["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-") for each in functions
    }
    assert names == set(FUNCTIONS)
