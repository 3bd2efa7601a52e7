"""Names: deterministic, valid, and different for what is different."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from sageops.model import Artifact, PackageDetail, Release, StageRun
from sageops.names import (
    alarm_name,
    artifact_url,
    config_name,
    copied_image,
    endpoint_of_alarm,
    execution_role_arn,
    served_image,
    target_role_arn,
    training_token,
)
from sageops.policy import RealTime, Stage, Target

from tests.unit.core.documents import names, servings, stages
from tests.unit.core.world import GROUP, STAGES, START

SAGEMAKER_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")

artifacts = st.builds(
    Artifact,
    url=st.just("s3://models/model.tar.gz"),
    etag=st.just('"etag"'),
    size=st.just(1),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
details = st.builds(
    PackageDetail,
    image=st.text(min_size=1),
    model_data_url=st.just("s3://models/model.tar.gz"),
    environment=st.dictionaries(st.text(), st.text(), max_size=3),
)
versions = st.integers(1, 9_999_999)
HUB = "111111111111"
PACKAGE = f"arn:aws:sagemaker:eu-west-1:{HUB}:model-package/{GROUP}/1"
DIGEST = f"sha256:{'ab' * 32}"


def release(version: int, detail: PackageDetail) -> Release:
    return Release(GROUP, version, PACKAGE, 1, START, detail, (StageRun("staging"),))


@given(versions, details, artifacts, stages)
def test_a_configurations_name_is_one_that_sagemaker_takes(
    version: int, detail: PackageDetail, artifact: Artifact, stage: Stage
) -> None:
    assert len(stage.target.endpoint) <= 44
    name = config_name(release(version, detail), artifact, stage)
    assert SAGEMAKER_NAME.fullmatch(name)
    assert len(name) <= 63
    assert name.startswith(f"{stage.target.endpoint}-v{version}-")


def test_the_longest_name_still_fits() -> None:
    target = replace(STAGES[0].target, endpoint="e" * 44)
    given_ = release(9_999_999, PackageDetail("image", "s3://models/model.tar.gz"))
    artifact = Artifact("s3://models/model.tar.gz", '"etag"', 1, "0" * 64)

    assert len(config_name(given_, artifact, replace(STAGES[0], target=target))) == 62


@given(versions, details, artifacts, stages)
def test_the_same_things_have_the_same_name(
    version: int, detail: PackageDetail, artifact: Artifact, stage: Stage
) -> None:
    shuffled = replace(detail, environment=dict(reversed(detail.environment.items())))
    elsewhere = replace(artifact, url="s3://other/model.tar.gz", etag='"other"')

    first = config_name(release(version, detail), artifact, stage)
    again = config_name(release(version, shuffled), elsewhere, replace(stage, gate="auto"))

    assert first == again


@given(details, details, artifacts, artifacts, servings, servings)
def test_another_image_artefact_environment_or_instance_is_another_name(
    one: PackageDetail,
    other: PackageDetail,
    bytes_: Artifact,
    other_bytes: Artifact,
    serving: RealTime,
    other_serving: RealTime,
) -> None:
    made_of = (one.image, one.environment, bytes_.sha256, serving)
    other_made_of = (other.image, other.environment, other_bytes.sha256, other_serving)
    assume(made_of != other_made_of)
    stage = replace(STAGES[0], serving=serving)
    other_stage = replace(STAGES[0], serving=other_serving)

    first = config_name(release(1, one), bytes_, stage)

    assert first != config_name(release(1, other), other_bytes, other_stage)


@given(names, versions, st.sampled_from(["errors", "latency", "stop"]))
def test_an_alarm_of_ours_leads_back_to_its_endpoint(
    endpoint: str, version: int, kind: str
) -> None:
    name = alarm_name(f"{endpoint}-v{version}-0123abcd", kind)

    assert endpoint_of_alarm(name) == endpoint
    assert len(name) <= 255


@pytest.mark.parametrize(
    "name", ["", "checkout-errors", "sageops", "sageops/", "other/e-v1-0/errors", "sageops/x/y"]
)
def test_an_alarm_of_somebody_else_names_no_endpoint(name: str) -> None:
    assert endpoint_of_alarm(name) is None


def test_a_target_keeps_its_own_copy_by_content() -> None:
    given_ = release(7, PackageDetail("image", "s3://models/model.tar.gz"))
    artifact = Artifact("s3://models/model.tar.gz", '"etag"', 1, "ab" * 32)

    url = artifact_url(given_, artifact, STAGES[1].target)

    assert url == (
        "s3://sageops-artifacts-333333333333-eu-west-1/churn/7/abababababababab/model.tar.gz"
    )


def test_a_nights_token_is_its_own_and_of_a_length_that_is_taken() -> None:
    tokens = {training_token(g, n) for g in ("churn", "fraud") for n in ("monday", "tuesday")}

    assert len(tokens) == 4
    assert all(32 <= len(token) <= 128 for token in tokens)


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-west-1", "aws"),
        ("us-east-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
    ],
)
def test_roles_are_those_of_the_targets_partition(region: str, partition: str) -> None:
    target = Target("222222222222", region, "churn")

    assert (
        target_role_arn(target) == f"arn:{partition}:iam::222222222222:role/sageops-target-{region}"
    )
    assert execution_role_arn(target) == (
        f"arn:{partition}:iam::222222222222:role/sageops-model-execution-{region}"
    )


# ---------------------------------------------------------------- the target's own image


def of_image(image: str, package: str = PACKAGE) -> Release:
    return replace(release(1, PackageDetail(image, "s3://models/m.tar.gz")), package_arn=package)


def copying(region: str = "eu-west-1", account: str = "333333333333") -> Stage:
    target = replace(STAGES[1].target, region=region, account=account, image="copy")
    return replace(STAGES[1], target=target)


@pytest.mark.parametrize(
    ("image", "stage", "package", "copied"),
    [
        (
            f"{HUB}.dkr.ecr.eu-west-1.amazonaws.com/team/models@{DIGEST}",
            copying(),
            PACKAGE,
            f"333333333333.dkr.ecr.eu-west-1.amazonaws.com/sageops/team/models@{DIGEST}",
        ),
        (
            f"{HUB}.dkr.ecr.eu-west-1.amazonaws.com/models@{DIGEST}",
            copying("us-east-2"),
            PACKAGE,
            f"333333333333.dkr.ecr.us-east-2.amazonaws.com/sageops/models@{DIGEST}",
        ),
        (
            f"{HUB}.dkr.ecr.cn-north-1.amazonaws.com.cn/models@{DIGEST}",
            copying("cn-northwest-1"),
            PACKAGE.replace("eu-west-1", "cn-north-1"),
            f"333333333333.dkr.ecr.cn-northwest-1.amazonaws.com.cn/sageops/models@{DIGEST}",
        ),
    ],
)
def test_a_copy_is_of_the_same_repository_and_digest(
    image: str, stage: Stage, package: str, copied: str
) -> None:
    it = of_image(image, package)

    assert copied_image(it, stage.target) == served_image(it, stage) == copied
    # Without the option it is the package's own, and so it is where the package is from.
    plain = replace(stage, target=replace(stage.target, image="origin"))
    assert served_image(it, plain) == image
    region, account = package.split(":")[3:5]
    assert served_image(it, copying(region, account)) == image


@pytest.mark.parametrize(
    "image",
    [
        f"{HUB}.dkr.ecr.eu-west-1.amazonaws.com/models:1",
        f"{HUB}.dkr.ecr.us-east-2.amazonaws.com/models@{DIGEST}",
        f"141502667606.dkr.ecr.eu-west-1.amazonaws.com/sklearn@{DIGEST}",
        f"stranger.example/{HUB}.dkr.ecr.eu-west-1.amazonaws.com/models@{DIGEST}",
        f"{HUB}.dkr.ecr.eu-west-1.amazonaws.com.stranger.example/models@{DIGEST}",
        f"{HUB}.dkr.ecr.eu-west-1.amazonaws.com/models@{DIGEST}0",
        "",
    ],
)
def test_only_what_is_in_the_hubs_registry_by_its_digest_is_copied(image: str) -> None:
    assert copied_image(of_image(image), copying().target) is None


def test_a_configuration_of_the_copy_is_another_than_that_of_the_origin() -> None:
    it = of_image(f"{HUB}.dkr.ecr.eu-west-1.amazonaws.com/models@{DIGEST}")
    artifact = Artifact("s3://models/m.tar.gz", '"etag"', 1, "0" * 64)

    names_ = {config_name(it, artifact, each) for each in (copying(), STAGES[1])}

    assert len(names_) == 2
