"""The template language: functions, conditions, parameters, order."""

from typing import Any

import pytest

from local.cloudformation import Created, Scope, TemplateError, in_order

_TEMPLATE: dict[str, Any] = {
    "Parameters": {
        "Name": {"Type": "String", "Default": "x"},
        "Accounts": {"Type": "CommaDelimitedList", "Default": "1,2"},
        "Secret": {"Type": "String", "MinLength": 3, "AllowedPattern": "[a-z]+"},
    },
    "Mappings": {"Sizes": {"eu-west-1": {"small": 1}}},
    "Conditions": {
        "IsX": {"Fn::Equals": [{"Ref": "Name"}, "x"]},
        "IsNotX": {"Fn::Not": [{"Condition": "IsX"}]},
        "Both": {"Fn::And": [{"Condition": "IsX"}, {"Condition": "IsNotX"}]},
        "Either": {"Fn::Or": [{"Condition": "IsX"}, {"Condition": "IsNotX"}]},
    },
}


def _scope(**given: str) -> Scope:
    made = {"Queue": Created("AWS::SQS::Queue", "https://queue", {"Arn": "arn:queue"})}
    pseudo = {"AWS::Region": "eu-west-1"}
    return Scope(_TEMPLATE, {"Secret": "abc", **given}, pseudo, made)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Name"}, "x"),
        ({"Ref": "Accounts"}, ["1", "2"]),
        ({"Ref": "Queue"}, "https://queue"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:queue"),
        ({"Fn::GetAtt": "Queue.Arn"}, "arn:queue"),
        (
            {"Fn::Sub": "${Queue.Arn}/${Name}/${AWS::Region}/${!Literal}"},
            "arn:queue/x/eu-west-1/${Literal}",
        ),
        ({"Fn::Sub": ["${Mine}-${Name}", {"Mine": {"Ref": "Queue"}}]}, "https://queue-x"),
        ({"Fn::If": ["IsX", "yes", "no"]}, "yes"),
        ({"Fn::If": ["Both", "yes", "no"]}, "no"),
        ({"Fn::If": ["Either", "yes", "no"]}, "yes"),
        ({"a": {"Fn::If": ["IsNotX", 1, {"Ref": "AWS::NoValue"}]}, "b": 2}, {"b": 2}),
        ([1, {"Ref": "AWS::NoValue"}, 2], [1, 2]),
        ({"Fn::Join": ["-", ["a", {"Ref": "Name"}]]}, "a-x"),
        ({"Fn::Select": [1, {"Ref": "Accounts"}]}, "2"),
        ({"Fn::Select": [4, {"Fn::Split": [":", "a:b:c:d:e"]}]}, "e"),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "AWS::Region"}, "small"]}, 1),
        ({"Fn::Base64": "a"}, "YQ=="),
        ({"Fn::ToJsonString": {"a": {"Ref": "Name"}}}, '{"a": "x"}'),
        ({"account": {"Ref": "Accounts"}}, {"account": ["1", "2"]}),
    ],
)
def test_resolve(value: Any, expected: Any) -> None:
    assert _scope().resolve(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Nobody"},
        {"Fn::GetAtt": ["Queue", "Colour"]},
        {"Fn::Sub": "${Nobody}"},
        {"Fn::Sub": "${Accounts}"},
        {"Fn::If": ["Nothing", 1, 2]},
        {"Fn::FindInMap": ["Sizes", "us-east-1", "small"]},
        {"Fn::Cidr": ["10.0.0.0/8", 1, 1]},
    ],
)
def test_refuses(value: Any) -> None:
    with pytest.raises(TemplateError):
        _scope().resolve(value)


@pytest.mark.parametrize("given", [{"Secret": "ab"}, {"Secret": "ABC"}, {"Unknown": "x"}], ids=str)
def test_refuses_parameters(given: dict[str, str]) -> None:
    with pytest.raises(TemplateError):
        _scope(**given).resolve({"Ref": "Name"})


def test_a_parameter_without_a_default_must_be_given() -> None:
    with pytest.raises(TemplateError, match="Secret"):
        Scope(_TEMPLATE, {}, {}).resolve({"Ref": "Secret"})


def test_rules_say_what_is_wrong() -> None:
    rules = {
        "Same": {
            "Assertions": [
                {
                    "Assert": {"Fn::Equals": [{"Ref": "Name"}, "x"]},
                    "AssertDescription": "Name must be x",
                }
            ]
        }
    }
    template = {**_TEMPLATE, "Rules": rules}
    Scope(template, {"Secret": "abc"}, {}).check_rules()
    with pytest.raises(TemplateError, match="Name must be x"):
        Scope(template, {"Secret": "abc", "Name": "y"}, {}).check_rules()


def test_order_follows_references() -> None:
    resources: dict[str, Any] = {
        "Rule": {"Properties": {"Target": {"Fn::Sub": "${Function.Arn}"}}},
        "Policy": {"DependsOn": "Rule"},
        "Function": {"Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
        "Role": {},
    }
    assert in_order(resources) == ["Role", "Function", "Rule", "Policy"]


def test_a_circle_is_named() -> None:
    resources = {
        "One": {"Properties": {"x": {"Ref": "Two"}}},
        "Two": {"Properties": {"x": {"Ref": "One"}}},
    }
    with pytest.raises(TemplateError, match="One -> Two -> One"):
        in_order(resources)
