"""The pipeline definition: what its JSON means. Pure; `local.simulator.pipelines` runs it.

Source: the 'SageMaker Pipeline Definition' JSON schema (linked from the developer guide, page
'Pipelines overview'), version 2020-12-01, and what the SageMaker Python SDK writes
(`sagemaker.workflow`): the schema leaves out `Std:Join` and `Std:JsonGet` in places where the SDK
and AWS's own examples use them, so they are resolved everywhere.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.simulator.site import Document

__all__ = ["Definition", "Invalid", "Parameter", "Step", "holds", "parse", "resolve", "walk"]

VERSION = "2020-12-01"
STEP_TYPES = ("Training", "Processing", "Condition", "RegisterModel", "Fail")
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_SEGMENT = re.compile(
    r"""\.?(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]|\[['"](?P<quoted>[^'"]+)['"]\]"""
)


class Invalid(Exception):
    """The definition, or a value for it, is not what the schema allows."""


@dataclass(frozen=True)
class Parameter:
    """`type` is `String`, `Integer`, `Float` or `Boolean`; `default` is None without one."""

    name: str
    type: str
    default: Any = None
    allowed: tuple[Any, ...] = ()

    def value(self, text: str) -> Any:
        """The value that `StartPipelineExecution` gave as a string. Raises `Invalid`."""
        value = self._converted(text)
        if self.allowed and value not in self.allowed:
            raise Invalid(f"Parameter [{self.name}] must be one of {list(self.allowed)}: {text}")
        return value

    def _converted(self, text: str) -> Any:
        try:
            match self.type:
                case "Integer":
                    return int(text)
                case "Float":
                    return float(text)
                case "Boolean":
                    return {"true": True, "false": False}[text.lower()]
                case _:
                    return text
        except (ValueError, KeyError) as error:
            message = f"Parameter [{self.name}] is of type {self.type}: {text!r}"
            raise Invalid(message) from error


@dataclass(frozen=True)
class Step:
    """`after` are the steps that must have succeeded; `branch` the condition step whose outcome
    must be the given one, for a step that is inside one. `property_files` are by name.
    """

    name: str
    type: str
    arguments: Document
    after: frozenset[str]
    property_files: Mapping[str, Document]
    branch: tuple[str, bool] | None = None


@dataclass(frozen=True)
class Definition:
    """Parameters and steps by name; the steps of condition steps are among them."""

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]

    def values(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Every parameter's value for an execution. Raises `Invalid`."""
        if unknown := sorted(set(given) - set(self.parameters)):
            raise Invalid(f"Unknown parameters: {unknown}")
        values = {
            name: parameter.value(given[name]) if name in given else parameter.default
            for name, parameter in self.parameters.items()
        }
        if missing := sorted(name for name, value in values.items() if value is None):
            raise Invalid(f"Parameters {missing} have no default and need a value")
        return values


def parse(text: str) -> Definition:
    """Read a definition and check that everything it refers to is in it. Raises `Invalid`."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Invalid(f"not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("Version") != VERSION:
        raise Invalid(f"Version must be {VERSION}")
    try:
        parameters = {each["Name"]: _parameter(each) for each in document.get("Parameters", [])}
        steps = list(_steps(document["Steps"], None))
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"not a pipeline definition: {error!r}") from error
    definition = Definition(parameters, {step.name: step for step in steps})
    if len(definition.steps) != len(steps):
        raise Invalid("Step names must be unique within the pipeline")
    for step in steps:
        _check(step, definition)
    _refuse_cycles(definition)
    return definition


def _parameter(document: Document) -> Parameter:
    if document["Type"] not in ("String", "Integer", "Float", "Boolean"):
        raise Invalid(f"Parameter [{document['Name']}] has an unknown type: {document['Type']}")
    allowed = tuple(document.get("EnumValues", ()))
    return Parameter(document["Name"], document["Type"], document.get("DefaultValue"), allowed)


def _steps(documents: list[Document], branch: tuple[str, bool] | None) -> Iterator[Step]:
    for document in documents:
        name, kind, arguments = document["Name"], document["Type"], document.get("Arguments", {})
        if not _NAME.fullmatch(name):
            raise Invalid(f"Step name {name!r} does not match {_NAME.pattern}")
        if kind not in STEP_TYPES:
            raise Invalid(f"Step [{name}] is of type {kind}; simulated are {', '.join(STEP_TYPES)}")
        inner = {"IfSteps", "ElseSteps"} if kind == "Condition" else set()
        own = {key: value for key, value in arguments.items() if key not in inner}
        after = {*document.get("DependsOn", []), *_steps_named(own)}
        files = {each["PropertyFileName"]: each for each in document.get("PropertyFiles", [])}
        condition = {branch[0]} if branch else set()
        yield Step(name, kind, own, frozenset(after | condition), files, branch)
        if kind == "Condition":
            yield from _steps(arguments.get("IfSteps", []), (name, True))
            yield from _steps(arguments.get("ElseSteps", []), (name, False))


def _references(value: Any) -> Iterator[str]:
    """Every path that a `Get` in `value` asks for."""
    match value:
        case {"Get": str(path), **rest} if not rest:
            yield path
        case dict():
            for each in value.values():
                yield from _references(each)
        case list():
            for each in value:
                yield from _references(each)


def _steps_named(value: Any) -> set[str]:
    return {path.split(".")[1] for path in _references(value) if path.startswith("Steps.")}


def _check(step: Step, definition: Definition) -> None:
    if unknown := sorted(step.after - set(definition.steps)):
        raise Invalid(f"Step [{step.name}] depends on steps that do not exist: {unknown}")
    for path in _references(step.arguments):
        root, _, name = path.partition(".")
        if root not in ("Parameters", "Steps", "Execution"):
            raise Invalid(f"Step [{step.name}] refers to {path!r}")
        if root == "Parameters" and name not in definition.parameters:
            raise Invalid(f"Step [{step.name}] refers to an unknown parameter: {name}")


def _refuse_cycles(definition: Definition) -> None:
    waiting = dict(definition.steps)
    while free := [name for name, step in waiting.items() if not step.after & set(waiting)]:
        for name in free:
            del waiting[name]
    if waiting:
        raise Invalid(f"Steps depend on each other in a circle: {sorted(waiting)}")


def resolve(value: Any, get: Callable[[str], Any], json_get: Callable[[Document], Any]) -> Any:
    """`value` with its functions replaced: `Get` by `get(path)`, `Std:JsonGet` by
    `json_get(arguments)`, `Std:Join` by the joined text.
    """
    match value:
        case {"Get": str(path), **rest} if not rest:
            return get(path)
        case {"Std:JsonGet": arguments, **rest} if not rest:
            return json_get(arguments)
        case {"Std:Join": {"Values": values, **options}, **rest} if not rest:
            on = str(options.get("On", ""))
            return on.join(_text(resolve(each, get, json_get)) for each in values)
        case dict():
            return {key: resolve(each, get, json_get) for key, each in value.items()}
        case list():
            return [resolve(each, get, json_get) for each in value]
        case _:
            return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def walk(document: Any, path: str) -> Any:
    """What `path` names in `document`: `metrics.accuracy.value`, `Outputs['train'].S3Uri`, `a[0]`.

    A key applied to a list finds the member of that name (`OutputName`, `InputName`,
    `ChannelName`), as the properties of steps are spelt. Raises `Invalid`.
    """
    place, end = document, 0
    path = path.removeprefix("$.")
    while end < len(path):
        segment = _SEGMENT.match(path, end)
        if not segment:
            raise Invalid(f"{path!r} is not a path")
        end = segment.end()
        try:
            place = _member(place, segment)
        except (KeyError, IndexError, TypeError, StopIteration) as error:
            raise Invalid(f"nothing at {path!r}") from error
    return place


def _member(place: Any, segment: re.Match[str]) -> Any:
    if segment["index"]:
        return place[int(segment["index"])]
    key = segment["key"] or segment["quoted"]
    if isinstance(place, list):
        names = ("OutputName", "InputName", "ChannelName")
        return next(each for each in place if key in [each.get(name) for name in names])
    return place[key]


def holds(condition: Document, value: Callable[[Any], Any]) -> bool:
    """Whether a condition is true; `value` resolves its operands. Raises `Invalid`.

    `In` is accepted as the SDK writes it (`QueryValue`, `Values`) and as the schema has it
    (`Value`, `In`).
    """
    match condition:
        case {"Type": "Or", "Conditions": conditions}:
            return any(holds(each, value) for each in conditions)
        case {"Type": "Not", "Expression": expression}:
            return not holds(expression, value)
        case {"Type": "In", "QueryValue": one, "Values": many}:
            return value(one) in value(many)
        case {"Type": "In", "Value": one, "In": many}:
            return value(one) in value(many)
        case {"Type": kind, "LeftValue": left, "RightValue": right} if kind in _COMPARISONS:
            try:
                return _COMPARISONS[kind](value(left), value(right))
            except TypeError as error:
                raise Invalid(f"{kind} cannot compare its values: {error}") from error
    raise Invalid(f"not a condition: {json.dumps(condition)}")


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda left, right: bool(left == right),
    "NotEquals": lambda left, right: bool(left != right),
    "GreaterThan": lambda left, right: bool(left > right),
    "GreaterThanOrEqualTo": lambda left, right: bool(left >= right),
    "LessThan": lambda left, right: bool(left < right),
    "LessThanOrEqualTo": lambda left, right: bool(left <= right),
}
