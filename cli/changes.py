"""`sageops policy diff`: what a policy file would change of the policy in force."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import to_builtins
from sageops.policy import Policy

__all__ = ["Change", "changes"]


@dataclass(frozen=True)
class Change:
    """One value: where, what is in force, and what would be. None stands for 'nothing'."""

    where: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.where}: {_say(self.before)} -> {_say(self.after)}"


def changes(before: Policy | None, after: Policy) -> list[Change]:
    """Every value that differs; stages are told apart by their names, not by their places."""
    old = {} if before is None else dict(_values(_by_name(to_builtins(before)), ""))
    new = dict(_values(_by_name(to_builtins(after)), ""))
    found = [
        Change(where, old.get(where), new.get(where))
        for where in dict.fromkeys([*old, *new])
        if old.get(where) != new.get(where)
    ]
    if before is not None and _order(before) != _order(after):
        found.insert(0, Change("order of stages", _order(before), _order(after)))
    return found


def _order(policy: Policy) -> str:
    return ", ".join(stage.name for stage in policy.stages)


def _by_name(document: Any) -> Any:
    return {**document, "stages": {stage["name"]: stage for stage in document["stages"]}}


def _values(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _values(each, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _values(each, f"{where}[{index}]")
    else:
        yield where, value


def _say(value: Any) -> str:
    return "nothing" if value is None else str(value)
