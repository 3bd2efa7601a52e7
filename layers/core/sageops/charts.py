"""Line charts as inline SVG: no script, nothing fetched, every text escaped.

Colours are CSS variables, so that one drawing serves both colour schemes: `LIGHT` and `DARK` are
their values, `STYLE` the rules that use them. A place that knows no variables gets `flat`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Literal

from msgspec import Struct

__all__ = ["DARK", "LIGHT", "STYLE", "Line", "Span", "chart", "flat", "gantt", "palette"]

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "card": "#f6f8fa",
    "ink": "#16191f",
    "quiet": "#545b64",
    "rule": "#d5dbdb",
    "link": "#0b5cad",
    "control": "#2468a8",
    "canary": "#b3470b",
    "limit": "#8d1d1d",
    "good": "#1b6e3c",
    "bad": "#b3261e",
    "wait": "#8a5a00",
    "button": "#0b5cad",
    "on-button": "#ffffff",
}
DARK: Mapping[str, str] = {
    "paper": "#16191f",
    "card": "#1f242c",
    "ink": "#eaeded",
    "quiet": "#a9b4bf",
    "rule": "#3b444f",
    "link": "#7cc0ff",
    "control": "#7cb5f0",
    "canary": "#f6a668",
    "limit": "#ff9a94",
    "good": "#6fd39a",
    "bad": "#ff9a94",
    "wait": "#f3c969",
    "button": "#7cc0ff",
    "on-button": "#0d1117",
}
STYLE = """
.chart text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
@media (max-width: 34rem) { .chart.wide text { font-size: 18px; } }
.chart .axis { stroke: var(--rule); stroke-width: 1; fill: none; }
.chart polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart .control { stroke: var(--control); } .chart .canary { stroke: var(--canary); }
.chart .limit { stroke: var(--limit); stroke-dasharray: 5 4; }
.chart polygon { stroke: none; opacity: .16; }
.chart polygon.control { fill: var(--control); } .chart polygon.canary { fill: var(--canary); }
.chart circle.control { fill: var(--control); } .chart circle.canary { fill: var(--canary); }
.chart .name-control { fill: var(--control); font-weight: 600; }
.chart .name-canary { fill: var(--canary); font-weight: 600; }
.chart .name-limit { fill: var(--limit); font-weight: 600; }
.chart .preparing { fill: var(--rule); } .chart .waiting { fill: var(--wait); }
.chart .rolling { fill: var(--control); } .chart .baking { fill: var(--good); }
.chart .back { fill: var(--bad); }
"""

_Scale = Callable[[datetime], float]
_Height = Callable[[float], float]
Kind = Literal["control", "canary", "limit"]

# What is less is drawn as nothing.
_SMALLEST = 1e-9
_WIDTH, _HEIGHT = 400, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 26, 24


class Line(Struct, frozen=True):
    """A named line; None breaks it. `band` is its interval, low and high, at the same times."""

    name: str
    kind: Kind
    points: tuple[tuple[datetime, float | None], ...]
    band: tuple[tuple[datetime, float, float], ...] = ()


class Span(Struct, frozen=True):
    """A stretch of time on one row of a `gantt`."""

    row: str
    kind: Literal["preparing", "waiting", "rolling", "baking", "back"]
    name: str
    begin: datetime
    end: datetime


def palette(colours: Mapping[str, str]) -> str:
    """The variables' declarations."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


def flat(style: str, colours: Mapping[str, str]) -> str:
    """The style with the colours themselves in place of variables."""
    return re.sub(r"var\(--([a-z-]+)\)", lambda found: colours[found[1]], style)


def chart(title: str, lines: Sequence[Line], unit: str = "", top: float | None = None) -> str:
    """Lines over time from 0 up. `top` is the least upper end of the scale."""
    drawn = [line for line in lines if any(value is not None for _, value in line.points)]
    times = [at for line in drawn for at, _ in line.points]
    if not times:
        return f'<p class="quiet">{escape(title)}: no figures.</p>'
    begin, end = min(times), max(times)
    end = max(end, begin + timedelta(minutes=1))
    values = [value for line in drawn for _, value in line.points if value is not None]
    highest = _nice(max([*values, top or 0.0]) or 1.0)

    def x(at: datetime) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((at - begin) / (end - begin))

    def y(value: float) -> float:
        share = min(max(value / highest, 0.0), 1.0)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    parts = [_axes(highest, unit, begin, end)]
    for line in drawn:
        if line.band:
            upper = [f"{x(at):.1f},{y(high):.1f}" for at, _, high in line.band]
            lower = [f"{x(at):.1f},{y(low):.1f}" for at, low, _ in reversed(line.band)]
            parts.append(f'<polygon class="{line.kind}" points="{" ".join(upper + lower)}"/>')
        parts.extend(_stroke(line, x, y))
    parts.append(_legend(drawn))
    return _svg(title, _described(drawn, unit), "".join(parts), _HEIGHT)


def gantt(title: str, spans: Sequence[Span]) -> str:
    """Rows of coloured stretches over one axis of time."""
    if not spans:
        return ""
    begin, end = min(each.begin for each in spans), max(each.end for each in spans)
    end = max(end, begin + timedelta(minutes=1))
    rows = list(dict.fromkeys(each.row for each in spans))
    # Room for names in the larger letters that a narrow page gets.
    left, width, step = 124, 720, 26
    bottom = 8 + step * len(rows)

    def x(at: datetime) -> float:
        return left + (width - left - 8) * ((at - begin) / (end - begin))

    parts = []
    for number, row in enumerate(rows):
        top = 6 + step * number
        parts.append(f'<text x="0" y="{top + 13}">{escape(_short(row, 13))}</text>')
        for each in (span for span in spans if span.row == row):
            wide = max(x(each.end) - x(each.begin), 1.5)
            said = f"{row}: {each.name}, {each.begin:%H:%M} to {each.end:%H:%M}"
            parts.append(
                f'<rect class="{each.kind}" x="{x(each.begin):.1f}" y="{top}" '
                f'width="{wide:.1f}" height="18" rx="2"><title>{escape(said)}</title></rect>'
            )
    parts.append(f'<path class="axis" d="M{left} {bottom}H{width - 8}"/>')
    parts.extend(_ticks(begin, end, x, bottom + 15))
    said = "; ".join(
        f"{each.row} {each.name} {each.begin:%H:%M} to {each.end:%H:%M}" for each in spans
    )
    return _svg(title, said, "".join(parts), bottom + 20, width)


def _svg(title: str, description: str, inside: str, height: float, width: float = _WIDTH) -> str:
    label = escape(f"{title}. {description}", quote=True)
    kind = "chart" if width == _WIDTH else "chart wide"
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f"{inside}</svg>"
    )


def _axes(highest: float, unit: str, begin: datetime, end: datetime) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for part in range(5):
        value = highest * part / 4
        at = bottom - (bottom - _TOP) * part / 4
        parts.append(f'<path class="axis" d="M{_LEFT} {at:.1f}H{right}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:.3g}{unit}</text>'
        )

    def x(at: datetime) -> float:
        return _LEFT + (right - _LEFT) * ((at - begin) / (end - begin))

    return "".join([*parts, *_ticks(begin, end, x, _HEIGHT - 6)])


def _ticks(begin: datetime, end: datetime, x: _Scale, y: float) -> list[str]:
    form = "%H:%M" if end - begin < timedelta(days=2) else "%d %b"
    parts = []
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = begin + (end - begin) * part
        parts.append(f'<text x="{x(at):.1f}" y="{y}" text-anchor="{anchor}">{at:{form}}</text>')
    return parts


def _stroke(line: Line, x: _Scale, y: _Height) -> list[str]:
    """The unbroken pieces of a line; a piece of one point is a dot."""
    pieces: list[list[str]] = [[]]
    for at, value in line.points:
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{x(at):.1f},{y(value):.1f}")
    drawn = []
    for piece in pieces:
        if len(piece) == 1:
            across, down = piece[0].split(",")
            drawn.append(f'<circle class="{line.kind}" cx="{across}" cy="{down}" r="2.5"/>')
        elif piece:
            drawn.append(f'<polyline class="{line.kind}" points="{" ".join(piece)}"/>')
    return drawn


def _legend(lines: Sequence[Line]) -> str:
    parts = (
        f'<tspan class="name-{line.kind}" dx="{10 if number else 0}">'
        f"{escape(_short(line.name, 30))}</tspan>"
        for number, line in enumerate(lines)
    )
    return f'<text x="{_LEFT}" y="14">{"".join(parts)}</text>'


def _described(lines: Sequence[Line], unit: str) -> str:
    ends = []
    for line in lines:
        values = [value for _, value in line.points if value is not None]
        ends.append(f"{line.name}: {values[-1]:.3g}{unit} at the end, at most {max(values):.3g}")
    return "; ".join(ends)


def _nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten."""
    if value < _SMALLEST:
        return 1.0
    power = 10.0 ** len(f"{int(value)}") / 10 if value >= 1 else 1.0
    while power > value:
        power /= 10
    return next(step * power for step in (1, 2, 4, 5, 8, 10, 20) if step * power >= value * 0.999)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
