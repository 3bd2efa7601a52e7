"""CloudFormation's template language: parameters, conditions and intrinsic functions.

Documentation: CloudFormation template reference, "Intrinsic function reference", "Pseudo parameters
reference" and "Rules". Pure: what a resource really is, the caller says.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Created", "Scope", "TemplateError", "in_order"]

_NO_VALUE = object()
_REFERENCE = re.compile(r"\$\{(!?)([^}]+)\}")


class TemplateError(ValueError):
    """CloudFormation refuses the template or its parameters (`ValidationError`)."""


@dataclass(frozen=True)
class Created:
    """What came of a resource: `ref` is what `Ref` gives, `attributes` what `Fn::GetAtt` gives."""

    type: str
    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Scope:
    """A template with the parameters of one stack, and the resources created so far."""

    template: Mapping[str, Any]
    given: Mapping[str, str]
    pseudo: Mapping[str, Any]
    created: dict[str, Created] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters' values; lists are split. Raises `TemplateError`."""
        declared: Mapping[str, Any] = self.template.get("Parameters", {})
        if unknown := self.given.keys() - declared.keys():
            raise TemplateError(f"Parameters: {sorted(unknown)} do not exist in the template")
        return {name: self._parameter(name, each) for name, each in declared.items()}

    def _parameter(self, name: str, declared: Mapping[str, Any]) -> Any:
        if name not in self.given and "Default" not in declared:
            raise TemplateError(f"Parameters: [{name}] must have values")
        value = str(self.given.get(name, declared.get("Default")))
        allowed = declared.get("AllowedValues")
        if allowed is not None and value not in [str(each) for each in allowed]:
            raise TemplateError(f"Parameter {name}: {value!r} is none of {allowed}")
        for single in value.split(",") if "List" in declared["Type"] else [value]:
            pattern = declared.get("AllowedPattern")
            if pattern is not None and re.fullmatch(pattern, single) is None:
                raise TemplateError(f"Parameter {name}: {single!r} does not match {pattern}")
            if not int(declared.get("MinLength", 0)) <= len(single):
                raise TemplateError(f"Parameter {name}: {single!r} is too short")
            if len(single) > int(declared.get("MaxLength", len(single))):
                raise TemplateError(f"Parameter {name}: {single!r} is too long")
        if "List" in declared["Type"]:
            return [each.strip() for each in value.split(",")]
        return value

    def check_rules(self) -> None:
        """Raise `TemplateError` with the description of the first assertion that fails."""
        for name, rule in self.template.get("Rules", {}).items():
            if "RuleCondition" in rule and not self._holds(rule["RuleCondition"]):
                continue
            for assertion in rule["Assertions"]:
                if not self._holds(assertion["Assert"]):
                    raise TemplateError(f"{name}: {assertion.get('AssertDescription', 'not met')}")

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        conditions = self.template.get("Conditions", {})
        if name not in conditions:
            raise TemplateError(f"Unresolved condition {name}")
        return self._holds(conditions[name])

    def _holds(self, expression: Any) -> bool:
        match expression:
            case {"Fn::Equals": [one, other]}:
                return bool(self.resolve(one) == self.resolve(other))
            case {"Fn::Not": [one]}:
                return not self._holds(one)
            case {"Fn::And": [*several]}:
                return all(self._holds(each) for each in several)
            case {"Fn::Or": [*several]}:
                return any(self._holds(each) for each in several)
            case {"Fn::Contains": [options, one]}:
                return self.resolve(one) in self.resolve(options)
            case {"Condition": str(name)}:
                return self.condition(name)
            case _:
                raise TemplateError(f"{expression!r} is no condition")

    def resolve(self, value: Any) -> Any:
        """`value` with every intrinsic function replaced. Raises `TemplateError`."""
        resolved = self._resolve(value)
        return None if resolved is _NO_VALUE else resolved

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            members = [self._resolve(each) for each in value]
            return [each for each in members if each is not _NO_VALUE]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name, argument)
        entries = {key: self._resolve(each) for key, each in value.items()}
        return {key: each for key, each in entries.items() if each is not _NO_VALUE}

    def _call(self, name: str, argument: Any) -> Any:  # noqa: PLR0912  # one arm per function
        match name, argument:
            case "Ref", "AWS::NoValue":
                return _NO_VALUE
            case "Ref", str():
                return self._ref(argument)
            case "Fn::GetAtt", str():
                return self._attribute(*argument.split(".", 1))
            case "Fn::GetAtt", [str(logical), attribute]:
                return self._attribute(logical, self.resolve(attribute))
            case "Fn::Sub", str():
                return self._substitute(argument, {})
            case "Fn::Sub", [str(text), names]:
                return self._substitute(text, {k: self.resolve(v) for k, v in names.items()})
            case "Fn::If", [str(condition), yes, no]:
                return self._resolve(yes if self.condition(condition) else no)
            case "Fn::Join", [str(separator), parts]:
                return separator.join(str(part) for part in self.resolve(parts))
            case "Fn::Split", [str(separator), text]:
                return self.resolve(text).split(separator)
            case "Fn::Select", [index, options]:
                return self.resolve(options)[int(self.resolve(index))]
            case "Fn::FindInMap", [table, first, second]:
                keys = [self.resolve(each) for each in (table, first, second)]
                found: Any = self.template.get("Mappings", {})
                for key in keys:
                    if key not in found:
                        raise TemplateError(f"FindInMap: {keys} is not in the mappings")
                    found = found[key]
                return self._resolve(found)
            case "Fn::Base64", text:
                return base64.b64encode(self.resolve(text).encode()).decode()
            case "Fn::ToJsonString", document:
                return json.dumps(self.resolve(document))
            case _:
                raise TemplateError(f"{name} of {argument!r} is not supported")

    def _ref(self, name: str) -> Any:
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        return self._created(name).ref

    def _attribute(self, logical: str, attribute: str) -> str:
        resource = self._created(logical)
        if attribute not in resource.attributes:
            raise TemplateError(f"{logical}: a {resource.type} has no attribute {attribute}")
        return resource.attributes[attribute]

    def _created(self, logical: str) -> Created:
        if logical not in self.created:
            raise TemplateError(f"Unresolved resource dependency {logical}")
        return self.created[logical]

    def _substitute(self, text: str, names: Mapping[str, Any]) -> str:
        def replacement(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            if name in names:
                return str(names[name])
            if "." in name:
                return self._attribute(*name.split(".", 1))
            value = self._ref(name)
            if isinstance(value, list):
                raise TemplateError(f"Fn::Sub: {name} is a list")
            return str(value)

        return _REFERENCE.sub(replacement, text)


def in_order(resources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The logical ids, each after all that it refers to. Raises `TemplateError` for a circle."""
    ordered: list[str] = []
    entered: list[str] = []

    def visit(logical: str) -> None:
        if logical in ordered:
            return
        if logical in entered:
            circle = [*entered[entered.index(logical) :], logical]
            raise TemplateError(f"Circular dependency between resources: {' -> '.join(circle)}")
        entered.append(logical)
        wanted = resources[logical].get("DependsOn", [])
        explicit = [wanted] if isinstance(wanted, str) else wanted
        # The order of the references follows the template, so that a stack is always made alike.
        for name in [*explicit, *_references(resources[logical].get("Properties", {}))]:
            if name in resources and name != logical:
                visit(name)
        entered.pop()
        ordered.append(logical)

    for logical in resources:
        visit(logical)
    return ordered


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": str(name) | [str(name), *_]}:
            yield name.split(".", 1)[0]
        case {"Fn::Sub": str(text) | [str(text), *_]}:
            yield from (m[2].split(".", 1)[0] for m in _REFERENCE.finditer(text) if not m[1])
            if isinstance(value["Fn::Sub"], list):
                yield from _references(value["Fn::Sub"][1])
        case Mapping():
            yield from _each(value.values())
        case list():
            yield from _each(value)


def _each(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from _references(value)
