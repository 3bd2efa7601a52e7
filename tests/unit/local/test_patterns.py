"""The documented filters of EventBridge patterns, each with what it takes and what it does not."""

from typing import Any

import pytest

from local.patterns import InvalidPattern, check, matches

_MATCHING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"source": ["aws.sagemaker"]}, {"source": "aws.sagemaker"}),
    ({"a": {"b": [1, 2]}}, {"a": {"b": 2.0}}),
    ({"a": [None]}, {"a": None}),
    ({"a": [""]}, {"a": ""}),
    ({"a": ["x"]}, {"a": ["y", "x"]}),
    ({"a": [{"prefix": "eu-"}]}, {"a": "eu-west-1"}),
    ({"a": [{"prefix": {"equals-ignore-case": "EU-"}}]}, {"a": "eu-west-1"}),
    ({"a": [{"suffix": ".png"}]}, {"a": "x.png"}),
    ({"a": [{"suffix": {"equals-ignore-case": ".PNG"}}]}, {"a": "x.png"}),
    ({"a": [{"equals-ignore-case": "alice"}]}, {"a": "AlIcE"}),
    ({"a": [{"anything-but": "x"}]}, {"a": "y"}),
    ({"a": [{"anything-but": ["x", 5]}]}, {"a": 6}),
    ({"a": [{"anything-but": {"prefix": "TargetTracking-"}}]}, {"a": "sageops/x"}),
    ({"a": [{"anything-but": {"prefix": ["p-", "q-"]}}]}, {"a": "r-"}),
    ({"a": [{"anything-but": {"suffix": ".png"}}]}, {"a": "x.jpg"}),
    ({"a": [{"anything-but": {"equals-ignore-case": ["INIT"]}}]}, {"a": "done"}),
    ({"a": [{"anything-but": {"wildcard": "*/lib/*"}}]}, {"a": "/src/x"}),
    ({"a": [{"numeric": [">", 0, "<=", 5]}]}, {"a": 5}),
    ({"a": [{"numeric": ["=", 3.018e2]}]}, {"a": 301.8}),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": "10.0.0.255"}),
    ({"a": [{"cidr": "2001:db8::/32"}]}, {"a": "2001:db8::1"}),
    ({"a": [{"exists": True}]}, {"a": None}),
    ({"a": [{"exists": False}]}, {"b": 1}),
    ({"a": {"b": [{"exists": False}]}}, {}),
    ({"a": [{"exists": False}]}, {"a": {"leaf": 1}}),
    ({"a": [{"wildcard": "*/dir/*.png"}]}, {"a": "x/dir/y.png"}),
    ({"a": [{"wildcard": r"a\*b"}]}, {"a": "a*b"}),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"b": 2}),
    ({"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}, {"a": 1, "c": 3}),
    ({"a": {"b": ["x"]}}, {"a": [{"b": "y"}, {"b": "x"}]}),
]

_NOT_MATCHING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"source": ["aws.sagemaker"]}, {"source": "aws.s3"}),
    ({"a": ["1"]}, {"a": 1}),
    ({"a": [1]}, {"a": True}),
    ({"a": [None]}, {}),
    ({"a": ["x"]}, {"a": []}),
    ({"a": ["x"]}, {"a": {"x": 1}}),
    ({"a": {"b": ["x"]}}, {"a": "x"}),
    ({"a": [{"prefix": "eu-"}]}, {"a": "us-east-1"}),
    ({"a": [{"anything-but": "x"}]}, {}),
    ({"a": [{"anything-but": ["x", "y"]}]}, {"a": "y"}),
    ({"a": [{"anything-but": {"prefix": "TargetTracking-"}}]}, {"a": "TargetTracking-x"}),
    ({"a": [{"anything-but": {"wildcard": "*/lib/*"}}]}, {"a": "/usr/lib/x"}),
    ({"a": [{"numeric": [">", 0, "<", 5]}]}, {"a": 5}),
    ({"a": [{"numeric": [">", 0]}]}, {"a": "1"}),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": "10.0.1.1"}),
    ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": "not an address"}),
    ({"a": [{"exists": True}]}, {"b": 1}),
    ({"a": [{"exists": False}]}, {"a": ""}),
    ({"a": [{"wildcard": r"a\*b"}]}, {"a": "axb"}),
    ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 2, "b": 1}),
]

_INVALID: list[Any] = [
    {},
    {"a": "x"},
    {"a": []},
    {"a": {}},
    {"a": [{"prefix": 1}]},
    {"a": [{"unknown": "x"}]},
    {"a": [{"prefix": "x", "suffix": "y"}]},
    {"a": [{"numeric": [">"]}]},
    {"a": [{"numeric": ["~", 1]}]},
    {"a": [{"cidr": "x"}]},
    {"a": [{"exists": "yes"}]},
    {"a": [{"wildcard": "a**b"}]},
    {"a": [{"wildcard": r"a\b"}]},
    {"$or": [{"a": "x"}]},
]


@pytest.mark.parametrize(("pattern", "event"), _MATCHING)
def test_matches(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    check(pattern)
    assert matches(pattern, event)


@pytest.mark.parametrize(("pattern", "event"), _NOT_MATCHING)
def test_does_not_match(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    check(pattern)
    assert not matches(pattern, event)


@pytest.mark.parametrize("pattern", _INVALID)
def test_refuses_what_eventbridge_refuses(pattern: Any) -> None:
    with pytest.raises(InvalidPattern):
        check(pattern)


def test_the_error_names_the_place() -> None:
    with pytest.raises(InvalidPattern, match=r"detail\.state\.value"):
        check({"detail": {"state": {"value": [{"perfix": "x"}]}}})
