"""One page of a list that is already filtered and in order."""

from local.simulator.site import Document, ServiceError

__all__ = ["cut"]

_DEFAULT = 10  # as `ListEndpoints.MaxResults`; the pages of the other operations name no default


def cut(result: str, items: list[Document], parameters: Document) -> Document:
    """`MaxResults` of `items` under `result`, from where `NextToken` says.

    Raises `ServiceError` for a token that no answer gave.
    """
    token = parameters.get("NextToken", "0")
    if not token.isdigit():
        raise ServiceError("ValidationException", "The pagination token is invalid.")
    end = int(token) + parameters.get("MaxResults", _DEFAULT)
    answer: Document = {result: items[int(token) : end]}
    if end < len(items):
        answer["NextToken"] = str(end)
    return answer
