"""What SageMaker checks of a request before it looks at anything else: the service model.

The constraints are botocore's own (`sagemaker/2017-07-24/service-2.json`): required members,
types, lengths, ranges, patterns, enumerations. botocore's client checks only the first two and
the minima; the service checks all of them and names every violation in one message.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.exceptions import UndefinedModelAttributeError
from botocore.loaders import Loader
from botocore.model import OperationNotFoundError, ServiceModel

from local.simulator.site import Document, ServiceError

__all__ = ["compiled", "input_shape", "output_shape", "typed", "validate"]

# The service's patterns are Java's; these are the parts that Python writes otherwise. The classes
# for marks, symbols and punctuation are generous: everything printable beyond letters and digits.
_PRINTABLE = r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e\xa1-\uffff"
_JAVA = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{M}": _PRINTABLE,
    r"\p{S}": _PRINTABLE,
    r"\p{P}": _PRINTABLE,
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Print}": " -~",
    r"\p{ASCII}": r"[\x00-\x7f]",
    r"\z": r"\Z",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010ffff",
}

_KINDS: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "list": (list, tuple),
    "map": dict,
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": datetime,
}

# Requests that passed, as they were written: most are asked again and again, word for word.
_passed: set[tuple[str, str]] = set()
_REMEMBERED = 4096


@cache
def _service_model() -> Any:
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


@cache
def input_shape(operation: str) -> Any:
    """The operation's botocore input shape; None when it takes nothing.

    Raises `ServiceError` (`UnknownOperationException`) for what is no SageMaker operation.
    """
    return _operation(operation).input_shape


@cache
def output_shape(operation: str) -> Any:
    """The operation's botocore output shape; None when it answers nothing."""
    return _operation(operation).output_shape


def _operation(name: str) -> Any:
    try:
        return _service_model().operation_model(name)
    except (OperationNotFoundError, UndefinedModelAttributeError) as unknown:
        message = f"{name} is not an operation of SageMaker"
        raise ServiceError("UnknownOperationException", message) from unknown


def validate(operation: str, parameters: Document) -> None:
    """Check a request against the service model.

    Raises `ServiceError`: `ValidationException` that lists every violation in the service's own
    words, or `SerializationException` for a value of the wrong type. A member that the operation
    does not have is refused too, as botocore's client does.
    """
    shape = input_shape(operation)
    request = (operation, repr(parameters))
    if shape is None or request in _passed:
        return
    problems = list(_problems(shape, parameters, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        message = f"{len(problems)} validation {noun} detected: {'; '.join(problems)}"
        raise ServiceError("ValidationException", message)
    if len(_passed) == _REMEMBERED:
        _passed.clear()
    _passed.add(request)


def _problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    _expect(value, _KINDS[shape.type_name], path)
    match shape.type_name:
        case "structure":
            yield from _structure(shape, value, path)
        case "list":
            yield from _size(shape, value, path, len(value), "length")
            for number, item in enumerate(value, start=1):
                yield from _problems(shape.member, item, f"{path}.{number}.member")
        case "map":
            yield from _size(shape, value, path, len(value), "length")
            for key, item in value.items():
                yield from _problems(shape.key, key, f"{path}.{key}.key")
                yield from _problems(shape.value, item, f"{path}.{key}.member")
        case "string":
            yield from _string(shape, value, path)
        case "integer" | "long" | "float" | "double":
            yield from _size(shape, value, path, value, "value")


def _structure(shape: Any, value: Document, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _problem(None, _member(path, name), "Member must not be null")
    for name, member in value.items():
        if name not in shape.members:
            yield f"Unknown parameter '{name}' at '{path or 'input'}'"
        elif member is not None:
            yield from _problems(shape.members[name], member, _member(path, name))


def _expect(value: object, kind: type | tuple[type, ...], path: str) -> None:
    # A bool is an int to Python and to nobody else.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        message = f"{type(value).__name__} value at '{path or 'input'}' has the wrong type"
        raise ServiceError("SerializationException", message)


def _string(shape: Any, value: str, path: str) -> Iterator[str]:
    yield from _size(shape, value, path, len(value), "length")
    pattern = shape.metadata.get("pattern")
    if pattern and not compiled(pattern).fullmatch(value):
        constraint = f"Member must satisfy regular expression pattern: {pattern}"
        yield _problem(value, path, constraint)
    if shape.enum and value not in shape.enum:
        constraint = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        yield _problem(value, path, constraint)


def _size(shape: Any, value: object, path: str, size: float, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield _problem(value, path, f"Member must have {what} greater than or equal to {low}")
    if high is not None and size > high:
        yield _problem(value, path, f"Member must have {what} less than or equal to {high}")


def _member(path: str, name: str) -> str:
    camel = name[:1].lower() + name[1:]
    return f"{path}.{camel}" if path else camel


def _problem(value: object, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """One of the service model's Java patterns, for `fullmatch`."""
    for java, python in _JAVA.items():
        pattern = pattern.replace(java, python)
    # Tags' patterns repeat their end, which Java takes for one end.
    pattern = re.sub(r"\$\{\d+,\d+\}", "$", pattern)
    return re.compile(pattern)


def typed(shape: Any, value: Any) -> Any:
    """A value as it comes off the JSON wire, with its timestamps turned into aware datetimes.

    What does not fit the shape is left alone, for `validate` to refuse.
    """
    match value:
        case dict() if shape.type_name == "structure":
            members = shape.members
            return {k: typed(members[k], v) if k in members else v for k, v in value.items()}
        case dict() if shape.type_name == "map":
            return {key: typed(shape.value, item) for key, item in value.items()}
        case list() if shape.type_name == "list":
            return [typed(shape.member, item) for item in value]
        case int() | float() if shape.type_name == "timestamp":
            return datetime.fromtimestamp(value, UTC)
        case _:
            return value
