"""The board as rows and as HTML. CloudWatch strips scripts; what models say is shown as data."""

from collections.abc import Iterable
from html import escape

from msgspec import Struct

from sageops.conditions import phase, reason
from sageops.model import Head, Release
from sageops.moves import current_run

__all__ = ["Row", "page", "rows"]

# So many of a group's latest releases are shown.
_SHOWN = 5


class Row(Struct, frozen=True):
    """One release as a person sees it."""

    group: str
    version: int
    phase: str
    stage: str
    live_in: tuple[str, ...]
    why: str


def rows(group: str, head: Head | None, releases: Iterable[Release]) -> tuple[Row, ...]:
    """The group's latest releases, the newest first, and whatever is live however old."""
    live = {} if head is None else head.live
    newest = sorted(releases, key=lambda release: -release.version)
    living = {each.version for each in live.values()}
    shown = newest[:_SHOWN] + [each for each in newest[_SHOWN:] if each.version in living]
    return tuple(
        Row(
            group,
            release.version,
            phase(release.conditions),
            current_run(release).stage,
            tuple(stage for stage, each in live.items() if each.version == release.version),
            reason(release.conditions),
        )
        for release in shown
    )


def page(found: Iterable[Row]) -> str:
    """The rows as one HTML table."""
    body = "".join(
        f"<tr><td>{escape(row.group)}</td><td>{row.version}</td><td>{escape(row.phase)}</td>"
        f"<td>{escape(row.stage)}</td><td>{escape(', '.join(row.live_in)) or '–'}</td>"
        f"<td>{escape(row.why)}</td></tr>"
        for row in found
    )
    if not body:
        return "<p>No model group yet. Push a policy: <code>sageops policy push FILE</code></p>"
    head = "".join(
        f"<th>{name}</th>" for name in ("Group", "Version", "Phase", "Stage", "Live in", "Why")
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
