"""CloudWatch metric math: arithmetic, comparison and a few functions over time series.

Documentation: CloudWatch user guide, "Using math expressions with CloudWatch metrics". A value is a
scalar (float), a time series (values by time) or an array of time series.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["InvalidExpression", "Series", "Value", "evaluate", "evaluate_all"]

Series = Mapping[datetime, float]
Value = float | Series | Sequence[Series]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<text>\"[^\"]*\"|'[^']*')|(?P<sign><=|>=|==|!=|&&|\|\||[-+*/^()<>,\[\]]))"
)
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}
_COMPARISON: dict[str, Callable[[float, float], float]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "MAX": max,
    "MIN": min,
    "AVG": lambda values: sum(values) / len(values),
}


class InvalidExpression(ValueError):
    """CloudWatch answers `ValidationError: Error in expression`."""


def evaluate(expression: str, series: Mapping[str, Value], times: Sequence[datetime]) -> Value:
    """The value of `expression` where each query id stands for its result in `series`.

    `times` are the beginnings of all periods asked for: what `FILL` fills.
    Where an operand has no data point, or the divisor is zero, the result has none.
    Raises `InvalidExpression`.
    """
    parser = _Parser(list(_tokens(expression)), series, times)
    value = parser.disjunction()
    if parser.position != len(parser.tokens):
        raise InvalidExpression(f"unexpected {parser.tokens[parser.position]!r} in {expression!r}")
    return value


def evaluate_all(
    expressions: Mapping[str, str], measured: Mapping[str, Value], times: Sequence[datetime]
) -> dict[str, Value]:
    """`measured` and the value of each expression (by id), which may use one another in any order.

    Raises `InvalidExpression`, also when they use each other in a circle.
    """
    known = dict(measured)
    waiting = dict(expressions)
    while waiting:
        ready = [id for id, text in waiting.items() if waiting.keys().isdisjoint(_tokens(text))]
        if not ready:
            raise InvalidExpression(f"{sorted(waiting)} use each other in a circle")
        for id in ready:
            known[id] = evaluate(waiting.pop(id), known, times)
    return known


def _tokens(expression: str) -> Iterator[str]:
    position = 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidExpression(f"cannot read {text[position:]!r} in {expression!r}")
        yield match[match.lastgroup or 0]
        position = match.end()


@dataclass
class _Parser:
    """Reads and evaluates at once: the expressions are short and evaluated over little data."""

    tokens: list[str]
    series: Mapping[str, Value]
    times: Sequence[datetime]
    position: int = 0

    def disjunction(self) -> Value:
        value = self.conjunction()
        while self._take("OR", "||"):
            value = _combine(value, self.conjunction(), lambda a, b: float(bool(a) or bool(b)))
        return value

    def conjunction(self) -> Value:
        value = self._comparison()
        while self._take("AND", "&&"):
            value = _combine(value, self._comparison(), lambda a, b: float(bool(a) and bool(b)))
        return value

    def _comparison(self) -> Value:
        value = self._sum()
        while sign := self._take(*_COMPARISON):
            compare = _COMPARISON[sign]
            value = _combine(value, self._sum(), compare)
        return value

    def _sum(self) -> Value:
        value = self._product()
        while sign := self._take("+", "-"):
            value = _combine(value, self._product(), _ARITHMETIC[sign])
        return value

    def _product(self) -> Value:
        value = self._negation()
        while sign := self._take("*", "/"):
            value = _combine(value, self._negation(), _ARITHMETIC[sign])
        return value

    def _negation(self) -> Value:
        if self._take("-"):
            return _combine(0.0, self._negation(), operator.sub)
        value = self._atom()
        if self._take("^"):
            return _combine(value, self._negation(), operator.pow)
        return value

    def _atom(self) -> Value:
        if self._take("("):
            value = self.disjunction()
            self._expect(")")
            return value
        if self._take("["):
            return [one for argument in self._list("]") for one in _as_array(argument)]
        token = self._next()
        if token[0].isdigit() or token[0] == ".":
            return float(token)
        if self._take("("):
            return self._call(token)
        if token in self.series:
            return self.series[token]
        raise InvalidExpression(f"unknown id {token!r}")

    def _call(self, name: str) -> Value:
        if name == "METRICS":
            return self._metrics()
        if name == "FILL":
            return self._fill()
        arguments = self._list(")")
        match name, arguments:
            case "IF", [condition, true]:
                return _choose(condition, true, {}, self.times)
            case "IF", [condition, true, false]:
                return _choose(condition, true, false, self.times)
            case "ABS", [one]:
                return _combine(one, 0.0, lambda a, _: abs(a))
            case "CEIL", [one]:
                return _combine(one, 0.0, lambda a, _: float(-(-a // 1)))
            case "FLOOR", [one]:
                return _combine(one, 0.0, lambda a, _: float(a // 1))
            case (("SUM" | "MAX" | "MIN" | "AVG"), [one]):
                return _aggregate(_AGGREGATES[name], one)
            case (("MAX" | "MIN"), [one, other]):
                return _combine(one, other, max if name == "MAX" else min)
            case _:
                raise InvalidExpression(f"{name} with {len(arguments)} arguments is not supported")

    def _metrics(self) -> Value:
        """`METRICS()`, or `METRICS("prefix")`: every time series of the request."""
        part = "" if self._take(")") else self._next().strip("\"'")
        if part:
            self._expect(")")
        return [one for id, value in self.series.items() if part in id for one in _as_array(value)]

    def _fill(self) -> Value:
        value = self.disjunction()
        self._expect(",")
        repeat = bool(self._take("REPEAT"))
        filler = 0.0 if repeat else self.disjunction()
        self._expect(")")
        if isinstance(value, float):
            raise InvalidExpression("FILL takes a time series")
        filled = [self._filled(one, filler, repeat) for one in _as_array(value)]
        return filled[0] if isinstance(value, Mapping) else filled

    def _filled(self, series: Series, filler: Value, repeat: bool) -> Series:
        result: dict[datetime, float] = {}
        last: float | None = None
        for moment in self.times:
            value = series.get(moment)
            if value is None:
                value = last if repeat else _at(filler, moment)
            if value is not None:
                result[moment] = last = value
        return result

    def _list(self, close: str) -> list[Value]:
        values = [self.disjunction()]
        while self._take(","):
            values.append(self.disjunction())
        self._expect(close)
        return values

    def _take(self, *wanted: str) -> str | None:
        if self.position < len(self.tokens) and self.tokens[self.position] in wanted:
            self.position += 1
            return self.tokens[self.position - 1]
        return None

    def _next(self) -> str:
        if self.position == len(self.tokens):
            raise InvalidExpression("the expression ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def _expect(self, token: str) -> None:
        if self._take(token) is None:
            raise InvalidExpression(f"{token!r} is missing")


def _as_array(value: Value) -> Sequence[Series]:
    if isinstance(value, float):
        raise InvalidExpression("a time series is needed, not a number")
    return [value] if isinstance(value, Mapping) else value


def _at(value: Value, moment: datetime) -> float | None:
    if isinstance(value, float):
        return value
    if isinstance(value, Mapping):
        return value.get(moment)
    raise InvalidExpression("an array of time series is not allowed here")


def _combine(one: Value, other: Value, do: Callable[[float, float], float]) -> Value:
    """Apply `do` to each pair: number with number, or point by point."""
    if isinstance(one, float) and isinstance(other, float):
        result = _apply(do, one, other)
        if result is None:
            raise InvalidExpression("division by zero")
        return result
    # An array with anything else: member by member.
    for array, swap in ((one, False), (other, True)):
        if not isinstance(array, float | Mapping):
            single = one if swap else other
            pairs = [(single, each) if swap else (each, single) for each in array]
            return [_pointwise(a, b, do) for a, b in pairs]
    return _pointwise(one, other, do)


def _pointwise(one: Value, other: Value, do: Callable[[float, float], float]) -> Series:
    result = {}
    for moment in _as_array(one if isinstance(one, Mapping) else other)[0]:
        a, b = _at(one, moment), _at(other, moment)
        value = _apply(do, a, b) if a is not None and b is not None else None
        if value is not None:
            result[moment] = value
    return result


def _apply(do: Callable[[float, float], float], a: float, b: float) -> float | None:
    try:
        return float(do(a, b))
    except ZeroDivisionError:
        return None


def _choose(condition: Value, true: Value, false: Value, times: Sequence[datetime]) -> Value:
    if isinstance(condition, float):
        return true if condition else false
    result = {}
    for moment in times:
        decides = _at(condition, moment)
        if decides is None:
            continue
        value = _at(true if decides else false, moment)
        if value is not None:
            result[moment] = value
    return result


def _aggregate(do: Callable[[Sequence[float]], float], value: Value) -> Value:
    """Of an array: a series, point by point over the members that have one. Of a series: a number.

    That a member without data at a moment is left out, not missing in the result: [unverified].
    """
    if isinstance(value, float):
        return value
    if isinstance(value, Mapping):
        return float(do(list(value.values()))) if value else {}
    moments = sorted({moment for series in value for moment in series})
    return {m: float(do([series[m] for series in value if m in series])) for m in moments}
