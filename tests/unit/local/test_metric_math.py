"""Metric math over small series: three minutes, one of which some lack."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.metric_math import InvalidExpression, Value, evaluate, evaluate_all

_TIMES = [datetime(2026, 3, 10, 12, minute, tzinfo=UTC) for minute in range(3)]
_A, _B, _C = _TIMES
_SERIES: dict[str, Value] = {
    "errors": {_A: 1.0, _B: 0.0, _C: 3.0},
    "requests": {_A: 10.0, _B: 0.0, _C: 30.0},
    "gaps": {_A: 2.0, _C: 4.0},
}


def _value(expression: str) -> Value:
    return evaluate(expression, _SERIES, _TIMES)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 + 5", 3.0),
        ("10 - 2 - 3", 5.0),
        ("1.5e1", 15.0),
        ("1 < 2", 1.0),
        ("1 == 2 OR 2 != 1", 1.0),
        ("1 > 0 && 0 > 1", 0.0),
        ("errors", {_A: 1.0, _B: 0.0, _C: 3.0}),
        ("errors + 1", {_A: 2.0, _B: 1.0, _C: 4.0}),
        ("100 * errors / requests", {_A: 10.0, _C: 10.0}),
        ("errors + gaps", {_A: 3.0, _C: 7.0}),
        ("requests > 5", {_A: 1.0, _B: 0.0, _C: 1.0}),
        ("IF(requests > 5, errors / requests, 0)", {_A: 0.1, _B: 0.0, _C: 0.1}),
        ("IF(requests > 5, errors)", {_A: 1.0, _C: 3.0}),
        ("IF(gaps > 2, 1, 0)", {_A: 0.0, _C: 1.0}),
        ("IF(1 > 2, errors, requests)", {_A: 10.0, _B: 0.0, _C: 30.0}),
        ("FILL(gaps, 0)", {_A: 2.0, _B: 0.0, _C: 4.0}),
        ("FILL(gaps, REPEAT)", {_A: 2.0, _B: 2.0, _C: 4.0}),
        ("FILL(gaps, errors)", {_A: 2.0, _B: 0.0, _C: 4.0}),
        ("SUM([errors, gaps])", {_A: 3.0, _B: 0.0, _C: 7.0}),
        ("SUM(METRICS('e'))", {_A: 11.0, _B: 0.0, _C: 33.0}),
        ("MAX([errors, gaps])", {_A: 2.0, _B: 0.0, _C: 4.0}),
        ("MIN(errors)", 0.0),
        ("AVG(gaps)", 3.0),
        ("MAX(errors, 2)", {_A: 2.0, _B: 2.0, _C: 3.0}),
        ("SUM(FILL([gaps, errors], 0))", {_A: 3.0, _B: 0.0, _C: 7.0}),
        ("CEIL(errors / 2)", {_A: 1.0, _B: 0.0, _C: 2.0}),
        ("ABS(0 - errors)", {_A: 1.0, _B: 0.0, _C: 3.0}),
    ],
)
def test_value(expression: str, expected: Value) -> None:
    assert _value(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "errors +",
        "(errors",
        "nobody",
        "1 / 0",
        "errors errors",
        "FILL(1, 0)",
        "EVAL(errors)",
        "IF(errors)",
        "__import__('os')",
        "errors.real",
        "[1]",
    ],
)
def test_refuses(expression: str) -> None:
    with pytest.raises(InvalidExpression):
        _value(expression)


def test_expressions_may_use_each_other_in_any_order() -> None:
    values = evaluate_all({"e2": "e1 * 2", "e1": "errors + 1"}, _SERIES, _TIMES)
    assert values["e2"] == {_A: 4.0, _B: 2.0, _C: 8.0}


def test_a_circle_is_refused() -> None:
    with pytest.raises(InvalidExpression, match="circle"):
        evaluate_all({"e1": "e2", "e2": "e1"}, _SERIES, _TIMES)


@given(
    ones=st.dictionaries(st.sampled_from(_TIMES), st.floats(-1e6, 1e6)),
    others=st.dictionaries(st.sampled_from(_TIMES), st.floats(-1e6, 1e6)),
)
def test_arithmetic_has_points_where_both_have(
    ones: dict[datetime, float], others: dict[datetime, float]
) -> None:
    result = evaluate("a - b", {"a": ones, "b": others}, _TIMES)
    assert result == {t: ones[t] - others[t] for t in ones.keys() & others.keys()}


@given(st.dictionaries(st.sampled_from(_TIMES), st.floats(-1e6, 1e6)))
def test_fill_leaves_no_gap(series: dict[datetime, float]) -> None:
    filled = evaluate("FILL(m, 0)", {"m": series}, _TIMES)
    assert filled == {**dict.fromkeys(_TIMES, 0.0), **series}
