"""What moto and botocore find out anew in every call although it stays the same, found out once.

Nothing is answered differently. A world makes thousands of calls, and these were a tenth of their
cost, two thirds of a DynamoDB query's: how an action's method is called and which methods a class
has, where a service's state is, how a part of the user agent is written, by which names a member of
an answer is looked for.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import moto.backends
import moto.core.responses
from botocore.useragent import UserAgentComponent
from moto.core.base_backend import BackendDict
from moto.core.serialize import (
    AttributePickerContext,
    ResponseSerializer,
    XFormedAttributePicker,
)

__all__ = ["installed"]

# Functions of what they are given, and of nothing that changes.
_ALWAYS_THE_SAME = (
    (moto.backends, "get_backend"),
    (moto.core.responses, "camelcase_to_underscores"),
    (moto.core.responses, "method_names_from_class"),
    (UserAgentComponent, "to_string"),
)


@contextmanager
def installed() -> Iterator[None]:
    """Within it, what is known is not found out again."""
    with ExitStack() as stack:
        for owner, name in _ALWAYS_THE_SAME:
            stack.enter_context(patch.object(owner, name, _known(getattr(owner, name))))
        stack.enter_context(patch.object(BackendDict, "__getitem__", _of_account))
        stack.enter_context(patch.object(ResponseSerializer, "get_value", _member))
        yield


# Kept from one world to the next: they belong to the libraries and not to a world.
_known = cache(cache)

_get_backend, _get_value = BackendDict.__getitem__, ResponseSerializer.get_value


def _of_account(backends: Any, account: str) -> Any:
    """`BackendDict.__getitem__`, which looks each time whether there is anything to be made."""
    made = dict.get(backends, account)
    return _get_backend(backends, account) if made is None else made


def _member(serializer: Any, value: Any, key: str, shape: Any) -> Any:
    """`ResponseSerializer.get_value`: the member of an answer that moto made.

    An object may say itself by which names; of a plain dictionary they depend on the shape alone.
    """
    picker = serializer._value_picker
    if (
        type(value) is not dict
        or type(picker) is not XFormedAttributePicker
        or picker.response_transformers
    ):
        return _get_value(serializer, value, key, shape)
    return next((value[name] for name in _names(key, shape) if name in value), None)


@cache
def _names(key: str, shape: Any) -> tuple[str, ...]:
    """By which names moto looks for a member in a dictionary, in that order."""
    candidates = XFormedAttributePicker().get_possible_keys(AttributePickerContext({}, key, shape))
    return tuple(dict.fromkeys(candidates))
