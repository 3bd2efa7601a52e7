"""Artefacts: which bytes a package is, and the target's own copy of them."""

import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from sageops.adapters import artifacts
from sageops.adapters.artifacts import pin, read
from sageops.errors import TroubleError
from sageops.model import Artifact, Copied, CopyArtifact, Errand, Trouble, Underway
from sageops.policy import Target

from tests.unit.adapters.conftest import REGION

HUB, TARGET = "111111111111", "222222222222"
SOURCE = "s3://sageops-models-111111111111-eu-west-1/churn/1/model.tar.gz"
DESTINATION = "s3://sageops-artifacts-222222222222-eu-west-1/churn/1/abcd/model.tar.gz"
BYTES = b"the weights" * 300_000  # more than one chunk
SHA256 = hashlib.sha256(BYTES).hexdigest()
ERRAND = Errand(Target(TARGET, REGION, "churn-staging"), "churn/1")


@pytest.fixture(autouse=True)
def buckets(s3: Any) -> None:
    for url in (SOURCE, DESTINATION):
        where = {"LocationConstraint": REGION}
        s3.create_bucket(Bucket=url.split("/")[2], CreateBucketConfiguration=where)


def put(s3: Any, url: str, body: bytes = BYTES, **more: Any) -> None:
    _, _, bucket, key = url.split("/", 3)
    s3.put_object(Bucket=bucket, Key=key, Body=body, **more)


def get(s3: Any, url: str) -> bytes:
    return read(s3, url, TARGET, 1 << 30)


def pinned(s3: Any, url: str = SOURCE) -> Artifact:
    artifact = pin(s3, url, HUB)
    assert isinstance(artifact, Artifact)
    return artifact


def copy(s3: Any, action: CopyArtifact) -> Copied:
    copied = artifacts.copy(s3, action)
    assert isinstance(copied, Copied)
    return copied


def copying(artifact: Artifact, destination: str = DESTINATION) -> CopyArtifact:
    return CopyArtifact(ERRAND, artifact, destination)


def trouble_of(action: Any) -> Trouble:
    with pytest.raises(TroubleError) as caught:
        action()
    return caught.value.trouble


# ---------------------------------------------------------------- pin


@pytest.mark.parametrize("stated", [{}, {"ChecksumAlgorithm": "SHA256"}])
def test_an_artefact_is_pinned_by_its_bytes(s3: Any, stated: dict[str, Any]) -> None:
    put(s3, SOURCE, **stated)

    artifact = pinned(s3)

    assert (artifact.url, artifact.size, artifact.sha256) == (SOURCE, len(BYTES), SHA256)
    _, _, bucket, key = SOURCE.split("/", 3)
    assert artifact.etag == s3.head_object(Bucket=bucket, Key=key)["ETag"]


@pytest.mark.parametrize(
    "stated",
    [
        {"ChecksumSHA256": "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=-2"},
        {
            "ChecksumSHA256": "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=",
            "ChecksumType": "COMPOSITE",
        },
    ],
)
def test_the_sum_of_the_parts_is_not_that_of_the_whole(s3: Any, stated: dict[str, str]) -> None:
    put(s3, SOURCE)
    _, _, bucket, key = SOURCE.split("/", 3)
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    with Stubber(s3) as stub:
        stub.add_response("head_object", {"ETag": '"e"', "ContentLength": len(BYTES)} | stated)
        stub.add_response("get_object", {"Body": body})

        assert pinned(s3).sha256 == SHA256


def test_an_artefact_that_is_not_there_is_missing(s3: Any) -> None:
    found = trouble_of(lambda: pinned(s3))

    assert (found.kind, found.account) == ("missing", HUB)
    assert found.call == f"s3:GetObject of {SOURCE}"
    assert f"Put {SOURCE} back" in found.fix


def test_a_package_without_an_artefact_is_refused(s3: Any) -> None:
    found = trouble_of(lambda: pinned(s3, ""))

    assert found.kind == "refused"
    assert "the package names no model.tar.gz. Register it again" in found.said


@pytest.mark.parametrize("url", ["https://example.com/a", "s3://bucket", "s3:///key"])
def test_what_is_no_address_of_an_artefact_is_refused(s3: Any, url: str) -> None:
    found = trouble_of(lambda: pinned(s3, url))

    assert found.kind == "refused"
    assert "is not an S3 address of an artefact." in found.said


@pytest.mark.parametrize(
    "bucket",
    ["strangers-bucket", "sageops-models-999999999999-eu-west-1", "sageops-models-1111"],
)
def test_an_artefact_in_a_strangers_bucket_is_refused(s3: Any, bucket: str) -> None:
    url = f"s3://{bucket}/churn/1/model.tar.gz"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    put(s3, url)

    found = trouble_of(lambda: pinned(s3, url))

    assert (found.kind, found.account) == ("refused", HUB)
    assert f"{url} is not in the model bucket of account {HUB}" in found.said


# ---------------------------------------------------------------- copy


def test_the_target_gets_its_own_copy_of_the_same_bytes(s3: Any) -> None:
    put(s3, SOURCE)

    copied = copy(s3, copying(pinned(s3)))

    assert copied.sha256 == SHA256
    assert get(s3, DESTINATION) == BYTES


def test_a_copy_that_is_there_is_not_made_again(s3: Any) -> None:
    put(s3, SOURCE)
    artifact = pinned(s3)
    copy(s3, copying(artifact))
    _, _, bucket, key = SOURCE.split("/", 3)
    s3.delete_object(Bucket=bucket, Key=key)

    assert copy(s3, copying(artifact)).sha256 == SHA256


def test_other_bytes_in_the_place_of_the_copy_are_told_by_their_sum(s3: Any) -> None:
    put(s3, SOURCE)
    put(s3, DESTINATION, b"something else", ChecksumAlgorithm="SHA256")

    copied = copy(s3, copying(pinned(s3)))

    assert copied.sha256 == hashlib.sha256(b"something else").hexdigest()


def test_a_copy_whose_sum_nobody_stated_is_made_again(s3: Any) -> None:
    put(s3, SOURCE)
    put(s3, DESTINATION, b"something else")

    assert copy(s3, copying(pinned(s3))).sha256 == SHA256
    assert get(s3, DESTINATION) == BYTES


def test_an_artefact_that_was_overwritten_is_refused(s3: Any) -> None:
    put(s3, SOURCE)
    artifact = pinned(s3)
    put(s3, SOURCE, b"other weights")

    found = trouble_of(lambda: copy(s3, copying(artifact)))

    assert (found.kind, found.account, found.call) == ("refused", TARGET, "s3:CopyObject")
    assert "is not what was approved: it was overwritten since." in found.said


def test_a_target_without_its_bucket_is_told_what_to_deploy(s3: Any) -> None:
    put(s3, SOURCE)
    elsewhere = copying(pinned(s3), "s3://sageops-artifacts-none/churn/model.tar.gz")

    found = trouble_of(lambda: copy(s3, elsewhere))

    assert (found.kind, found.account) == ("missing", TARGET)
    assert f"Deploy target.yaml in account {TARGET}" in found.fix


def test_a_source_that_is_gone_is_missing(s3: Any) -> None:
    put(s3, SOURCE)
    artifact = pinned(s3)
    _, _, bucket, key = SOURCE.split("/", 3)
    s3.delete_object(Bucket=bucket, Key=key)

    found = trouble_of(lambda: copy(s3, copying(artifact)))

    assert found.kind == "missing"
    assert f"read {SOURCE}" in found.fix


def test_a_target_that_may_not_read_the_source_is_denied(s3: Any) -> None:
    artifact = Artifact(SOURCE, '"e"', 1, SHA256)
    with Stubber(s3) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_client_error("copy_object", "AccessDenied", http_status_code=403)

        found = trouble_of(lambda: copy(s3, copying(artifact)))

    assert found.kind == "denied"
    assert "bucket and key policies of the hub" in found.fix


def test_a_target_that_may_not_look_is_denied(s3: Any) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("head_object", "403", http_status_code=403)

        found = trouble_of(lambda: copy(s3, copying(Artifact(SOURCE, '"e"', 1, SHA256))))

    assert (found.kind, found.call) == ("denied", f"s3:HeadObject of {DESTINATION}")


def test_a_copy_whose_sum_is_not_stated_is_not_trusted(s3: Any) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_response("copy_object", {"CopyObjectResult": {}})
        stub.add_response("head_object", {})

        assert copy(s3, copying(Artifact(SOURCE, '"e"', 1, SHA256))).sha256 == "unknown"


def test_a_small_object_that_is_large_is_refused(s3: Any) -> None:
    put(s3, SOURCE, b"12345")

    assert read(s3, SOURCE, HUB, 5) == b"12345"
    found = trouble_of(lambda: read(s3, SOURCE, HUB, 4))
    assert (found.kind, found.said) == ("refused", f"{SOURCE} has 5 bytes, more than 4.")


def test_a_small_object_that_is_not_there_is_missing(s3: Any) -> None:
    assert trouble_of(lambda: get(s3, SOURCE)).kind == "missing"


# ---------------------------------------------------------------- in parts, small ones

PART = 5 << 20  # the least that S3 takes for a part that is not the last
LARGE = b"".join(bytes([number]) * PART for number in range(2)) + b"the rest"


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_PART", PART)


def sum_of_parts(body: bytes) -> str:
    parts = [body[begin : begin + PART] for begin in range(0, len(body), PART)]
    sums = b"".join(hashlib.sha256(part).digest() for part in parts)
    return f"{hashlib.sha256(sums).hexdigest()}-{len(parts)}"


def uploads(s3: Any, url: str) -> list[str]:
    """The keys of the uploads that are not finished in the bucket of that address."""
    found = s3.list_multipart_uploads(Bucket=url.split("/")[2])
    return [each["Key"] for each in found.get("Uploads", [])]


@pytest.mark.usefixtures("small_limits")
def test_a_large_artefact_is_pinned_by_the_sums_of_its_parts(s3: Any) -> None:
    put(s3, SOURCE, LARGE)

    artifact = pinned(s3)

    assert (artifact.size, artifact.sha256) == (len(LARGE), sum_of_parts(LARGE))
    assert uploads(s3, SOURCE) == []
    assert s3.list_objects_v2(Bucket=SOURCE.split("/")[2])["KeyCount"] == 1


@pytest.mark.usefixtures("small_limits")
def test_a_large_artefact_is_copied_in_parts(s3: Any) -> None:
    put(s3, SOURCE, LARGE)

    copied = copy(s3, copying(pinned(s3)))

    assert copied.sha256 == sum_of_parts(LARGE)
    assert get(s3, DESTINATION) == LARGE
    assert uploads(s3, DESTINATION) == []


@pytest.mark.usefixtures("small_limits")
def test_a_large_copy_that_is_there_is_not_made_again(s3: Any) -> None:
    put(s3, SOURCE, LARGE)
    artifact = pinned(s3)
    copy(s3, copying(artifact))
    _, _, bucket, key = SOURCE.split("/", 3)
    s3.delete_object(Bucket=bucket, Key=key)

    assert copy(s3, copying(artifact)).sha256 == sum_of_parts(LARGE)


@pytest.mark.usefixtures("small_limits")
def test_a_large_copy_that_was_cut_off_goes_on_where_it_was(s3: Any) -> None:
    put(s3, SOURCE, LARGE)
    artifact = pinned(s3)
    numbers: list[int] = []

    def cut_off(params: dict[str, Any], **_: Any) -> None:
        numbers.append(params["PartNumber"])
        if numbers.count(2) == 1 and numbers[-1] == 2:
            raise KeyboardInterrupt  # the function is gone, whatever it would catch

    s3.meta.events.register("before-parameter-build.s3.UploadPartCopy", cut_off)
    with pytest.raises(KeyboardInterrupt):
        copy(s3, copying(artifact))

    assert copy(s3, copying(artifact)).sha256 == sum_of_parts(LARGE)
    assert sorted(numbers) == [1, 2, 2, 3]
    assert get(s3, DESTINATION) == LARGE


@pytest.mark.usefixtures("small_limits")
def test_one_call_copies_some_parts_and_the_next_goes_on(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, SOURCE, LARGE)
    monkeypatch.setattr(artifacts, "_IN_ONE_CALL", 2)

    assert pin(s3, SOURCE, HUB) == Underway(2, 3)
    artifact = pinned(s3)
    assert artifact.sha256 == sum_of_parts(LARGE)

    assert artifacts.copy(s3, copying(artifact)) == Underway(2, 3)
    assert s3.list_objects_v2(Bucket=DESTINATION.split("/")[2])["KeyCount"] == 0
    assert copy(s3, copying(artifact)).sha256 == sum_of_parts(LARGE)
    assert get(s3, DESTINATION) == LARGE


def sent_again(s3: Any, operation: str) -> None:
    """Let the answer to the first such call be lost, and the client send it again by itself."""
    call = s3._make_api_call
    gone: Any = {"Error": {"Code": "NoSuchUpload", "Message": "The upload does not exist."}}

    def twice(name: str, parameters: Any) -> Any:
        answer = call(name, parameters)
        if name == operation:
            raise ClientError(gone, operation)
        return answer

    s3._make_api_call = twice


@pytest.mark.usefixtures("small_limits")
def test_throwing_the_parts_away_twice_is_no_trouble(s3: Any) -> None:
    put(s3, SOURCE, LARGE)
    sent_again(s3, "AbortMultipartUpload")

    assert pinned(s3).sha256 == sum_of_parts(LARGE)


@pytest.mark.usefixtures("small_limits")
def test_a_copy_that_was_finished_without_a_word_is_found_done(s3: Any) -> None:
    put(s3, SOURCE, LARGE)
    artifact = pinned(s3)
    sent_again(s3, "CompleteMultipartUpload")

    found = trouble_of(lambda: copy(s3, copying(artifact)))

    assert found.kind == "transient"
    assert copy(s3, copying(artifact)).sha256 == sum_of_parts(LARGE)


@pytest.mark.usefixtures("small_limits")
def test_an_artefact_overwritten_between_two_calls_is_pinned_anew(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was pinned yet; parts of the one and of the other do not come together."""
    put(s3, SOURCE, LARGE)
    monkeypatch.setattr(artifacts, "_IN_ONE_CALL", 2)
    assert pin(s3, SOURCE, HUB) == Underway(2, 3)
    put(s3, SOURCE, LARGE[::-1])

    assert pin(s3, SOURCE, HUB) == Underway(2, 3)
    assert pinned(s3).sha256 == sum_of_parts(LARGE[::-1])


def test_an_artefact_of_more_parts_than_s3_takes_is_refused(s3: Any) -> None:
    with Stubber(s3) as stub:
        stub.add_response("head_object", {"ETag": '"e"', "ContentLength": (10_000 << 27) + 1})

        found = trouble_of(lambda: pinned(s3))

    assert (found.kind, found.account) == ("refused", HUB)
    assert "and an artefact may have 1342177280000: S3 takes 10000 parts." in found.said


@pytest.mark.usefixtures("small_limits")
def test_a_large_artefact_that_was_overwritten_is_refused(s3: Any) -> None:
    put(s3, SOURCE, LARGE)
    artifact = pinned(s3)
    put(s3, SOURCE, LARGE[::-1])

    found = trouble_of(lambda: copy(s3, copying(artifact)))

    assert found.kind == "refused"
    assert "it was overwritten since" in found.said


@pytest.mark.usefixtures("small_limits")
def test_foreign_parts_do_not_become_an_object(s3: Any) -> None:
    """Somebody put a part of his own into the upload while the copy was cut off."""
    put(s3, SOURCE, LARGE)
    artifact = pinned(s3)
    _, _, bucket, key = DESTINATION.split("/", 3)
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")
    s3.upload_part(
        Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * PART
    )

    copied = copy(s3, copying(artifact))

    assert copied.sha256 not in (artifact.sha256, "unknown")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("body", [LARGE[:-1] + b"X", LARGE + b"more", b"short"])
def test_other_bytes_in_the_place_of_a_large_copy_are_replaced_or_told(
    s3: Any, body: bytes
) -> None:
    put(s3, SOURCE, LARGE)
    put(s3, DESTINATION, body, ChecksumAlgorithm="SHA256")

    assert copy(s3, copying(pinned(s3))).sha256 == sum_of_parts(LARGE)
    assert get(s3, DESTINATION) == LARGE
