"""Images: which one a tag means, at the moment when its package was approved; and a target's copy.

A tag can be moved; a digest is of the bytes. Asked for by the call that a pull itself begins with,
BatchGetImage, so whoever may pull an image may be told its digest: of AWS's own framework images,
too, whose repositories cannot be described. No image is released by its tag. (docs/decisions.md)

Sources: botocore's service model of ECR, 'Pulling an image', 'Private registry authentication',
'Sync an upstream registry with an Amazon ECR private registry' and its page on permissions.
"""

import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from sageops.adapters.trouble import code_of, troubles
from sageops.errors import TroubleError
from sageops.model import Pulled, PullImage, Trouble

__all__ = ["by_digest", "pull"]

_IN_ECR = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?"
    r"/(?P<repository>[a-z0-9._/-]+)(:(?P<tag>[\w.-]+))?(@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_NOT_THERE = ("ImageNotFoundException", "RepositoryNotFoundException")
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
        what = (
            f"{image} is not the address of an image in ECR"
            if image
            else "the package names no image"
        )
        said = f"{what}: {digest_instead}."
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


def pull(hub: Callable[[str], Any], ecr: Any, action: PullImage) -> Pulled:
    """Have the target's registry copy the image, by its rule for the hub's; whether it is there.

    The bytes go from registry to registry, and the copy has the digest of what it is a copy of. ECR
    copies what is pulled by a tag, and nothing that is asked for by its digest [unverified]: so it
    is pulled by a tag that means the digest at this moment in the hub. `hub` is the hub's client of
    a Region, `ecr` acts as the target's role.

    Raises `TroubleError`: `missing` where no tag means it, or the target's registry takes the tag
    for another image.
    """
    target = action.errand.target
    source, own = _parts(action.image), _parts(action.destination)
    fix = (
        f"Deploy the current target.yaml in account {target.account}, with CopyImages on, and let "
        f"its role sageops-images-{target.region} pull {source['repository']} (the repository's "
        "policy in the hub, as in group.yaml)."
    )
    with troubles(f"ecr:DescribeImages of {action.destination}", target.account, fix):
        there = _described(ecr, own)
    if there is not None:
        return Pulled(True)
    tags = _tags(hub, source, action.image)
    asked = []
    for tag in tags:
        with troubles(f"ecr:BatchGetImage of {own['repository']}:{tag}", target.account, fix):
            answer = ecr.batch_get_image(
                registryId=own["registry"],
                repositoryName=own["repository"],
                imageIds=[{"imageTag": tag}],
                acceptedMediaTypes=_AS_PUSHED,
            )
        got = [each["imageId"]["imageDigest"] for each in answer["images"]]
        if own["digest"] in got:
            return Pulled(False)
        failed = [each.get("failureCode", "ImageNotFound") for each in answer.get("failures", ())]
        asked.append(f"{tag} is {', '.join([*got, *failed])}")
    said = f"{'; '.join(asked)}: not {own['digest']}, which was approved."
    again = (
        f"{fix} A tag that was moved is asked for once a day: push the image under one of its own."
    )
    raise TroubleError(Trouble("missing", target.account, "ecr:BatchGetImage", said, again))


def _tags(hub: Callable[[str], Any], source: re.Match[str], image: str) -> list[str]:
    """The tags that mean an image of the hub's registry now. Raises `TroubleError` without any."""
    account = source["registry"]
    call, fix = f"ecr:DescribeImages of {image}", "Push it again."
    with troubles(call, account, fix):
        described = _described(hub(source["region"]), source)
    if described is None:
        said = "ImageNotFound: it is gone from the hub's registry."
        raise TroubleError(Trouble("missing", account, call, said, fix))
    tags = sorted(described.get("imageTags", ()))
    if not tags:
        said = "no tag means it any more, and ECR copies an image by its tag."
        fix = "Give it a tag of its own (aws ecr put-image, with its manifest)."
        raise TroubleError(Trouble("missing", account, call, said, fix))
    return tags


def _described(ecr: Any, image: re.Match[str]) -> dict[str, Any] | None:
    """DescribeImages of a digest, which looks at what is there and copies nothing."""
    try:
        answer = ecr.describe_images(
            registryId=image["registry"],
            repositoryName=image["repository"],
            imageIds=[{"imageDigest": image["digest"]}],
        )
    except ClientError as error:
        if code_of(error) in _NOT_THERE:
            return None
        raise
    details: list[dict[str, Any]] = answer["imageDetails"]
    return details[0] if details else None


def _parts(image: str) -> re.Match[str]:
    found = _IN_ECR.fullmatch(image)
    if found is None or found["digest"] is None:
        raise AssertionError(f"{image} is no image of ECR by its digest")
    return found
