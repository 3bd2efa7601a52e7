"""S3 where moto falls short of it in copies: their precondition, and the SHA-256 of copied parts.

Documentation: S3 API reference, CopyObject and UploadPartCopy (`x-amz-copy-source-if-match`,
CopyPartResult), ListParts; user guide, "Checking object integrity". moto knows the sum of a whole
upload, made of its parts', but not those of the parts; forgets in HeadObject that it is made of
parts (`<sum>-<parts>`); and copies whatever the source is by now.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, unquote, urlsplit

from moto.s3.exceptions import PreconditionFailed
from moto.s3.responses import S3Response

__all__ = ["install"]

_IF_MATCH = "x-amz-copy-source-if-match"


def install(stack: ExitStack) -> None:
    """Until the stack is closed, moto's S3 does so."""
    for name in ("copy_object", "upload_part_copy"):
        original = getattr(S3Response, name)
        stack.enter_context(patch.object(S3Response, name, _if_it_matches(original)))
    for name in ("upload_part_copy", "list_parts"):
        original = getattr(S3Response, name)
        stack.enter_context(patch.object(S3Response, name, _with_sums(original)))
    head = S3Response.head_object
    stack.enter_context(patch.object(S3Response, "head_object", _with_parts(head)))


def _if_it_matches(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def copied(response: Any) -> Any:
        wanted = response.headers.get(_IF_MATCH)
        held = _etag_of_source(response)
        if None not in (wanted, held) and wanted.strip('"') != held:
            raise PreconditionFailed(failed_condition=_IF_MATCH)
        return original(response)

    return copied


def _etag_of_source(response: Any) -> str | None:
    source = response.headers["x-amz-copy-source"]
    url = urlsplit(source.decode() if isinstance(source, bytes) else source)
    bucket, key = unquote(url.path).lstrip("/").split("/", 1)
    version = parse_qs(url.query).get("versionId", [None])[0]
    held = response.backend.get_object(bucket, key, version_id=version)
    return held and str(held.etag).strip('"')


def _with_sums(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The answer with a `ChecksumSHA256` in front of each `ETag`, where the upload wants sums."""

    def answered(response: Any) -> Any:
        status, headers, body = original(response)
        upload = response._get_param("uploadId")
        multipart = response.backend.get_bucket(response.bucket_name).multiparts.get(upload)
        if multipart is None or multipart.metadata.get("x-amz-checksum-algorithm") != "SHA256":
            return status, headers, body
        one = response._get_int_param("partNumber")
        text = body.decode() if isinstance(body, bytes) else body
        numbers = iter([one] if one else map(int, re.findall(r"<PartNumber>(\d+)<", text)))

        def summed(tag: re.Match[str]) -> str:
            digest = hashlib.sha256(multipart.parts[next(numbers)].value).digest()
            return f"<ChecksumSHA256>{base64.b64encode(digest).decode()}</ChecksumSHA256>{tag[0]}"

        text = re.sub("<ETag>", summed, text)
        return status, {**headers, "content-length": str(len(text))}, text

    return answered


def _with_parts(original: Callable[..., Any]) -> Callable[..., Any]:
    """The answer with the number of parts behind a sum that is made of their sums."""

    def answered(response: Any, bucket: str, query: Any, key: str, headers: Any) -> Any:
        status, given, body = original(response, bucket, query, key, headers)
        version = query.get("versionId", [None])[0]
        held = response.backend.head_object(bucket, key, version) if status == 200 else None
        if held is not None and held.checksum_type == "COMPOSITE":
            name = f"x-amz-checksum-{held.checksum_algorithm.lower()}"
            if name in given:
                given[name] = f"{held.checksum_value}-{held.checksum_parts}"
                given["x-amz-checksum-type"] = "COMPOSITE"
        return status, given, body

    return answered
