"""Policy files: YAML read with the line of every value, so that a problem can be pointed at."""

from pathlib import Path as File
from typing import Any

import yaml
from sageops.policy import Path, Policy, Problem, check

__all__ = ["Unreadable", "point_at", "read"]

Lines = dict[Path, int]

# An alias that stands for an alias, and so on, makes a small file endless.
_MOST_VALUES = 10_000


class Unreadable(Exception):
    """The file is missing, is not YAML, or says a key twice; the message says where."""


def read(file: File) -> tuple[str, Policy | None, list[str]]:
    """The file's text, the policy in it (None when there are problems), and every problem as
    `FILE:LINE PATH: what is wrong`. Raises `Unreadable`."""
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: Lines = {(): 1}
        document = _value(node, (), lines, file) if node is not None else None
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{file}: not UTF-8 text: {error.reason}") from error
    except yaml.YAMLError as error:
        raise Unreadable(f"{file}: not YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise Unreadable(f"{file}: a value stands inside itself, or too deep") from error
    policy, problems = check(document)
    ordered = sorted(problems, key=lambda problem: _line(lines, problem.path))
    return text, policy, [point_at(file, lines, problem) for problem in ordered]


def point_at(file: File, lines: Lines, problem: Problem) -> str:
    """`policies/churn.yaml:14 stages[1].rollout.canary_percent: 70 is above 50, ...`"""
    where = problem.where or "the whole file"
    return f"{file}:{_line(lines, problem.path)} {where}: {problem.message}"


def _line(lines: Lines, path: Path) -> int:
    """The line of that value; of what it is missing from, where it is missing."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _value(node: yaml.Node, path: Path, lines: Lines, file: File) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > _MOST_VALUES:
        raise Unreadable(f"{file}: more than {_MOST_VALUES} values")
    match node:
        case yaml.MappingNode():
            return _mapping(node, path, lines, file)
        case yaml.SequenceNode():
            return [
                _value(each, (*path, index), lines, file) for index, each in enumerate(node.value)
            ]
        case _:
            return _scalar(node, file)


def _mapping(node: yaml.MappingNode, path: Path, lines: Lines, file: File) -> dict[str, Any]:
    _refuse_doubles(node, file)
    # What `<<` brings in comes first, so that the mapping's own keys win.
    yaml.SafeLoader("").flatten_mapping(node)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(_scalar(key_node, file))
        lines[(*path, key)] = key_node.start_mark.line + 1
        found[key] = _value(value_node, (*path, key), lines, file)
    return found


def _refuse_doubles(node: yaml.MappingNode, file: File) -> None:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in seen:
            raise Unreadable(f"{file}:{line} {key!r} was said before, in line {seen[key]}")
        seen[key] = line


def _scalar(node: yaml.Node, file: File) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (AttributeError, KeyError, ValueError, yaml.YAMLError) as error:  # as PyYAML has it
        line = node.start_mark.line + 1
        raise Unreadable(f"{file}:{line} not a value of YAML's: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
