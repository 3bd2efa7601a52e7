"""Artefacts: which bytes a package is, and the target's own copy of them.

Up to 128 MiB an artefact is told by its SHA-256, and copied by one request. A larger one is told
by the SHA-256 of the SHA-256s of its parts of that size, and copied in those parts, several at
once: S3 computes the sums from the bytes that it writes, and nothing of that size passes through a
function. One call of `pin` or `copy` does a number of parts; the next goes on. (docs/decisions.md)

Sources: 'Checking object integrity in Amazon S3', 'Copying an object using multipart upload'.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from sageops.adapters.trouble import code_of, troubles
from sageops.errors import TroubleError
from sageops.model import Artifact, Copied, CopyArtifact, Trouble, Underway
from sageops.names import is_model_bucket, target_role

__all__ = ["copy", "pin", "read"]

_CHUNK = 1 << 20
# No request moves more, so that each ends within the clients' ten seconds, also between Regions.
# What is pinned is a sum of parts of this size, so it stays as it is.
_PART = 128 << 20
_MOST_PARTS = 10_000
# Parts that are copied at the same time, and in one call: four rounds of ten seconds at worst,
# which is the time that a step may take.
_AT_ONCE = 8
_IN_ONE_CALL = 32
# Where a large artefact is copied to for its sum; never finished, so there is never an object.
_PINS = "sageops-pins/"
_PRECONDITION = ("PreconditionFailed", "412")


def pin(s3: Any, url: str, account: str) -> Artifact | Underway:
    """The artefact's ETag, size and SHA-256: stated by S3 where it can, else computed.

    Raises `TroubleError`, `refused` when it does not lie in the hub's own model bucket, or has more
    parts than S3 takes.
    """
    bucket, key = _split(url, account)
    if not is_model_bucket(bucket, account):
        said = (
            f"{url} is not in the model bucket of account {account}: copy it there, and "
            "register the package again with that address."
        )
        raise TroubleError(Trouble("refused", account, "s3:GetObject", said, ""))
    fix = f"Put {url} back, or let the reconcile function's role read it."
    mine = {"Bucket": bucket, "ExpectedBucketOwner": account}
    with troubles(f"s3:GetObject of {url}", account, fix):
        head = s3.head_object(**mine, Key=key, ChecksumMode="ENABLED")
        etag, size = head["ETag"], head["ContentLength"]
        if size > _PART:
            return _pin_in_parts(s3, mine, Artifact(url, etag, size, ""), account)
        sha256 = _whole_sha256(head) or _read_sha256(s3, mine, key, etag)
    return Artifact(url, etag, size, sha256)


def copy(s3: Any, action: CopyArtifact) -> Copied | Underway:
    """Copy the pinned bytes into the target's bucket, under its key, and say their SHA-256.

    `s3` acts as the target's role. An object that is there already is not copied again, and a
    copy in parts goes on where it was. The bucket's default encryption chooses the key. Raises
    `TroubleError`, `refused` when the source changed since it was pinned.
    """
    artifact, account = action.artifact, action.errand.target.account
    there = _stated(s3, action)
    if there is not None:
        return Copied(there)
    bucket, key = _split(action.destination, account)
    mine = {"Bucket": bucket, "ExpectedBucketOwner": account}
    fix = (
        f"Deploy target.yaml in account {account}, and let its role "
        f"{target_role(action.errand.target)} read {artifact.url} (bucket and key policies of "
        "the hub)."
    )
    with troubles(f"s3:CopyObject to {action.destination}", account, fix):
        try:
            if artifact.size > _PART:
                return _copy_in_parts(s3, mine, key, artifact)
            answer = s3.copy_object(
                **mine,
                Key=key,
                CopySource=_source(artifact),
                CopySourceIfMatch=artifact.etag,
                ChecksumAlgorithm="SHA256",
                # Without it a source that has tags asks for two rights more.
                TaggingDirective="REPLACE",
            )
        except ClientError as error:
            if code_of(error) not in _PRECONDITION:
                raise
            said = f"{artifact.url} is not what was approved: it was overwritten since."
            raise TroubleError(Trouble("refused", account, "s3:CopyObject", said, "")) from error
    stated = _whole_sha256(answer.get("CopyObjectResult", {})) or _stated(s3, action)
    return Copied(stated or "unknown")


def read(s3: Any, url: str, account: str, most: int) -> bytes:
    """A small object's bytes. Raises `TroubleError`, `refused` when there are more than `most`."""
    bucket, key = _split(url, account)
    with troubles(f"s3:GetObject of {url}", account, "Let the hub's role read it."):
        answer = s3.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] > most:
            said = f"{url} has {answer['ContentLength']} bytes, more than {most}."
            raise TroubleError(Trouble("refused", account, "s3:GetObject", said, ""))
        body: bytes = answer["Body"].read()
    return body


# ---------------------------------------------------------------- sums


def _read_sha256(s3: Any, mine: dict[str, str], key: str, etag: str) -> str:
    body = s3.get_object(**mine, Key=key, IfMatch=etag)["Body"]
    digest = hashlib.sha256()
    for chunk in iter(lambda: body.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _stated(s3: Any, action: CopyArtifact) -> str | None:
    """What S3 says of the object in the place of the copy; None without one that can be told."""
    account, artifact = action.errand.target.account, action.artifact
    bucket, key = _split(action.destination, account)
    fix = f"Deploy target.yaml in account {account}."
    with troubles(f"s3:HeadObject of {action.destination}", account, fix):
        try:
            answer = s3.head_object(
                Bucket=bucket, Key=key, ExpectedBucketOwner=account, ChecksumMode="ENABLED"
            )
        except ClientError as error:
            if code_of(error) in ("404", "NotFound", "NoSuchKey"):
                return None
            raise
    if artifact.size > _PART:
        return _sha256_of_parts(answer, artifact.size)
    return _whole_sha256(answer)


def _whole_sha256(answer: dict[str, Any]) -> str | None:
    """The SHA-256 of the whole object in hexadecimal, where S3 states one (not one of parts)."""
    stated = answer.get("ChecksumSHA256", "")
    if not stated or "-" in stated or answer.get("ChecksumType", "FULL_OBJECT") == "COMPOSITE":
        return None
    return base64.b64decode(stated).hex()


def _sha256_of_parts(answer: dict[str, Any], size: int) -> str | None:
    """The same of an object of that size in parts of ours: S3 writes `<base64>-<parts>`."""
    stated, _, parts = answer.get("ChecksumSHA256", "").rpartition("-")
    if not stated or parts != str(_parts_of(size)) or answer.get("ContentLength") != size:
        return None
    return f"{base64.b64decode(stated).hex()}-{parts}"


# ---------------------------------------------------------------- in parts


def _pin_in_parts(
    s3: Any, mine: dict[str, str], artifact: Artifact, account: str
) -> Artifact | Underway:
    """Let S3 copy it in parts, take their sums, and throw the parts away."""
    if _parts_of(artifact.size) > _MOST_PARTS:
        said = (
            f"{artifact.url} has {artifact.size} bytes, and an artefact may have "
            f"{_MOST_PARTS * _PART}: S3 takes {_MOST_PARTS} parts."
        )
        raise TroubleError(Trouble("refused", account, "s3:UploadPartCopy", said, ""))
    said = hashlib.sha256(f"{artifact.url} {artifact.etag}".encode()).hexdigest()
    key = f"{_PINS}{said}"
    upload, parts = _copied_parts(s3, mine, key, artifact)
    if len(parts) < _parts_of(artifact.size):
        return Underway(len(parts), _parts_of(artifact.size))
    try:
        s3.abort_multipart_upload(**mine, Key=key, UploadId=upload)
    except ClientError as error:
        # The client's own second try, when the first was never heard of again.
        if code_of(error) != "NoSuchUpload":
            raise
    return Artifact(artifact.url, artifact.etag, artifact.size, _sum(parts))


def _copy_in_parts(
    s3: Any, mine: dict[str, str], key: str, artifact: Artifact
) -> Copied | Underway:
    upload, parts = _copied_parts(s3, mine, key, artifact)
    if len(parts) < _parts_of(artifact.size):
        return Underway(len(parts), _parts_of(artifact.size))
    sha256 = _sum(parts)
    # Other bytes do not become an object.
    if sha256 == artifact.sha256:
        s3.complete_multipart_upload(
            **mine, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
    return Copied(sha256)


def _copied_parts(
    s3: Any, mine: dict[str, str], key: str, artifact: Artifact
) -> tuple[str, list[dict[str, Any]]]:
    """The upload, and what S3 says of its parts: those that were there, and the next ones, copied
    now. The key names the bytes, so a part that is there can be of no other artefact, or the sum
    tells."""
    upload = _unfinished(s3, mine, key)
    there: dict[int, dict[str, Any]] = {}
    if upload is None:
        upload = s3.create_multipart_upload(**mine, Key=key, ChecksumAlgorithm="SHA256")["UploadId"]
    else:
        pages = s3.get_paginator("list_parts").paginate(**mine, Key=key, UploadId=upload)
        there = {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}

    def copied(number: int) -> tuple[int, dict[str, Any]]:
        begin = (number - 1) * _PART
        end = min(begin + _PART, artifact.size) - 1
        answer = s3.upload_part_copy(
            **mine,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            CopySource=_source(artifact),
            CopySourceIfMatch=artifact.etag,
            CopySourceRange=f"bytes={begin}-{end}",
        )
        return number, answer["CopyPartResult"]

    wanted = range(1, _parts_of(artifact.size) + 1)
    missing = [number for number in wanted if number not in there]
    there |= _at_once(copied, missing[:_IN_ONE_CALL])
    return upload, [
        {"PartNumber": number, **{each: there[number][each] for each in ("ETag", "ChecksumSHA256")}}
        for number in wanted
        if number in there
    ]


def _at_once(
    copied: Callable[[int], tuple[int, dict[str, Any]]], numbers: Iterable[int]
) -> dict[int, dict[str, Any]]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(pool.map(copied, numbers))


def _parts_of(size: int) -> int:
    return -(-size // _PART)


def _unfinished(s3: Any, mine: dict[str, str], key: str) -> str | None:
    found = s3.list_multipart_uploads(**mine, Prefix=key).get("Uploads", ())
    return next((str(each["UploadId"]) for each in found if each["Key"] == key), None)


def _sum(parts: list[dict[str, Any]]) -> str:
    """S3's own way: the SHA-256 of the parts' SHA-256s, one after the other, and their number."""
    sums = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in parts)
    return f"{hashlib.sha256(sums).hexdigest()}-{len(parts)}"


# ---------------------------------------------------------------- addresses


def _source(artifact: Artifact) -> dict[str, str]:
    bucket, _, key = artifact.url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _split(url: str, account: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key:
        said = (
            f"{url} is not an S3 address of an artefact."
            if url
            else "the package names no model.tar.gz. Register it again with a ModelDataUrl: a "
            "model in many files under a prefix is not released."
        )
        raise TroubleError(Trouble("refused", account, "s3:GetObject", said, ""))
    return bucket, key
