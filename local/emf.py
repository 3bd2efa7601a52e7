"""CloudWatch's embedded metric format: metrics that functions print into their log.

Documentation: CloudWatch user guide, "Specification: Embedded metric format".
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["Observation", "observations"]


@dataclass(frozen=True)
class Observation:
    """The values of one metric under one set of dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    values: tuple[float, ...]
    when: datetime
    high_resolution: bool


def observations(log: str) -> Iterator[Observation]:
    """What CloudWatch extracts from a function's log; other lines are passed over."""
    for line in log.splitlines():
        document = _document(line)
        if document is None:
            continue
        when = datetime.fromtimestamp(document["_aws"]["Timestamp"] / 1000, UTC)
        for directive in document["_aws"]["CloudWatchMetrics"]:
            yield from _directive(document, directive, when)


def _document(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    metadata = document.get("_aws") if isinstance(document, dict) else None
    return document if isinstance(metadata, dict) and "CloudWatchMetrics" in metadata else None


def _directive(
    document: dict[str, Any], directive: dict[str, Any], when: datetime
) -> Iterator[Observation]:
    for names in directive["Dimensions"] or [[]]:
        dimensions = frozenset((name, str(document[name])) for name in names)
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            yield Observation(
                namespace=directive["Namespace"],
                name=metric["Name"],
                dimensions=dimensions,
                values=tuple(float(v) for v in (value if isinstance(value, list) else [value])),
                when=when,
                high_resolution=metric.get("StorageResolution") == 1,
            )
