"""`sageops report`: a release's report, as it lies in the bucket of reports."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from botocore.exceptions import ClientError
from sageops.adapters.trouble import code_of
from sageops.links import report_key
from sageops.wishes import NotThere, parse

from cli.hub import Hub, Unreachable

__all__ = ["Fetched", "fetch"]


@dataclass(frozen=True)
class Fetched:
    html: bytes
    json: bytes
    written_at: datetime


def fetch(hub: Hub, release: str, anew: bool) -> Fetched:
    """The report; where there is none, or `anew`, the report function writes it first.

    Raises `NotThere`, `Unreachable`.
    """
    group, version = parse(release)
    found = None if anew else _read(hub, group, version)
    if found is None:
        _write(hub, group, version)
        found = _read(hub, group, version)
    if found is None:
        raise Unreachable(f"The report of {release} was written and is not there: try again.")
    return found


def _read(hub: Hub, group: str, version: int) -> Fetched | None:
    s3, bucket = hub.client("s3"), hub.output("ReportBucketName")
    try:
        page = s3.get_object(Bucket=bucket, Key=report_key(group, version, "html"))
        figures = s3.get_object(Bucket=bucket, Key=report_key(group, version, "json"))
    except ClientError as error:
        if code_of(error) in ("NoSuchKey", "404"):
            return None
        raise
    return Fetched(page["Body"].read(), figures["Body"].read(), page["LastModified"])


def _write(hub: Hub, group: str, version: int) -> None:
    function = hub.output("ReportFunctionName")
    asked = msgspec.json.encode({"group": group, "version": version})
    answer = hub.client("lambda").invoke(FunctionName=function, Payload=asked)
    if "FunctionError" in answer:
        raise Unreachable(f"The function {function} failed; its log says why.")
    found: dict[str, Any] = msgspec.json.decode(answer["Payload"].read())
    if "problem" in found:
        raise NotThere(found["problem"])
