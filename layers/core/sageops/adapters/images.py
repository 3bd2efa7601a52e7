"""Images: which one a tag means, at the moment when its package was approved.

A tag can be moved; a digest is of the bytes. Asked for by the call that a pull itself begins with,
BatchGetImage, so whoever may pull an image may be told its digest: of AWS's own framework images,
too, whose repositories cannot be described. No image is released by its tag. (docs/decisions.md)

Sources: botocore's service model of ECR, 'Pulling an image', 'Private registry authentication'.
"""

import re
from collections.abc import Callable
from typing import Any

from sageops.adapters.trouble import troubles
from sageops.errors import TroubleError
from sageops.model import Trouble

__all__ = ["by_digest"]

_IN_ECR = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?"
    r"/(?P<repository>[a-z0-9._/-]+)(:(?P<tag>[\w.-]+))?",
    re.ASCII,
)
# As it lies there. Without them ECR may hand out a manifest of another kind, under another digest.
_AS_PUSHED = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
]


def by_digest(ecr: Callable[[str], Any], image: str, account: str) -> str:
    """`image` as `repository@sha256:…`; what its tag means now, where it has only that.

    `ecr` is the hub's client of a Region. Raises `TroubleError`: `missing` without such an image,
    `denied` where the repository does not let `account`, the hub's, read it, `refused` when it
    is in no registry of ECR.
    """
    if "@sha256:" in image:
        return image
    found = _IN_ECR.fullmatch(image)
    digest_instead = "register the package again with the image as repository@sha256:…"
    if found is None:
        said = f"{image or 'nothing'} is not the address of an image in ECR: {digest_instead}."
        raise TroubleError(Trouble("refused", account, "ecr:BatchGetImage", said, ""))
    registry, tag = found["registry"], found["tag"] or "latest"
    fix = (
        f"Let the hub's reconcile role pull from {found['repository']} (its repository policy in "
        f"account {registry}), or {digest_instead}."
    )
    with troubles(f"ecr:BatchGetImage of {image}", account, fix):
        answer = ecr(found["region"]).batch_get_image(
            registryId=registry,
            repositoryName=found["repository"],
            imageIds=[{"imageTag": tag}],
            acceptedMediaTypes=_AS_PUSHED,
        )
    if not answer["images"]:
        code = next((each.get("failureCode", "") for each in answer.get("failures", ())), "")
        said = f"{code or 'ImageNotFound'}: there is no image {image}."
        fix = f"Push it again, or {digest_instead}."
        raise TroubleError(Trouble("missing", account, "ecr:BatchGetImage", said, fix))
    digest = answer["images"][0]["imageId"]["imageDigest"]
    host = image.partition("/")[0]
    return f"{host}/{found['repository']}@{digest}"
