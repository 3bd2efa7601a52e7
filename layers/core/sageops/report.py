"""A release's report: everything that is known of it, as one HTML file and as JSON.

The page stands alone: no script, nothing fetched, readable as a mail's attachment, in both colour
schemes and on a phone. Whatever people, models or services said is text in it, never markup.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html import escape

from msgspec import Struct

from sageops.charts import DARK, LIGHT, STYLE, Line, Span, chart, gantt, palette
from sageops.comparison import Compared, history, judged_by, not_worse, share, verdict
from sageops.conditions import phase, reason
from sageops.evidence import Minute, confidence_interval
from sageops.links import model_version
from sageops.messages import ENDINGS, headline
from sageops.model import Entry, Phase, Release, ReleaseSpec, StageRun
from sageops.policy import Evidence, Policy
from sageops.watch import criteria

__all__ = ["Pushed", "Report", "about", "lead_time", "page", "report"]

# So many points a chart has at most; the JSON has every minute.
_POINTS = 120
# Smoke requests alone are no curve.
_LEAST_MINUTES = 3
_INTERVAL_ALPHA = 0.05


class Pushed(Struct, frozen=True):
    """The policy that a release was admitted with: what it says, the file, who pushed it."""

    policy: Policy
    text: str
    by: str


class Report(Struct, frozen=True):
    """What the page shows and `report.json` holds. `log` is what is about the release; `pushed`
    is None where its policy version is gone from the table."""

    written_at: datetime
    region: str
    phase: Phase
    why: str
    release: Release
    wishes: ReleaseSpec
    log: tuple[Entry, ...]
    comparisons: tuple[Compared, ...]
    pushed: Pushed | None = None


def report(  # noqa: PLR0913 - a report is made of that many things
    release: Release,
    wishes: ReleaseSpec,
    log: Iterable[Entry],
    comparisons: tuple[Compared, ...],
    pushed: Pushed | None,
    *,
    region: str,
    now: datetime,
) -> Report:
    """The report of a release. `log` is its group's, `region` the hub's, for the links."""
    return Report(
        now,
        region,
        phase(release.conditions),
        reason(release.conditions),
        release,
        wishes,
        about(release, log),
        comparisons,
        pushed,
    )


def lead_time(found: Report) -> timedelta | None:
    """From the approval in the registry until it was live in its last stage; None before that."""
    live = next((entry.at for entry in found.log if entry.what == "Live"), None)
    approved = found.release.approved_at
    return live - approved if live is not None and approved is not None else None


def about(release: Release, log: Iterable[Entry]) -> tuple[Entry, ...]:
    """Of a group's log, what is about the release."""
    return tuple(entry for entry in log if entry.version == release.version)


def page(found: Report) -> str:
    """The whole HTML file."""
    name = escape(found.release.name)
    sections = (
        _summary(found),
        _section("How it went", _timeline(found)),
        *(_stage(found, each) for each in found.comparisons),
        _section("Evaluation before approval", _metrics(found.release)),
        _section("The bytes", _bytes(found.release)),
        _section("People", _people(found)),
        _section("Every log entry", _log(found.log)),
        _section(f"Policy, version {found.release.policy_version}", _policy(found)),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        '<meta name="color-scheme" content="light dark">'
        f"<title>{name}: {escape(found.phase)}</title><style>{_CSS}{STYLE}</style></head>"
        f"<body><main>{''.join(sections)}</main>"
        f"<footer>Written by SageOps, {_moment(found.written_at)}. The same figures, every "
        "minute of them, are in <code>report.json</code> beside this file.</footer></body></html>"
    )


_CSS = (
    f":root {{ {palette(LIGHT)} }}"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {palette(DARK)} }} }}"
    """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1rem; }
footer { color: var(--quiet); font-size: .875rem; padding: 1rem 1rem 2rem; }
header { border-bottom: 1px solid var(--rule); padding: 1.5rem 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
a { color: var(--link); }
.quiet { color: var(--quiet); }
.phase { display: inline-block; border: 1px solid; border-radius: 1rem; padding: .1rem .7rem;
  font-size: .95rem; font-weight: 600; vertical-align: middle; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .wait { color: var(--wait); }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: .5rem;
  padding: .7rem; min-width: 0; }
section > figure { margin-bottom: .8rem; }
figcaption { font-size: .9rem; font-weight: 600; }
figcaption span { display: block; font-weight: 400; color: var(--quiet); }
svg { display: block; width: 100%; height: auto; }
.key { font-size: .85rem; color: var(--quiet); }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin: 0 .3em 0 .8em; }
.key .preparing { background: var(--rule); } .key .waiting { background: var(--wait); }
.key .rolling { background: var(--control); } .key .baking { background: var(--good); }
.key .back { background: var(--bad); }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .2rem 1rem;
  margin: .4rem 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
ol.log { list-style: none; margin: 0; padding: 0; }
ol.log li { border-top: 1px solid var(--rule); padding: .45rem 0; display: grid;
  grid-template-columns: 10rem 1fr; gap: 0 1rem; }
ol.log time { color: var(--quiet); font-variant-numeric: tabular-nums; white-space: nowrap; }
ol.log p { margin: 0; }
ol.log .told { font-weight: 600; }
code, pre { font: .875em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0; }
summary { cursor: pointer; }
@media (max-width: 34rem) {
  ol.log li { grid-template-columns: 1fr; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
}
@media print { body { font-size: 11pt; } figure, li { break-inside: avoid; } }
"""
)

_MOOD = {
    "Live": "good",
    "Superseded": "good",
    "RolledBack": "bad",
    "Failed": "bad",
    "AwaitingApproval": "wait",
    "Paused": "wait",
}


# ---------------------------------------------------------------- the parts


def _summary(found: Report) -> str:
    release = found.release
    mood = _MOOD.get(found.phase, "")
    link = escape(model_version(found.region, release.group, release.version), quote=True)
    return (
        f'<header><h1>{escape(release.name)} <span class="phase {mood}">{escape(found.phase)}'
        f"</span></h1><p>{escape(found.why)}</p>"
        f'<p class="quiet">Admitted {_moment(release.admitted_at)}, '
        f"{_spoken(_last_moment(found) - release.admitted_at)} in all. "
        f'<a href="{link}">This version in the registry</a></p></header>'
    )


def _last_moment(found: Report) -> datetime:
    return found.log[-1].at if found.log else found.written_at


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inside}</section>"


def _timeline(found: Report) -> str:
    drawn = gantt("How long each part took", tuple(spans(found.log)))
    key = "".join(f'<i class="{kind}"></i>{name}' for kind, name in _KINDS.items())
    picture = f'<figure>{drawn}<p class="key">{key}</p></figure>' if drawn else ""
    told = [entry for entry in found.log if entry.severity != "record"]
    return picture + _entries(told)


_KINDS = {
    "waiting": "waits for a person",
    "preparing": "prepared",
    "rolling": "rolled out",
    "baking": "checked and baked",
    "back": "taken back",
}
# What an entry begins in its stage.
_BEGINS = {
    "GateWaiting": "waiting",
    "GateApproved": "preparing",
    "StageBegun": "preparing",
    "CreationAsked": "rolling",
    "RolloutAsked": "rolling",
    "Deployed": "baking",
    "TakingBack": "back",
    "TakenBack": "back",
    "RollbackAsked": "back",
}


def spans(log: Iterable[Entry]) -> Iterator[Span]:
    """What the stages were busy with, from the log."""
    under_way: dict[str, Span] = {}
    last: datetime | None = None
    for entry in log:
        last = entry.at
        if entry.stage is None:
            continue
        begun = _BEGINS.get(entry.what)
        ended = entry.what in (*ENDINGS, "StageLive")
        before = under_way.get(entry.stage)
        if before is not None and (ended or (begun is not None and begun != before.kind)):
            yield _until(under_way.pop(entry.stage), entry.at)
        if begun is not None and entry.stage not in under_way:
            under_way[entry.stage] = Span(
                entry.stage,
                begun,  # type: ignore[arg-type]
                _KINDS[begun],
                entry.at,
                entry.at,
            )
    for each in under_way.values():
        yield _until(each, last or each.begin)


def _until(span: Span, end: datetime) -> Span:
    return Span(span.row, span.kind, span.name, span.begin, end)


def _stage(found: Report, compared: Compared) -> str:
    run = found.release.run(compared.stage)
    wanted = _evidence(found.pushed, compared)
    control = _against(compared)
    said = (
        f"<p>{escape(compared.canary_name.capitalize())} (<code>{escape(compared.canary.config)}"
        f"</code>) was compared {control}, from {_moment(compared.since)} to "
        f"{_moment(compared.until)}. {_judged(compared, wanted)}</p>"
    )
    last = compared is [each for each in found.comparisons if each.stage == compared.stage][-1]
    if last and run.stop is not None and run.stop.message not in found.why:
        said += f'<p class="bad">{escape(run.stop.message)}</p>'
    if compared.problem:
        said += f'<p class="wait">The figures could not be read: {escape(compared.problem)}</p>'
    drawn = "".join(_figures(compared, wanted))
    charts = f'<div class="charts">{drawn}</div>' if drawn else ""
    if not drawn and not compared.problem:
        said += '<p class="quiet">Too few minutes with requests to draw.</p>'
    gate = _steps(run) if last else ""
    return _section(f"Stage {compared.stage}{_manner(compared)}", said + gate + charts)


def _against(compared: Compared) -> str:
    if compared.control is None:
        return "with nothing: it is the first that this endpoint served"
    name = escape(compared.control_name)
    if compared.side_by_side:
        return f"against {name}, which stood beside it there, on the same minutes"
    return (
        f"against {name}, which it replaced (<code>{escape(compared.control.config)}</code>), "
        "on the same minutes"
    )


def _manner(compared: Compared) -> str:
    if compared.mirrored:
        return ": in the shadow"
    return f": beside {compared.control_name}" if compared.side_by_side else ""


def _evidence(pushed: Pushed | None, compared: Compared) -> Evidence | None:
    stages = pushed.policy.stages if pushed is not None else ()
    asked = (judged_by(compared, each) for each in stages if each.name == compared.stage)
    return next(asked, None)


def _judged(compared: Compared, wanted: Evidence | None) -> str:
    if compared.control is None:
        return "With nothing to compare with, alarms and smoke requests decided."
    if wanted is None:
        return "The policy asks for no evidence here: alarms and smoke requests decided."
    found = verdict(compared, wanted)
    return f"All its minutes together: <strong>{found.ruling}</strong>, {escape(found.message)}."


def _steps(run: StageRun) -> str:
    by = f" on the word of {escape(run.approved_by)}" if run.approved_by else ""
    return f'<p class="quiet">The stage\'s gate was opened{by}.</p>' if by else ""


def _figures(compared: Compared, wanted: Evidence | None) -> Iterator[str]:
    any_metric = next(iter(compared.minutes.values()), ())
    if len(any_metric) < _LEAST_MINUTES:
        return
    if any(minute.canary.requests or minute.control.requests for minute in any_metric):
        title = "Mirrored requests" if compared.mirrored else "Share of the traffic"
        done = "were copied to" if compared.mirrored else "were answered by"
        yield _figure(
            title,
            f"Of all requests, how many {done} {compared.canary_name}.",
            chart(title, [_share(compared, any_metric)], " %", top=100),
        )
    for name, minutes in compared.minutes.items():
        if any(minute.canary.bad or minute.control.bad for minute in minutes):
            yield _rates(compared, name, minutes)
    if wanted is not None and any_metric:
        yield _thresholds(compared, wanted)
    if any(each.canary is not None or each.control is not None for each in compared.latency):
        yield _figure(
            "Latency",
            "99th percentile of a minute, milliseconds.",
            chart("Latency, p99", _latency(compared), " ms"),
        )


def _figure(title: str, caption: str, drawn: str) -> str:
    return (
        f"<figure><figcaption>{escape(title)}<span>{escape(caption)}</span></figcaption>"
        f"{drawn}</figure>"
    )


def _share(compared: Compared, minutes: Sequence[Minute]) -> Line:
    return Line(
        compared.canary_name,
        "canary",
        tuple(
            (each[0].at, 100 * part)
            for each in _grouped(minutes)
            if (part := share(compared, _sum(each, "canary")[0], _sum(each, "control")[0]))
            is not None
        ),
    )


def _rates(compared: Compared, name: str, minutes: Sequence[Minute]) -> str:
    """Each arm's rate so far, with where it surely is."""
    lines = [_rate(compared.canary_name, "canary", minutes)]
    if compared.control is not None:
        lines.insert(0, _rate(compared.control_name, "control", minutes))
    caption = "Of all requests so far; shaded: where the true rate is, with 95 % at every moment."
    title = name[:1].upper() + name[1:]
    highest = max((value or 0.0 for line in lines for _, value in line.points), default=0.0)
    return _figure(title, caption, chart(title, lines, " %", top=2 * highest))


def _rate(name: str, arm: str, minutes: Sequence[Minute]) -> Line:
    points: list[tuple[datetime, float | None]] = []
    band = []
    requests = bad = 0
    for group in _grouped(minutes):
        more, worse = _sum(group, arm)
        requests, bad, at = requests + more, bad + worse, group[-1].at
        if not requests:
            continue
        around = confidence_interval(bad, requests, _INTERVAL_ALPHA)
        points.append((at, 100 * bad / requests))
        band.append((at, 100 * around.low, 100 * around.high))
    kind = "canary" if arm == "canary" else "control"
    return Line(name, kind, tuple(points), tuple(band))  # type: ignore[arg-type]


def _thresholds(compared: Compared, wanted: Evidence) -> str:
    looks = history(compared, wanted)
    decides = criteria(wanted).threshold
    worse = tuple((at, max(each.log_evidence, 0.0)) for at, each in looks)
    fine = tuple((at, not_worse(each)) for at, each in looks)
    limit = tuple((at, decides) for at, _ in looks)
    lines = (
        Line("worse", "canary", worse),
        Line("not worse", "control", fine),
        Line("decides", "limit", limit),
    )
    caption = (
        "Log evidence at each look. 'Worse' at the dashed line takes it back; "
        f"the chance that it ever gets there by bad luck is at most {100 * wanted.alpha:g} %."
    )
    return _figure(
        "Evidence", caption, chart("Evidence against its threshold", lines, top=1.2 * decides)
    )


def _latency(compared: Compared) -> list[Line]:
    lines = [
        Line(
            compared.canary_name,
            "canary",
            tuple((each.at, each.canary) for each in compared.latency),
        )
    ]
    if compared.control is not None:
        points = tuple((each.at, each.control) for each in compared.latency)
        lines.insert(0, Line(compared.control_name, "control", points))
    return lines


def _grouped(minutes: Sequence[Minute]) -> list[Sequence[Minute]]:
    every = max(1, -(-len(minutes) // _POINTS))
    return [minutes[begin : begin + every] for begin in range(0, len(minutes), every)]


def _sum(minutes: Iterable[Minute], arm: str) -> tuple[int, int]:
    counts = [minute.canary if arm == "canary" else minute.control for minute in minutes]
    return sum(each.requests for each in counts), sum(each.bad for each in counts)


def _metrics(release: Release) -> str:
    if not release.detail.metrics:
        return '<p class="quiet">The package names no figures.</p>'
    return _pairs((metric.name, f"{metric.value:.4g}") for metric in release.detail.metrics)


def _bytes(release: Release) -> str:
    artifact = release.artifact
    pairs = [("Image", release.detail.image)]
    if artifact is None:
        pairs.append(("Artefact", f"{release.detail.model_data_url} (never pinned)"))
    else:
        pairs += [
            ("Artefact", artifact.url),
            ("SHA-256", artifact.sha256),
            ("Size", f"{artifact.size:,} bytes"),
            ("ETag", artifact.etag),
        ]
    return _pairs([*pairs, ("Package", release.package_arn)])


def _people(found: Report) -> str:
    release, wishes = found.release, found.wishes
    said = [("Last changed the package", release.detail.modified_by)]
    said += [
        (f"Approved {stage}", _word(word.by, word.at, word.why))
        for stage, word in wishes.approvals.items()
    ]
    for name, word in (
        ("Paused", wishes.paused),
        ("Resumed", wishes.resumed),
        ("Aborted", wishes.aborted),
    ):
        if word is not None:
            said.append((name, _word(word.by, word.at, word.why)))
    return _pairs(
        [*said, ("Pushed the policy", found.pushed.by if found.pushed is not None else "unknown")]
    )


def _word(by: str, at: datetime, why: str) -> str:
    return f"{by}, {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" + (f": {why}" if why else "")


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in pairs)}</dl>"


def _log(log: Sequence[Entry]) -> str:
    return f"<details><summary>{len(log)} entries</summary>{_entries(log, whole=True)}</details>"


def _entries(log: Sequence[Entry], whole: bool = False) -> str:
    return f'<ol class="log">{"".join(_entry(entry, whole) for entry in log)}</ol>'


_MOODS = {"alert": "bad", "action": "wait", "info": "", "record": ""}


def _entry(entry: Entry, whole: bool) -> str:
    where = f" in {entry.stage}" if entry.stage else ""
    title = f"{entry.what}{where}" if whole else f"{_capital(headline(entry.what))}{where}"
    facts = ", ".join(f"{name} {value}" for name, value in entry.facts.items())
    more = f'<p class="quiet">{escape(facts)}</p>' if facts and whole else ""
    by = f'<p class="quiet">by {escape(entry.by)}</p>' if entry.by != "sageops" else ""
    return (
        f"<li>{_moment(entry.at, whole)}<div>"
        f'<p class="told {_MOODS[entry.severity]}">{escape(title)}</p>'
        f"<p>{escape(entry.why)}</p>{more}{by}</div></li>"
    )


def _policy(found: Report) -> str:
    if found.pushed is None:
        return '<p class="quiet">This version of the policy is gone from the table.</p>'
    text = escape(found.pushed.text)
    return f"<details><summary>The file as it was pushed</summary><pre>{text}</pre></details>"


# ---------------------------------------------------------------- words


def _moment(at: datetime, seconds: bool = False) -> str:
    at = at.astimezone(UTC)
    shown = f"{at:%Y-%m-%d %H:%M:%S}" if seconds else f"{at:%Y-%m-%d %H:%M}"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{shown}</time>'


def _spoken(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours)
    return " ".join([*parts, f"{minutes} min"])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
