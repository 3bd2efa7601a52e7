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
    endpoint_of_alarm,
    execution_role_arn,
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


def release(version: int, detail: PackageDetail) -> Release:
    return Release(GROUP, version, "arn", 1, START, detail, (StageRun("staging"),))


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
