"""The List operations: filter, sort, page."""

from collections.abc import Iterable

from local.simulator.paging import cut
from local.simulator.site import Document

__all__ = ["page"]


def page(kind: str, result: str, summaries: Iterable[Document], parameters: Document) -> Document:
    """One page of `summaries` under `result`, by the filters that the List operations share.

    `kind` is the prefix of the summaries' `...Name` and `...Status` (`Endpoint`). The default
    order is by `CreationTime`, descending. Raises `ServiceError` for a token it did not give.
    """
    chosen = [summary for summary in summaries if _wanted(kind, summary, parameters)]
    sort_by = parameters.get("SortBy", "CreationTime")
    key = sort_by if sort_by == "CreationTime" else f"{kind}{sort_by}"
    descending = parameters.get("SortOrder", "Descending") == "Descending"
    chosen.sort(key=lambda summary: (summary[key], summary[f"{kind}Name"]), reverse=descending)
    return cut(result, chosen, parameters)


def _wanted(kind: str, summary: Document, parameters: Document) -> bool:
    for moment in ("CreationTime", "LastModifiedTime"):
        before, after = parameters.get(f"{moment}Before"), parameters.get(f"{moment}After")
        if before is not None and not summary[moment] < before:
            return False
        if after is not None and not summary[moment] >= after:
            return False
    status = parameters.get("StatusEquals")
    name_contains = parameters.get("NameContains", "")
    return name_contains in summary[f"{kind}Name"] and status in (
        None,
        summary.get(f"{kind}Status"),
    )
