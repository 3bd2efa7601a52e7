"""Documents that somebody tampered with: good ones, with something hostile in some places."""

import copy
import random
from typing import Any

__all__ = ["VALUES", "tampered"]

_DEEP: Any = []
for _ in range(50):
    _DEEP = [_DEEP]

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 10**12, 10**400, 0.1, -0.0, 1e308),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", "\n", "\t", "\x00", "\x1b[31m", "\ud800", "\u202e", "e\u0301", "𝒳" * 300),
    *("*", "?", "#", "a#b", "endpoint#222222222222#eu-west-1#churn", "222222222222#eu-west-1"),
    *("../../etc/passwd", "/etc/passwd", "C:\\", "s3://stranger/a", "http://169.254.169.254/"),
    *("${aws:username}", "${jndi:ldap://x}", "{{7*7}}", "%s%n", "$(id)", "`id`", "'; DROP TABLE"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><b>', "&lt;", "]]>"),
    *("arn:aws:iam::444444444444:role/admin", "arn:aws:sagemaker:*:*:endpoint/*", "444444444444"),
    *("churn\n", "churn ", " churn", "Churn", "churn-v1-00000000", "-churn", "churn-", "a" * 64),
    *("a" * 5000, "-" * 5000 + "!", "a-" * 3000, "(a+)+$", "(", "[", "(?:a{1000}){1000}"),
    *(
        [],
        {},
        [None],
        {"": ""},
        {"a": {"b": {"c": []}}},
        [[]],
        _DEEP,
        ["churn"],
        {"churn": "churn"},
    ),
)


def tampered(document: Any, dice: random.Random) -> Any:
    """A copy with one to four things replaced, added, taken away, renamed or lengthened."""
    changed = copy.deepcopy(document)
    for _ in range(dice.choice((1, 1, 2, 3, 4))):
        changed = _tampered_once(changed, dice)
    return changed


def _tampered_once(document: Any, dice: random.Random) -> Any:
    holder, key = _place(document, dice)
    if holder is None:
        return _value(dice)
    match dice.randrange(7):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            name = dice.choice(VALUES)
            holder[name if isinstance(name, str) else str(key)] = _value(dice)
        case 2 if isinstance(holder[key], str):
            value, more = holder[key], str(dice.choice(VALUES))
            at = dice.randint(0, len(value))
            holder[key] = value[:at] + more + value[at:]
        case 3:
            other, name = _place(document, dice)
            holder[key] = copy.deepcopy(other[name]) if other is not None else None
        case 4:
            holder[key] = [holder[key]] if dice.random() < 0.5 else {"value": holder[key]}
        case 5 if isinstance(holder[key], int):
            holder[key] = dice.randint(0, 60)
        case _:
            holder[key] = _value(dice)
    return document


def _value(dice: random.Random) -> Any:
    """One of the values, and not the very one: what is tampered with next may lie in it."""
    return copy.deepcopy(dice.choice(VALUES))


def _place(document: Any, dice: random.Random) -> tuple[Any, Any]:
    """Some container in the document and a key of it; None where there is none."""
    holder, key = None, None
    at = document
    while isinstance(at, dict | list) and at:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        holder, key = at, dice.choice(keys)
        at = holder[key]
        if dice.random() < 0.35:
            break
    return holder, key
