"""EventBridge event patterns: which events a rule takes.

Documentation: EventBridge user guide, "Creating Amazon EventBridge event patterns" and "Comparison
operators for use in event patterns in Amazon EventBridge". Lambda's event filters use the same
language ("Control which events Lambda sends to your function").
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["InvalidPattern", "check", "matches"]

_COMPARISONS = {"<", "<=", "=", ">", ">="}
# Absent is not the same as null: `exists` and `null` tell them apart.
_ABSENT = object()


class InvalidPattern(ValueError):
    """EventBridge refuses to create a rule with this pattern (`InvalidEventPatternException`)."""


def matches(pattern: Mapping[str, Any], event: Any) -> bool:
    """Whether `event`, a JSON document, matches `pattern`; every field of the pattern must.

    Raises `InvalidPattern` for a filter that EventBridge does not know.
    """
    return all(_field_matches(key, wanted, event) for key, wanted in pattern.items())


def check(pattern: Any, path: str = "") -> None:
    """Raise `InvalidPattern`, naming the place, unless EventBridge accepts `pattern`."""
    if not isinstance(pattern, Mapping) or not pattern:
        raise InvalidPattern(f"{path or 'the pattern'} must be an object with at least one field")
    for key, wanted in pattern.items():
        here = f"{path}.{key}" if path else key
        match wanted:
            case list() if key == "$or" and wanted and all(isinstance(w, Mapping) for w in wanted):
                for index, alternative in enumerate(wanted):
                    check(alternative, f"{here}[{index}]")
            case Mapping():
                check(wanted, here)
            case list() if wanted:
                for one in wanted:
                    try:
                        _value_matches(one, _ABSENT)
                        _value_matches(one, "")
                    except InvalidPattern as error:
                        raise InvalidPattern(f"{here}: {error}") from None
            case list():
                raise InvalidPattern(f"{here}: empty arrays are not allowed")
            case _:
                raise InvalidPattern(f"{here} must be an object or an array")


def _field_matches(key: str, wanted: Any, event: Any) -> bool:
    # "$or" is a field name like any other unless it holds a list of objects.
    if key == "$or" and isinstance(wanted, list) and all(isinstance(w, Mapping) for w in wanted):
        return any(matches(alternative, event) for alternative in wanted)
    # A pattern for the members of a list of objects matches when one of them does.
    if isinstance(event, list):
        return any(_field_matches(key, wanted, member) for member in event)
    found = event.get(key, _ABSENT) if isinstance(event, Mapping) else _ABSENT
    if isinstance(wanted, Mapping):
        if found is _ABSENT:
            # Only `exists: false`, possibly deeper, can match what is not there.
            return matches(wanted, {})
        return matches(wanted, found)
    if not isinstance(wanted, list):
        raise InvalidPattern(f"{key} must be an object or an array")
    return _any_matches(wanted, found)


def _any_matches(filters: Sequence[Any], found: Any) -> bool:
    # An event's array matches when any of its elements does; an empty one counts as absent.
    if isinstance(found, list):
        leaves = [value for value in found if not isinstance(value, Mapping | list)] or [_ABSENT]
    elif isinstance(found, Mapping):
        # `exists` is about leaf nodes: an object is not one.
        leaves = [_ABSENT]
    else:
        leaves = [found]
    return any(_value_matches(one, leaf) for one in filters for leaf in leaves)


def _value_matches(one: Any, value: Any) -> bool:
    if not isinstance(one, Mapping):
        return value is not _ABSENT and _same(one, value)
    if len(one) != 1:
        raise InvalidPattern(f"a filter has exactly one operator, not {sorted(one)}")
    [(operator, operand)] = one.items()
    match operator:
        case "exists":
            if not isinstance(operand, bool):
                raise InvalidPattern("exists takes true or false")
            return (value is not _ABSENT) is operand
        case "anything-but":
            return value is not _ABSENT and not _excluded(operand, value)
        case "numeric":
            return _numeric(operand, value)
        case "cidr":
            return _in_network(operand, value)
        case _:
            return _text_matches(operator, operand, value)


def _same(wanted: Any, value: Any) -> bool:
    # JSON's true is not 1. Numbers are compared as numbers: 300 and 3.0e2 are the same.
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return bool(wanted == value)


def _excluded(operand: Any, value: Any) -> bool:
    """Whether `anything-but`'s operand (a value, a list, or one text filter) covers `value`."""
    match operand:
        case Mapping() if len(operand) == 1:
            [(operator, inner)] = operand.items()
            alternatives = inner if isinstance(inner, list) else [inner]
            return any(_text_matches(operator, each, value) for each in alternatives)
        case list():
            return any(_same(each, value) for each in operand)
        case str() | int() | float() | None:
            return _same(operand, value)
        case _:
            raise InvalidPattern("anything-but takes a value, a list of values, or one filter")


def _text_matches(operator: str, operand: Any, value: Any) -> bool:
    match operator, operand:
        case "prefix", {"equals-ignore-case": str(part)}:
            return isinstance(value, str) and value.lower().startswith(part.lower())
        case "suffix", {"equals-ignore-case": str(part)}:
            return isinstance(value, str) and value.lower().endswith(part.lower())
        case "prefix", str(part):
            return isinstance(value, str) and value.startswith(part)
        case "suffix", str(part):
            return isinstance(value, str) and value.endswith(part)
        case "equals-ignore-case", str(part):
            return isinstance(value, str) and value.lower() == part.lower()
        case "wildcard", str(part):
            return isinstance(value, str) and _wildcard(part).fullmatch(value) is not None
        case _:
            raise InvalidPattern(f"unknown filter {operator}: {operand!r}")


def _wildcard(text: str) -> re.Pattern[str]:
    if re.search(r"(?<!\\)(?:\\\\)*\*\*", text):
        raise InvalidPattern("wildcard: consecutive wildcard characters are not allowed")
    pieces = []
    for token in re.findall(r"\\.|.|\\$", text, flags=re.DOTALL):
        match token:
            case "*":
                pieces.append(".*")
            case "\\*" | "\\\\":
                pieces.append(re.escape(token[1]))
            case _ if token.startswith("\\"):
                raise InvalidPattern(f"wildcard: {token} is not an escape")
            case _:
                pieces.append(re.escape(token))
    return re.compile("".join(pieces), re.DOTALL)


def _numeric(operand: Any, value: Any) -> bool:
    valid = isinstance(operand, list) and len(operand) in (2, 4)
    if not valid or any(o not in _COMPARISONS for o in operand[::2]):
        raise InvalidPattern(f"numeric takes one or two comparisons, not {operand!r}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return all(
        _compare(comparison, value, bound)
        for comparison, bound in zip(operand[::2], operand[1::2], strict=True)
    )


def _compare(comparison: str, value: float, bound: float) -> bool:
    match comparison:
        case "<":
            return value < bound
        case "<=":
            return value <= bound
        case "=":
            return value == bound
        case ">=":
            return value >= bound
        case _:
            return value > bound


def _in_network(operand: Any, value: Any) -> bool:
    try:
        network = ipaddress.ip_network(operand, strict=False)
    except ValueError:
        raise InvalidPattern(f"cidr takes a network, not {operand!r}") from None
    try:
        return isinstance(value, str) and ipaddress.ip_address(value) in network
    except ValueError:
        return False
