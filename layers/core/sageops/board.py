"""The board: what is live where, what moves and why it waits, as rows and as HTML.

The HTML obeys the rules of CloudWatch's custom widgets (user guide, 'Details about custom widgets',
'Security and JavaScript'): no script, no `<use>`; buttons are `<cwdb-action>` elements
that act on the element before them. What models and people say is shown as data.
"""

from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby
from typing import Literal

from msgspec import Struct, json

from sageops.charts import DARK, LIGHT, STYLE, flat
from sageops.comparison import Compared, not_worse, traffic_share
from sageops.conditions import find, phase, reason
from sageops.evidence import Verdict
from sageops.links import model_version, report
from sageops.model import Head, Live, Release
from sageops.moves import current_run, goes_back

__all__ = ["Button", "Moving", "Row", "Setting", "page", "rows"]

# So many of a group's latest releases are shown.
_SHOWN = 5

Theme = Literal["light", "dark"]
Action = Literal["approve", "pause", "promote", "resume", "abort"]


class Button(Struct, frozen=True):
    """Something that a person can do now with a release; `label` says it in full."""

    action: Action
    label: str
    confirmation: str
    stage: str = ""
    primary: bool = False


class Row(Struct, frozen=True):
    """One release as a person sees it."""

    group: str
    version: int
    phase: str
    stage: str
    live_in: tuple[str, ...]
    why: str
    step: str = ""
    buttons: tuple[Button, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.group}/{self.version}"


class Moving(Struct, frozen=True):
    """What is known of a rollout under way; `verdict` where the policy asks for evidence."""

    version: int
    compared: Compared
    verdict: Verdict | None = None


class Setting(Struct, frozen=True):
    """Where the board is shown. `act` is the ARN of the function that buttons call; without it
    there are none."""

    region: str
    theme: Theme = "light"
    act: str = ""
    reports: str = ""


def rows(group: str, head: Head | None, releases: Iterable[Release]) -> tuple[Row, ...]:
    """The group's latest releases, the newest first, and whatever is live however old."""
    live = {} if head is None else head.live
    newest = sorted(releases, key=lambda release: -release.version)
    living = {each.version for each in live.values()}
    shown = newest[:_SHOWN] + [each for each in newest[_SHOWN:] if each.version in living]
    return tuple(_row(group, release, live) for release in shown)


def _row(group: str, release: Release, live: Mapping[str, Live]) -> Row:
    run = current_run(release)
    return Row(
        group,
        release.version,
        phase(release.conditions),
        run.stage,
        tuple(stage for stage, each in live.items() if each.version == release.version),
        reason(release.conditions),
        run.step,
        tuple(_buttons(release)),
    )


def _buttons(release: Release) -> Iterable[Button]:
    """What a person can do with it now."""
    name, run = release.name, current_run(release)
    match phase(release.conditions):
        case "Live":
            question = f"Roll {name} back? {run.stage} goes back to what it served before."
            yield Button("abort", "Roll back", question)
            return
        case "RolledBack" | "Failed" | "Rejected" | "Superseded" | "Aborted":
            return
        case "AwaitingApproval" if run.step == "gate":
            question = f"Let {name} go to {run.stage}?"
            yield Button("approve", f"Approve {run.stage}", question, run.stage, primary=True)
        case _:
            pass
    if run.step in ("mirroring", "shifting", "baking"):
        question = f"Let {name} go on in {run.stage} without waiting any longer?"
        yield Button("promote", "Promote now", question, run.stage)
    paused, blocked = find(release.conditions, "Paused"), find(release.conditions, "Blocked")
    if goes_back(run):
        return
    if paused is not None and paused.status:
        yield Button("resume", "Resume", f"Let {name} go on?", primary=True)
    elif blocked is not None and blocked.status:
        yield Button("resume", "Try again now", f"Try {name} again at once?", primary=True)
    elif release.approved_at is not None:
        yield Button("pause", "Pause", f"Begin nothing new for {name}?")
    yield Button("abort", "Abort", f"Stop {name}? What it changed is taken back.")


# ---------------------------------------------------------------- HTML

_STYLE = """
.sageops { background: var(--paper); color: var(--ink); padding: .5rem .75rem 1rem;
  font: 14px/1.45 "Amazon Ember", system-ui, sans-serif; }
.sageops h2 { font-size: 16px; margin: 14px 0 2px; color: var(--ink); }
.sageops .stages { color: var(--quiet); margin: 0 0 8px; }
.sageops .stages b { color: var(--ink); }
.sageops .card { border: 1px solid var(--rule); border-left: 4px solid var(--rule);
  border-radius: 4px; background: var(--card); padding: 8px 12px; margin: 0 0 8px; }
.sageops .card.good { border-left-color: var(--good); }
.sageops .card.bad { border-left-color: var(--bad); }
.sageops .card.wait { border-left-color: var(--wait); }
.sageops .card.move { border-left-color: var(--control); }
.sageops .line { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: baseline; }
.sageops .line b { font-size: 15px; }
.sageops .word { font-weight: 600; }
.sageops .good .word { color: var(--good); } .sageops .bad .word { color: var(--bad); }
.sageops .wait .word { color: var(--wait); } .sageops .move .word { color: var(--control); }
.sageops .quiet { color: var(--quiet); }
.sageops p { margin: 2px 0; overflow-wrap: anywhere; }
.sageops a { color: var(--link); }
.sageops .acts { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
.sageops a.btn { display: inline-block; border: 1px solid var(--button); border-radius: 4px;
  color: var(--button); background: transparent; padding: 4px 12px; font-weight: 600;
  text-decoration: none; cursor: pointer; }
.sageops a.btn-primary { background: var(--button); color: var(--on-button); }
.sageops .bar { display: grid; grid-template-columns: 6.5rem minmax(4rem, 16rem) 1fr; gap: 2px 10px;
  align-items: start; margin: 2px 0; }
.sageops .bar svg { width: 100%; height: 10px; display: block; margin-top: 5px; }
@media (max-width: 34rem) {
  .sageops .bar { grid-template-columns: 5.5rem 1fr; }
  .sageops .bar span:last-child { grid-column: 1 / -1; }
}
"""
_MOODS = {
    "Live": "good",
    "RolledBack": "bad",
    "Failed": "bad",
    "AwaitingApproval": "wait",
    "Paused": "wait",
    "Progressing": "move",
}


def page(found: Iterable[Row], setting: Setting, moving: Mapping[str, Moving] | None = None) -> str:
    """The rows as HTML; `moving` by the release's name."""
    colours = DARK if setting.theme == "dark" else LIGHT
    # Whether CloudWatch keeps CSS variables is not documented: the colours stand there themselves.
    style = f"<style>{flat(_STYLE + STYLE, colours)}</style>"
    groups = "".join(
        _group(name, tuple(each), setting, moving or {})
        for name, each in groupby(found, lambda row: row.group)
    )
    nothing = "<p>No model group yet. Push a policy: <code>sageops policy push FILE</code></p>"
    body = flat(groups or nothing, colours)
    return f'{style}<div class="cwdb-no-default-styles sageops">{body}</div>'


def _group(
    name: str, found: tuple[Row, ...], setting: Setting, moving: Mapping[str, Moving]
) -> str:
    live = {stage: row.version for row in found for stage in row.live_in}
    serving = ", ".join(f"{escape(stage)} <b>{version}</b>" for stage, version in live.items())
    cards = "".join(_card(row, setting, moving.get(row.name)) for row in found)
    return f'<h2>{escape(name)}</h2><p class="stages">Live: {serving or "nothing yet"}</p>{cards}'


def _card(row: Row, setting: Setting, moving: Moving | None) -> str:
    live = f" · live in {escape(', '.join(row.live_in))}" if row.live_in else ""
    registry = model_version(setting.region, row.group, row.version)
    links = f'<a href="{_quoted(registry)}">registry</a>'
    if setting.reports and row.phase not in ("AwaitingApproval", "Progressing", "Paused"):
        address = report(setting.region, setting.reports, row.group, row.version)
        links += f' <a href="{_quoted(address)}">report</a>'
    return (
        f'<div class="card {_MOODS.get(row.phase, "")}"><div class="line"><b>{escape(row.name)}</b>'
        f'<span class="word">{escape(row.phase)}</span>'
        f'<span class="quiet">{escape(row.stage)}{_step(row)}{live}</span>{links}</div>'
        f"<p>{escape(row.why)}</p>{'' if moving is None else _moving(moving)}"
        f"{_acts(row, setting)}</div>"
    )


def _step(row: Row) -> str:
    return f", {escape(row.step)}" if row.phase in ("Progressing", "Paused") else ""


def _moving(moving: Moving) -> str:
    compared = moving.compared
    parts = []
    share = traffic_share(compared)
    if share is not None:
        name = "Mirrored" if compared.mirrored else "Traffic"
        said = f"{100 * share:.0f} % to {compared.canary_name}"
        parts.append(_bar(name, share, "canary", said))
    found = moving.verdict
    if found is not None and compared.control is not None:
        towards = max(found.log_evidence, 0.0) / found.threshold
        said = f"{found.ruling}: {found.message}"
        parts.append(_bar("Worse?", towards, "limit", said))
        if compared.side_by_side:
            fine = not_worse(found)
            said = f"evidence {fine:.1f}; it goes on at {found.threshold:.1f}"
            parts.append(_bar("No worse?", fine / found.threshold, "good", said))
    if compared.problem:
        parts.append(f'<p class="quiet">{escape(compared.problem)}</p>')
    return "".join(parts)


def _bar(name: str, share: float, colour: str, said: str) -> str:
    wide = 100 * min(max(share, 0.0), 1.0)
    label = _quoted(f"{name} {said}")
    return (
        f'<div class="bar"><span class="quiet">{escape(name)}</span>'
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<rect width="100" height="10" fill="var(--rule)"/>'
        f'<rect width="{wide:.1f}" height="10" fill="var(--{colour})"/></svg>'
        f"<span>{escape(said)}</span></div>"
    )


def _acts(row: Row, setting: Setting) -> str:
    if not setting.act or not row.buttons:
        return ""
    return f'<div class="acts">{"".join(_button(row, b, setting) for b in row.buttons)}</div>'


def _button(row: Row, button: Button, setting: Setting) -> str:
    parameters = {"action": button.action, "group": row.group, "version": row.version}
    if button.stage:
        parameters["stage"] = button.stage
    kind = "btn btn-primary" if button.primary else "btn"
    return (
        f'<a class="{kind}">{escape(button.label)}</a>'
        f'<cwdb-action action="call" display="popup" endpoint="{_quoted(setting.act)}" '
        f'confirmation="{_quoted(button.confirmation)}">'
        f"{escape(json.encode(parameters).decode(), quote=False)}</cwdb-action>"
    )


def _quoted(text: str) -> str:
    return escape(text, quote=True)
