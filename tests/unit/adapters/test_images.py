"""Images: which one a tag means when its package was approved."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from sageops.adapters.images import by_digest, pull
from sageops.errors import TroubleError
from sageops.model import Errand, Pulled, PullImage, Trouble
from sageops.policy import Target

from local import images
from tests.unit.adapters.conftest import REGION

HUB, FRAMEWORKS = "123456789012", "141502667606"  # moto's own account; one of AWS's
REPOSITORY = f"{HUB}.dkr.ecr.{REGION}.amazonaws.com/team/models"

Push = Callable[[str], str]


def client(region: str) -> Any:
    return boto3.client("ecr", region_name=region)


@pytest.fixture
def push(aws: None) -> Iterator[Push]:
    """Push another image under a tag; its digest."""
    ecr, numbers = client(REGION), count()
    ecr.create_repository(repositoryName="team/models")

    def pushed(tag: str) -> str:
        made = ecr.put_image(
            repositoryName="team/models",
            imageManifest=f'{{"schemaVersion": 2, "number": {next(numbers)}}}',
            imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
            imageTag=tag,
        )
        return str(made["image"]["imageId"]["imageDigest"])

    with ExitStack() as stack:
        images.install(stack)
        yield pushed


def trouble_of(image: str, ecr: Callable[[str], Any] = client) -> Trouble:
    with pytest.raises(TroubleError) as caught:
        by_digest(ecr, image, HUB)
    return caught.value.trouble


def test_a_tag_is_what_it_means_now(push: Push) -> None:
    first = push("1")
    assert by_digest(client, f"{REPOSITORY}:1", HUB) == f"{REPOSITORY}@{first}"

    moved = push("1")
    assert moved != first
    assert by_digest(client, f"{REPOSITORY}:1", HUB) == f"{REPOSITORY}@{moved}"


def test_without_a_tag_it_is_the_latest(push: Push) -> None:
    push("1")
    latest = push("latest")

    assert by_digest(client, REPOSITORY, HUB) == f"{REPOSITORY}@{latest}"


def test_an_image_by_its_digest_is_asked_of_nobody(aws: None) -> None:
    def nobody(region: str) -> Any:
        raise AssertionError(f"somebody asked in {region}")

    for image in (f"{REPOSITORY}@sha256:{'ab' * 32}", f"host:5000/models@sha256:{'ab' * 32}"):
        assert by_digest(nobody, image, HUB) == image


@pytest.mark.parametrize(
    ("image", "region", "registry"),
    [
        (f"{FRAMEWORKS}.dkr.ecr.eu-west-1.amazonaws.com/sklearn:1.4", "eu-west-1", FRAMEWORKS),
        (f"{HUB}.dkr.ecr.us-east-2.amazonaws.com/sklearn:1.4", "us-east-2", HUB),
        (f"{HUB}.dkr.ecr.cn-north-1.amazonaws.com.cn/sklearn:1.4", "cn-north-1", HUB),
    ],
)
def test_it_is_asked_for_where_it_lies(aws: None, image: str, region: str, registry: str) -> None:
    def stubbed(asked: str) -> Any:
        ecr = client(asked)
        stub = Stubber(ecr)
        found = {"images": [{"imageId": {"imageDigest": "sha256:ab"}}], "failures": []}
        wanted = {
            "registryId": registry,
            "repositoryName": "sklearn",
            "imageIds": [{"imageTag": "1.4"}],
            "acceptedMediaTypes": [
                "application/vnd.oci.image.index.v1+json",
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.docker.distribution.manifest.list.v2+json",
                "application/vnd.docker.distribution.manifest.v2+json",
            ],
        }
        stub.add_response("batch_get_image", found, wanted)
        stub.activate()
        assert asked == region
        return ecr

    assert by_digest(stubbed, image, HUB) == f"{image.rpartition(':')[0]}@sha256:ab"


def test_a_tag_or_a_repository_that_is_not_there_is_missing(push: Push) -> None:
    push("1")

    gone = trouble_of(f"{REPOSITORY}:2")
    assert (gone.kind, gone.said) == (
        "missing",
        f"ImageNotFound: there is no image {REPOSITORY}:2.",
    )
    assert "Push it again" in gone.fix

    elsewhere = trouble_of(f"{FRAMEWORKS}.dkr.ecr.{REGION}.amazonaws.com/team/models:1")
    assert elsewhere.kind == "missing"
    assert FRAMEWORKS in elsewhere.message


def test_a_repository_that_may_not_be_read_says_whose_policy_lacks_it(aws: None) -> None:
    def denying(region: str) -> Any:
        ecr = client(region)
        stub = Stubber(ecr)
        stub.add_client_error("batch_get_image", "AccessDeniedException", http_status_code=400)
        stub.activate()
        return ecr

    denied = trouble_of(f"{FRAMEWORKS}.dkr.ecr.{REGION}.amazonaws.com/sklearn:1.4", denying)

    assert denied.kind == "denied"
    assert f"pull from sklearn (its repository policy in account {FRAMEWORKS})" in denied.fix
    assert "repository@sha256:" in denied.fix


def test_a_package_without_an_image_is_refused(aws: None) -> None:
    refused = trouble_of("")

    assert refused.kind == "refused"
    assert (
        "the package names no image: register the package again with the image as" in refused.said
    )


@pytest.mark.parametrize(
    "image",
    [
        *("models:1", "docker.io/library/models:1", "localhost:5000/models"),
        f"{HUB}.dkr.ecr.{REGION}.amazonaws.com",
        f"{HUB}.dkr.ecr.{REGION}.amazonaws.com.stranger.example/models:1",
        f"stranger.example/{REPOSITORY}:1",
        f"{REPOSITORY}:1\n",
        f"{REPOSITORY}:a b",
    ],
)
def test_what_is_in_no_registry_of_ecr_is_refused(aws: None, image: str) -> None:
    refused = trouble_of(image)

    assert refused.kind == "refused"
    assert "is not the address of an image in ECR: register the package again" in refused.said


# ---------------------------------------------------------------- copies

DIGEST, OTHER = f"sha256:{'ab' * 32}", f"sha256:{'cd' * 32}"
TARGET = Target("333333333333", REGION, "churn-production", "copy")
ACTION = PullImage(
    Errand(TARGET, "churn/1"),
    f"{REPOSITORY}@{DIGEST}",
    f"{TARGET.account}.dkr.ecr.{REGION}.amazonaws.com/sageops/team/models@{DIGEST}",
)
BY_DIGEST = {"imageIds": [{"imageDigest": DIGEST}]}
OURS = {"registryId": TARGET.account, "repositoryName": "sageops/team/models"}
HUBS = {"registryId": HUB, "repositoryName": "team/models"}


class Registry:
    """A registry that answers what is expected, and nothing else."""

    def __init__(self, region: str = REGION) -> None:
        self.client = client(region)
        self._stub = Stubber(self.client)
        self._stub.activate()

    def has(self, *tags: str) -> "Registry":
        detail = {"imageDigest": DIGEST, **({"imageTags": list(tags)} if tags else {})}
        wanted = {**self._where(), **BY_DIGEST}
        self._stub.add_response("describe_images", {"imageDetails": [detail]}, wanted)
        return self

    def lacks(self, code: str = "ImageNotFoundException", status: int = 400) -> "Registry":
        wanted = {**self._where(), **BY_DIGEST}
        self._stub.add_client_error(
            "describe_images", code, http_status_code=status, expected_params=wanted
        )
        return self

    def pulls(self, tag: str, digest: str = "", failure: str = "ImageNotFound") -> "Registry":
        image, failed = {"imageId": {"imageDigest": digest}}, {"failureCode": failure}
        answer = {"images": [image] if digest else [], "failures": [] if digest else [failed]}
        self._stub.add_response("batch_get_image", answer)
        return self

    def refuses(self, code: str) -> "Registry":
        self._stub.add_client_error("batch_get_image", code)
        return self

    def done(self) -> None:
        self._stub.assert_no_pending_responses()

    def _where(self) -> dict[str, str]:
        return OURS


class Hub(Registry):
    def _where(self) -> dict[str, str]:
        return HUBS


def copied(hub: Registry, target: Registry) -> Pulled:
    """What comes of it; each registry was asked what it was to be asked, and no more."""

    def of_region(region: str) -> Any:
        assert region == REGION
        return hub.client

    try:
        return pull(of_region, target.client, ACTION)
    finally:
        hub.done()
        target.done()


def test_an_image_that_is_there_is_not_pulled(aws: None) -> None:
    assert copied(Hub(), Registry().has()) == Pulled(True)


@pytest.mark.parametrize("code", ["ImageNotFoundException", "RepositoryNotFoundException"])
def test_one_that_is_not_is_pulled_by_a_tag_that_means_it(aws: None, code: str) -> None:
    target = Registry().lacks(code).pulls("1", DIGEST)

    assert copied(Hub().has("1"), target) == Pulled(False)


def test_one_tag_that_means_it_there_too_is_enough(aws: None) -> None:
    target = Registry().lacks().pulls("1", OTHER).pulls("2").pulls("3", DIGEST)

    assert copied(Hub().has("3", "1", "2", "4"), target) == Pulled(False)


@pytest.mark.parametrize(
    ("hub", "target", "kind", "said"),
    [
        (lambda: Hub().has(), lambda: Registry().lacks(), "missing", "no tag means it any more"),
        (lambda: Hub().lacks(), lambda: Registry().lacks(), "missing", "it is gone from the hub's"),
        (
            lambda: Hub().has("1", "2"),
            lambda: Registry().lacks().pulls("1", OTHER).pulls("2", failure="UpstreamAccessDenied"),
            "missing",
            f"1 is {OTHER}; 2 is UpstreamAccessDenied: not {DIGEST}, which was approved.",
        ),
        (
            lambda: Hub().has("1"),
            lambda: Registry().lacks().refuses("UnableToGetUpstreamImageException"),
            "missing",
            "UnableToGetUpstreamImageException",
        ),
        (
            lambda: Hub().has("1"),
            lambda: Registry().lacks().refuses("AccessDeniedException"),
            "denied",
            "AccessDeniedException",
        ),
        (Hub, lambda: Registry().lacks("AccessDeniedException"), "denied", "AccessDenied"),
        (
            lambda: Hub().lacks("ServerException", status=500),
            lambda: Registry().lacks(),
            "transient",
            "ServerException",
        ),
    ],
)
def test_no_other_image_is_taken_for_it(
    aws: None,
    hub: Callable[[], Registry],
    target: Callable[[], Registry],
    kind: str,
    said: str,
) -> None:
    with pytest.raises(TroubleError) as caught:
        copied(hub(), target())

    assert caught.value.trouble.kind == kind
    assert said in caught.value.trouble.said
