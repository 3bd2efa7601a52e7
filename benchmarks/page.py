"""The measured figures: as plain text, as a page and as a picture."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from benchmarks.trials import (
    ALARM,
    CAPPED,
    CURVES,
    METHODS,
    MINUTES,
    SHIPPED,
    Cell,
    Results,
    requirements,
)


def table(cells: Mapping[str, Cell]) -> str:
    """Plain text: a method a line."""
    lines = [f"  {'':<46}{'rolled back':>12}{'minute':>8}{'harmed':>8}"]
    for name, cell in cells.items():
        minute, harmed = _number(cell.minute), _number(cell.harmed)
        lines.append(f"  {name:<46}{cell.rolled_back:>12.2%}{minute:>8}{harmed:>8}")
    return "\n".join(lines)


def text(results: Results) -> str:
    """The page, Markdown."""
    return "\n\n".join(map(_wrapped, _sections(results))) + "\n"


def _wrapped(section: str) -> str:
    """Prose at the other pages' width; tables, headings and code as they are."""
    if section.startswith(("|", "#", "!", "    ")):
        return section
    lines = section.splitlines()
    return "\n".join(
        textwrap.fill(
            line,
            110,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    )


def _sections(results: Results) -> Iterator[str]:
    yield "# Operating characteristics"
    yield (
        "What each way to judge a canary does on the same traffic: how often it rolls back, when, "
        "and how many bad requests the canary has served by then. This page is written by"
    )
    options = f"--runs {results.runs} --seed {results.seed} --write docs"
    yield f"    python benchmarks/canary.py {options}"
    yield (
        f"{results.runs:,} runs a cell, {MINUTES} minutes, 1000 requests a minute (Poisson), a "
        "tenth of them to the canary, 0.1 % errors in the control, where nothing else is said. "
        "'Ours' is the e-process of `evidence.py`; *capped* lets no minute add more than half of "
        "what decides; *as shipped* also leaves out the canary's first 3 minutes. The alarm is "
        "CloudWatch's, the five failed checks are Flagger's rule with 99 % success asked, "
        "Mann-Whitney is Kayenta's test at one-sided 1 % on the minutes so far, at each look from "
        "the fifth. The last look is one exact binomial test at 1 %, given the errors of both arms."
    )
    caption = "Rollbacks by error rate, and false rollbacks by scenario"
    yield f"![{caption}](operating-characteristics.svg)"
    yield "## A canary that is worse, by its error rate"
    yield (
        "Rolled back / median minute / median bad canary requests, of the runs rolled back. At "
        "0.1 % the canary is as good as the control: those rollbacks are *false*."
    )
    yield _methods_table(
        results, [name for name in results.cells if name.startswith("canary ")], full=True
    )
    yield "## A canary that is as good as the control: false rollbacks"
    yield _methods_table(results, [name for name, good in results.good.items() if good])
    yield (
        "Shared outage: 20 % errors in both arms in the minutes 20 to 22. Clustered: errors come "
        "in bursts of 4 in the mean, all in one minute and arm, as retries make them. Cold start: "
        "5 % errors in the canary's first 3 minutes. Ramp: 1, 5, 10, 25, 50 % of the traffic, 12 "
        "minutes each. No traffic: the canary gets none, and Flagger's rule takes no data as "
        "failure."
    )
    yield "## A worse canary, elsewhere"
    others = [
        name for name, good in results.good.items() if not good and not name.startswith("canary ")
    ]
    yield _methods_table(results, others, full=True)
    yield (
        "Minutes count from the rollout's start. In the late ones, the alarm's rollbacks before "
        "minute 31 are luck."
    )
    yield "## Against an alarm that is as careful"
    yield (
        "An alarm that gives a false rollback in a fifth of all hours is quick. Here its threshold "
        "is raised until, in the base conditions, it gives no more false rollbacks than ours "
        "(capped, alpha .01). Median bad canary requests over *all* runs; one that is not rolled "
        f"back serves them for all {MINUTES} minutes."
    )
    yield "\n".join(_rivals(results))
    yield "## Promote early"
    yield (
        "'Not m times worse', at alpha .01, capped, after the warm-up, within the hour. A canary "
        "as good as the control is promoted early; one m times worse is promoted *falsely*."
    )
    yield _markdown(
        ("m", "canary's share", "canary is", "promoted", "median minute"),
        (
            (
                f"{each.margin:g}",
                f"{100 * each.share:g} %",
                "as good" if each.ratio == 1 else f"{each.ratio:g} times worse",
                _percent(each.proven),
                _number(each.minute),
            )
            for each in results.promotions
        ),
    )
    yield "## What `power` says, and what is found"
    yield (
        "It names the smallest ratio that is found with 80 % power; here is how often that ratio "
        "really was found. It knows neither of the looks before the last, which find more, nor of "
        "the cap, which costs most in short bakes."
    )
    yield _markdown(
        ("requests a minute", "errors", "share", "bake", "smallest ratio", "found"),
        (
            (
                f"{each.traffic.requests_per_minute:g}",
                f"{100 * each.traffic.error_rate:g} %",
                f"{100 * each.plan.share:g} %",
                f"{each.plan.bake_minutes} min",
                "none" if each.ratio is None else f"{each.ratio:.2f}",
                _percent(each.found),
            )
            for each in results.powers
        ),
    )
    yield "## Where it loses"
    yield "\n".join(f"- {line}" for line in _losses(results))
    yield "## What is required of it"
    yield _markdown(
        ("required", "measured", ""),
        (
            (each.what, each.measured, "met" if each.met else "**missed**")
            for each in requirements(results)
        ),
    )
    yield "## Speed"
    took = ", ".join(
        f"{minutes:,} minutes {duration:.0f} ms"
        for minutes, duration in results.milliseconds.items()
    )
    yield (
        f"A look at 5 metrics, both questions, intervals and all, in pure Python, CPU time: "
        f"{took}. Half is reading 50,000 minutes and summing them up, the rest the evaluations "
        "for the minutes that might exceed the cap. `python -m benchmarks.judge` measures it "
        "again, against the formula written out minute by minute."
    )


def _methods_table(results: Results, names: list[str], full: bool = False) -> str:
    def cell(name: str, method: str) -> str:
        found = results.cells[name][method]
        if not full or found.minute is None:
            return _percent(found.rolled_back)
        minute, harmed = _number(found.minute), _number(found.harmed)
        return f"{_percent(found.rolled_back)} / {minute} / {harmed}"

    return _markdown(
        ("method", *names),
        ((method, *(cell(name, method) for name in names)) for method in METHODS),
    )


def _rivals(results: Results) -> Iterator[str]:
    rows = []
    for conditions, rival in results.rivals.items():
        alarm = f"alarm >{100 * rival.threshold:.1f} %, 2 of 3"
        for name, false, index in ((alarm, rival.false, 0), ("ours", rival.ours_false, 1)):
            costs = [f"{cells[index].harmed_of_all:g}" for cells in rival.cells.values()]
            rows.append((conditions, name, _percent(false), *costs))
    rates = next(iter(results.rivals.values())).cells
    yield _markdown(("errors", "method", "false", *(f"canary {rate}" for rate in rates)), rows)


def _losses(results: Results) -> Iterator[str]:
    def found(scenario: str, method: str) -> str:
        return _percent(results.cells[scenario][method].rolled_back)

    def cost(scenario: str, method: str) -> str:
        cell = results.cells[scenario][method]
        return f"{_number(cell.minute)} and {_number(cell.harmed)}"

    three, end = "canary 0.3 %", "one look at the end, exact"
    yield (
        f"**Little traffic, small regressions.** With 100 canary requests a minute, a canary three "
        f"times worse is found in {found(three, CAPPED)} of the hours ({found(three, SHIPPED)} as "
        f"shipped, {found(three, 'ours, alpha .05')} at alpha .05), against {found(three, end)} "
        f"for one exact look at the end: the price of being allowed to look every minute. The "
        f"alarm's {found(three, ALARM)} come with {found('canary 0.1 %', ALARM)} false rollbacks."
    )
    late, early = "late, 1 % from minute 31", "canary 1 %"
    yield (
        f"**Late regressions.** Good minutes count against what comes later: at 1 % from minute 31 "
        f"on, median minute and harmed requests are {cost(late, CAPPED)}, the alarm's "
        f"{cost(late, ALARM)}. From the start they are {cost(early, CAPPED)}. At 0.5 % it finds "
        f"{found('late, 0.5 % from minute 31', CAPPED)} within the half hour that is left."
    )
    burst = "clustered, canary 0.1 %"
    yield (
        f"**Errors that are not independent.** The guarantee assumes that errors within a minute "
        f"are independent given the requests. In bursts of 4, {found(burst, 'ours, alpha .01')} "
        f"of good canaries are rolled back without the cap and {found(burst, CAPPED)} with it: "
        f"the bound of 1 % does not hold there. And the cap costs detection: of clustered "
        f"canaries at 1 %, {found('clustered, canary 1 %', CAPPED)} are found within the hour, "
        f"{found('clustered, canary 1 %', 'ours, alpha .01')} without it. Larger bursts than "
        "these do more harm than this page shows."
    )
    yield (
        f"**Gross failures.** Capped, no single minute decides, so a canary at 5 % takes "
        f"{cost('canary 5 %', CAPPED)} instead of {cost('canary 5 %', 'ours, alpha .01')} "
        f"(median minute and harmed), and with the warm-up {cost('canary 5 %', SHIPPED)}. The "
        "blunt alarm beside the evidence is for those first minutes."
    )
    yield (
        "**Errors without a comparison.** A metric without one bad request in either arm can never "
        "be called 'not m times worse': only an absolute bound settles it, its objective or what "
        "is negligible. With all traffic on the canary there is nothing to compare with at all."
    )


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    head = tuple(head)
    return "\n".join([line(head), line("---" for _ in head), *map(line, rows)])


def _percent(share: float) -> str:
    """Two significant digits at the ends, where they matter."""
    return f"{100 * share:.2f} %" if share < 0.02 else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


# ---------------------------------------------------------------- the picture

_COLOURS = {ALARM: "#cf222e", CURVES[1]: "#bf8700", CURVES[2]: "#8250df", CAPPED: "#0969da"}
_WIDTH, _HEIGHT = 940, 430
_LEFT, _TOP, _SIDE, _BOTTOM = 60, 70, 380, 370
_STYLE = """
  <style>
    text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .page { fill: #ffffff; stroke: #d0d7de }
    .title { font-weight: 600 }
    .grid { stroke: #d0d7de; stroke-width: 1 }
    .end { text-anchor: end }
    .middle { text-anchor: middle }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #30363d }
      text { fill: #e6edf3 }
      .grid { stroke: #30363d }
    }
  </style>"""


def picture(results: Results) -> str:
    """SVG, two panels: the share rolled back by error rate; false rollbacks by scenario."""
    body = [*_power_panel(results), *_false_panel(results), *_legend()]
    inner = "\n  ".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-labelledby="title desc">\n'
        '  <title id="title">Rollbacks by error rate, and false rollbacks by scenario</title>\n'
        '  <desc id="desc">Left: ours rolls back almost never at the control\'s own error rate and '
        "almost always from five times that. Right: in a shared outage and when the control itself "
        "is at two per cent, the alarm and five failed checks roll back most good canaries; ours "
        f"next to none. The figures are in the page's tables.</desc>{_STYLE}\n"
        f'  <rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" rx="6"/>'
        f"\n  {inner}\n</svg>\n"
    )


def _power_panel(results: Results) -> Iterator[str]:
    def x(rate: float) -> float:
        return _LEFT + (_SIDE - _LEFT) * math.log(rate / 0.001) / math.log(50)

    yield _text(_LEFT, _TOP - 14, "Rolled back within the hour, by the canary's errors", "title")
    for tenths in range(0, 11, 2):
        y = _share_y(tenths / 10)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_SIDE}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(_LEFT - 8, y + 4, f"{10 * tenths} %", "end")
    for rate in (0.001, 0.003, 0.01, 0.05):
        at = x(rate)
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_BOTTOM}"/>'
        yield _text(at, _BOTTOM + 18, f"{100 * rate:g} %", "middle")
    yield _text((_LEFT + _SIDE) / 2, _BOTTOM + 38, "the control has 0.1 %", "middle")
    for name, points in results.curves.items():
        line = " ".join(f"{x(rate):.1f},{_share_y(share):.1f}" for rate, share in points)
        yield (
            f'<polyline points="{line}" fill="none" stroke="{_COLOURS[name]}" stroke-width="2.5"/>'
        )


def _share_y(share: float) -> float:
    return _BOTTOM - share * (_BOTTOM - _TOP)


def _false_panel(results: Results) -> Iterator[str]:
    left, right = 620, 900
    names = [name for name, good in results.good.items() if good]
    step = (_BOTTOM - _TOP) / len(names)
    yield _text(left - 160, _TOP - 14, "False rollbacks: the canary is as good", "title")
    for tenths in range(0, 11, 2):
        x = left + (right - left) * tenths / 10
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_BOTTOM}"/>'
        yield _text(x, _BOTTOM + 18, f"{10 * tenths} %", "middle")
    for row, name in enumerate(names):
        middle = _TOP + (row + 0.5) * step
        yield _text(left - 12, middle + 4, name, "end")
        for number, method in enumerate(CURVES):
            shown = SHIPPED if method == CAPPED and name == "cold start" else method
            x = left + (right - left) * results.cells[name][shown].rolled_back
            y = middle + (number - 1.5) * 6
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_COLOURS[method]}"/>'


def _legend() -> Iterator[str]:
    for number, (name, colour) in enumerate(_COLOURS.items()):
        x = 60 + 215 * number
        yield f'<circle cx="{x}" cy="26" r="5" fill="{colour}"/>'
        yield _text(x + 12, 30, name)
    yield _text(620, _BOTTOM + 38, "ours at the cold start: with its warm-up", "")


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    words = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{words}</text>'
