"""The pipeline language: what definitions may say, and what their functions give."""

import json
from typing import Any

import pytest

from local.simulator.definition import Definition, Invalid, holds, parse, resolve, walk


def fail(name: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": "no"}, **more}


def condition(name: str, if_steps: list[Any], else_steps: list[Any]) -> dict[str, Any]:
    arguments = {"Conditions": [], "IfSteps": if_steps, "ElseSteps": else_steps}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def parsed(*steps: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> Definition:
    document = {"Version": "2020-12-01", "Parameters": parameters or [], "Steps": list(steps)}
    return parse(json.dumps(document))


def get(path: str) -> dict[str, str]:
    return {"Get": path}


# Structure


def test_steps_depend_on_what_they_name_and_what_they_read() -> None:
    reader = fail("C", DependsOn=["A"])
    reader["Arguments"] = {"ErrorMessage": {"Std:Join": {"Values": ["x", get("Steps.B.Outcome")]}}}
    definition = parsed(fail("A"), fail("B"), reader)
    assert definition.steps["C"].after == {"A", "B"}


def test_the_steps_of_a_branch_wait_for_its_condition() -> None:
    inner = condition("Inner", [fail("Deep")], [])
    definition = parsed(condition("Outer", [inner], [fail("Else")]))
    assert list(definition.steps) == ["Outer", "Inner", "Deep", "Else"]
    assert definition.steps["Deep"].branch == ("Inner", True)
    assert definition.steps["Inner"].branch == ("Outer", True)
    assert definition.steps["Else"].branch == ("Outer", False)
    assert definition.steps["Else"].after == {"Outer"}


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([fail("A"), fail("A")], "unique"),
        ([fail("A b")], "does not match"),
        ([{"Name": "A", "Type": "Lambda"}], "of type Lambda"),
        ([{"Type": "Fail"}], "not a pipeline definition"),
        ([fail("A", DependsOn=["B"])], "do not exist: ['B']"),
        ([fail("A", DependsOn=["B"]), fail("B", DependsOn=["A"])], "in a circle: ['A', 'B']"),
        ([fail("A", Arguments={"ErrorMessage": get("Parameters.None")})], "unknown parameter"),
        ([fail("A", Arguments={"ErrorMessage": get("Elsewhere.x")})], "refers to 'Elsewhere.x'"),
    ],
)
def test_a_definition_that_cannot_run_is_refused(steps: list[Any], problem: str) -> None:
    with pytest.raises(Invalid) as invalid:
        parsed(*steps)
    assert problem in str(invalid.value)


# Parameters


PARAMETERS: list[dict[str, Any]] = [
    {"Name": "Name", "Type": "String", "DefaultValue": "x", "EnumValues": ["x", "y"]},
    {"Name": "Count", "Type": "Integer"},
    {"Name": "Share", "Type": "Float", "DefaultValue": 0.5},
    {"Name": "Sure", "Type": "Boolean", "DefaultValue": False},
]


def test_values_are_of_their_parameters_type() -> None:
    definition = parsed(parameters=PARAMETERS)
    given = {"Count": "3", "Share": "1", "Sure": "True"}
    assert definition.values(given) == {"Name": "x", "Count": 3, "Share": 1.0, "Sure": True}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Count": "three"},
        {"Count": "3", "Sure": "perhaps"},
        {"Count": "3", "Name": "z"},
        {"Count": "3", "Other": "1"},
    ],
)
def test_values_that_do_not_fit_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        parsed(parameters=PARAMETERS).values(given)


# Functions


def test_functions_are_resolved_wherever_they_stand() -> None:
    value = {
        "a": [get("Parameters.N"), "plain"],
        "b": {
            "Std:Join": {"On": "/", "Values": ["s3://b", get("Parameters.N"), {"Std:JsonGet": 1}]}
        },
        "Get": "not alone, so not a function",
    }
    assert resolve(value, len, lambda arguments: [arguments]) == {
        "a": [12, "plain"],
        "b": "s3://b/12/[1]",
        "Get": "not alone, so not a function",
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metrics.accuracy.value", 0.9),
        ("$.metrics.accuracy.value", 0.9),
        ("metrics['accuracy']['value']", 0.9),
        ("Outputs['test'].S3Output.S3Uri", "s3://b/test"),
        ("Outputs[0].OutputName", "test"),
    ],
)
def test_paths_lead_into_documents(path: str, value: Any) -> None:
    document = {
        "metrics": {"accuracy": {"value": 0.9}},
        "Outputs": [{"OutputName": "test", "S3Output": {"S3Uri": "s3://b/test"}}],
    }
    assert walk(document, path) == value


@pytest.mark.parametrize("path", ["none", "list[3]", "list['x']", "text.deeper", "list[", ".."])
def test_paths_that_lead_nowhere_are_refused(path: str) -> None:
    with pytest.raises(Invalid):
        walk({"list": [{"OutputName": "a"}], "text": "x"}, path)


# Conditions


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (compare("Equals", 1, 1.0), True),
        (compare("NotEquals", "a", "a"), False),
        (compare("GreaterThan", 1, 1), False),
        (compare("GreaterThanOrEqualTo", 1, 1), True),
        (compare("LessThan", 1, 1), False),
        (compare("LessThanOrEqualTo", 1, 1), True),
        ({"Type": "In", "QueryValue": "a", "Values": ["a", "b"]}, True),
        ({"Type": "In", "Value": "c", "In": ["a", "b"]}, False),
        ({"Type": "Not", "Expression": compare("Equals", 1, 2)}, True),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 2, 2)]}, True),
        ({"Type": "Or", "Conditions": []}, False),
    ],
)
def test_conditions_hold_or_do_not(condition: dict[str, Any], outcome: bool) -> None:
    assert holds(condition, lambda value: value) is outcome


@pytest.mark.parametrize("condition", [{"Type": "Between"}, compare("LessThan", "a", 1)])
def test_conditions_without_a_meaning_are_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        holds(condition, lambda value: value)
