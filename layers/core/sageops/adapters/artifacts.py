"""Artefacts: which bytes a package is, and the target's own copy of them.

Source: 'Checking object integrity in Amazon S3' (SHA-256 of whole objects and of parts).
"""

import base64
import hashlib
from typing import Any

from botocore.exceptions import ClientError

from sageops.adapters.trouble import code_of, troubles
from sageops.errors import TroubleError
from sageops.model import Artifact, Copied, CopyArtifact, PinArtifact, Pinned, Trouble
from sageops.names import target_role

__all__ = ["copy", "pin", "read"]

_CHUNK = 1 << 20
_LARGEST_COPY = 5 << 30


def pin(s3: Any, action: PinArtifact, account: str) -> Pinned:
    """The artefact's ETag, size and SHA-256: stated by S3 where it can, else read and computed."""
    bucket, key = _split(action.url, account)
    fix = f"Put {action.url} back, or let the reconcile function's role read it."
    with troubles(f"s3:GetObject of {action.url}", account, fix):
        head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        stated = _whole_sha256(head)
        etag, size = head["ETag"], head["ContentLength"]
        if stated is None:
            body = s3.get_object(Bucket=bucket, Key=key, IfMatch=etag)["Body"]
            digest = hashlib.sha256()
            for chunk in iter(lambda: body.read(_CHUNK), b""):
                digest.update(chunk)
            stated = digest.hexdigest()
    return Pinned(Artifact(action.url, etag, size, stated))


def copy(s3: Any, action: CopyArtifact) -> Copied:
    """Copy the pinned bytes into the target's bucket, under its key, and say their SHA-256.

    `s3` acts as the target's role. An object that is there already is not copied again. The
    bucket's default encryption chooses the key. Raises `TroubleError`, `refused` when the source
    changed since it was pinned.
    """
    artifact, account = action.artifact, action.errand.target.account
    there = _stated(s3, action)
    if there is not None:
        return Copied(there)
    if artifact.size > _LARGEST_COPY:
        said = f"{artifact.url} has {artifact.size} bytes, and one copy takes 5 GiB."
        raise TroubleError(Trouble("refused", account, "s3:CopyObject", said, ""))
    bucket, key = _split(action.destination, account)
    source_bucket, source_key = _split(artifact.url, account)
    fix = (
        f"Deploy target.yaml in account {account}, and let its role "
        f"{target_role(action.errand.target)} read {artifact.url} (bucket and key policies of the hub)."
    )
    with troubles(f"s3:CopyObject to {action.destination}", account, fix):
        try:
            answer = s3.copy_object(
                Bucket=bucket,
                Key=key,
                CopySource={"Bucket": source_bucket, "Key": source_key},
                CopySourceIfMatch=artifact.etag,
                ChecksumAlgorithm="SHA256",
            )
        except ClientError as error:
            if code_of(error) not in ("PreconditionFailed", "412"):
                raise
            said = f"{artifact.url} is not what was approved: it was overwritten since."
            raise TroubleError(Trouble("refused", account, "s3:CopyObject", said, "")) from error
    stated = _whole_sha256(answer.get("CopyObjectResult", {})) or _stated(s3, action)
    return Copied(stated or "unknown")


def read(s3: Any, url: str, account: str) -> bytes:
    """A small object's bytes. Raises `TroubleError`."""
    bucket, key = _split(url, account)
    with troubles(f"s3:GetObject of {url}", account, "Let the hub's role read it."):
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def _stated(s3: Any, action: CopyArtifact) -> str | None:
    bucket, key = _split(action.destination, action.errand.target.account)
    account = action.errand.target.account
    fix = f"Deploy target.yaml in account {account}."
    with troubles(f"s3:HeadObject of {action.destination}", account, fix):
        try:
            return _whole_sha256(s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED"))
        except ClientError as error:
            if code_of(error) in ("404", "NotFound", "NoSuchKey"):
                return None
            raise


def _whole_sha256(answer: dict[str, Any]) -> str | None:
    """The SHA-256 of the whole object in hexadecimal, where S3 states one (not one of parts)."""
    stated = answer.get("ChecksumSHA256", "")
    if not stated or "-" in stated or answer.get("ChecksumType", "FULL_OBJECT") == "COMPOSITE":
        return None
    return base64.b64decode(stated).hex()


def _split(url: str, account: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key:
        said = f"{url or 'nothing'} is not an S3 address of an artefact."
        raise TroubleError(Trouble("refused", account, "s3:GetObject", said, ""))
    return bucket, key
