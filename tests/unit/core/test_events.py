"""What an event is about, whatever it looks like."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sageops.events import Cause, Malformed, Resource, parse

from tests.unit.core.documents import json_like

PACKAGE = "SageMaker Model Package State Change"
PIPELINE = "SageMaker Model Building Pipeline Execution Status Change"
ENDPOINT = "SageMaker Endpoint State Change"
DEPLOYMENT = "SageMaker Endpoint Deployment State Change"
ALARM = "CloudWatch Alarm State Change"


def event(detail_type: str, source: str = "aws.sagemaker", **detail: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "1",
        "detail-type": detail_type,
        "source": source,
        "account": "222222222222",
        "time": "1772441999000",
        "region": "eu-west-1",
        "resources": [],
        "detail": detail,
    }


@pytest.mark.parametrize(
    ("given_", "kind", "name"),
    [
        (event(PACKAGE, ModelPackageGroupName="churn", ModelPackageVersion=3), "group", "churn"),
        (
            event(
                PIPELINE,
                pipelineArn="arn:aws:sagemaker:eu-west-1:111111111111:pipeline/churn-training",
            ),
            "pipeline",
            "churn-training",
        ),
        (event(ENDPOINT, EndpointName="churn", EndpointStatus="IN_SERVICE"), "endpoint", "churn"),
        (event(DEPLOYMENT, EndpointName="churn"), "endpoint", "churn"),
        (
            event(ALARM, "aws.cloudwatch", alarmName="sageops/churn-v3-0123abcd/errors"),
            "endpoint",
            "churn",
        ),
        (event(ALARM, "aws.cloudwatch", alarmName="checkout-errors"), "alarm", "checkout-errors"),
    ],
)
def test_an_event_names_a_resource(given_: dict[str, Any], kind: Any, name: str) -> None:
    cause, resource = parse(given_)

    assert cause == Cause("1", given_["detail-type"])
    assert resource == Resource(kind, "222222222222", "eu-west-1", name)
    assert resource.key == f"{kind}#222222222222#eu-west-1#{name}"


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (None, "not an event envelope"),
        ({}, "missing required field `id`"),
        (event(PACKAGE) | {"detail": None}, "detail"),
        (event(PACKAGE, ModelPackageGroupName=3), "ModelPackageGroupName"),
        (event(PACKAGE), "names no group"),
        (event(PIPELINE), "names no pipeline"),
        (event(PIPELINE, pipelineArn=""), "names no pipeline"),
        (event(ENDPOINT, EndpointName=""), "names no endpoint"),
        (event(ALARM, "aws.cloudwatch"), "names no alarm"),
        (event(ALARM, "aws.cloudwatch", alarmName="half \ud800"), "no name of a alarm"),
        (event(ALARM, "aws.sagemaker", alarmName="a"), "is no event of ours"),
        (event(PACKAGE, "com.example", ModelPackageGroupName="churn"), "is no event of ours"),
        (event("EC2 Instance State-change Notification", "aws.ec2"), "is no event of ours"),
    ],
)
def test_what_cannot_be_understood_says_which_part(given_: object, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        parse(given_)


@given(json_like)
def test_any_document_is_understood_or_malformed(given_: object) -> None:
    _parse_or_malformed(given_)


@given(
    st.sampled_from([PACKAGE, PIPELINE, ENDPOINT, DEPLOYMENT, ALARM]),
    st.sampled_from(["aws.sagemaker", "aws.cloudwatch"]),
    st.dictionaries(
        st.sampled_from(["ModelPackageGroupName", "EndpointName", "pipelineArn", "alarmName"])
        | st.text(),
        json_like,
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from(["id", "source", "account", "region", "detail-type", "detail"]),
        json_like,
        max_size=1,
    ),
)
def test_any_envelope_is_understood_or_malformed(
    detail_type: str, source: str, detail: dict[str, Any], broken: dict[str, Any]
) -> None:
    _parse_or_malformed(event(detail_type, source) | {"detail": detail} | broken)


def _parse_or_malformed(given_: object) -> None:
    try:
        _, resource = parse(given_)
    except Malformed as error:
        assert str(error)
    else:
        assert resource.name


def test_half_a_character_in_a_key_is_malformed() -> None:
    """JSON can say `\\ud800`, and Lambda's decoder lets it through."""
    _parse_or_malformed(event(PACKAGE) | {"\ud800": 1})
