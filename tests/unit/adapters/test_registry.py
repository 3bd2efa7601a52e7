"""The hub's registry: packages, their figures and who approved them, labels, pipelines."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import boto3
import botocore.session
import pytest
from botocore.stub import Stubber
from msgspec.structs import replace
from sageops.adapters.registry import Registry
from sageops.errors import TroubleError
from sageops.model import (
    Done,
    LabelPackage,
    LifeCycle,
    Metric,
    PackageDetail,
    PackageSeen,
    Started,
    StartPipeline,
    TrainingSeen,
)

from tests.unit.adapters.conftest import REGION

ACCOUNT = "111111111111"
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/churn/3"
AT = datetime(2026, 3, 2, tzinfo=UTC)
SEEN = PackageSeen(3, ARN, "Approved")
REPORT = "s3://reports/evaluation.json"


@pytest.fixture
def stub() -> Iterator[Stubber]:
    """The documents that SageMaker would answer with; botocore checks them against its model."""
    with Stubber(boto3.client("sagemaker", region_name=REGION)) as stubber:
        yield stubber


@pytest.fixture
def registry(stub: Stubber, s3: Any) -> Registry:
    return Registry(stub.client, s3, ACCOUNT)


def described(**more: Any) -> dict[str, Any]:
    container = {"Image": "account.example/churn:latest", "ModelDataUrl": "s3://models/m.tar.gz"}
    return {
        "ModelPackageName": "churn",
        "ModelPackageArn": ARN,
        "CreationTime": AT,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "InferenceSpecification": {"Containers": [container | more.pop("container", {})]},
    } | more


def versioned(**more: Any) -> dict[str, Any]:
    return described(**({"ModelPackageVersion": 3, "ModelApprovalStatus": "Approved"} | more))


def report(s3: Any, text: str) -> dict[str, Any]:
    where = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket="reports", CreateBucketConfiguration=where)
    s3.put_object(Bucket="reports", Key="evaluation.json", Body=text.encode())
    figures = {"ContentType": "application/json", "S3Uri": REPORT}
    return {"ModelMetrics": {"ModelQuality": {"Statistics": figures}}}


# ---------------------------------------------------------------- packages


def test_every_page_of_a_group_is_read(registry: Registry, stub: Stubber) -> None:
    def summary(version: int, approval: str) -> dict[str, Any]:
        return {
            "ModelPackageArn": f"{ARN[:-1]}{version}",
            "ModelPackageVersion": version,
            "CreationTime": AT,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": approval,
            **({"ModelLifeCycle": life} if version == 3 else {}),
        }

    life = {"Stage": "production", "StageStatus": "Approved"}
    # The service may leave out both; without a version it is none of the group's.
    undecided = [summary(1, ""), summary(9, "")]
    del undecided[0]["ModelApprovalStatus"], undecided[1]["ModelPackageVersion"]
    first = {"ModelPackageSummaryList": [summary(3, "Approved")], "NextToken": "more"}
    second = {"ModelPackageSummaryList": [summary(2, "Rejected"), *undecided]}
    asked = {
        "ModelPackageGroupName": "churn",
        "SortBy": "CreationTime",
        "SortOrder": "Descending",
        # A group has hundreds of versions, and each page is a call.
        "MaxResults": 100,
    }
    stub.add_response("list_model_packages", first, asked)
    stub.add_response("list_model_packages", second, asked | {"NextToken": "more"})

    assert registry.packages("churn") == (
        PackageSeen(3, ARN, "Approved", LifeCycle("production", "Approved")),
        PackageSeen(2, f"{ARN[:-1]}2", "Rejected"),
        PackageSeen(1, f"{ARN[:-1]}1", "PendingManualApproval"),
    )


def test_a_registry_that_may_not_be_read_says_whose_role_lacks_it(
    registry: Registry, stub: Stubber
) -> None:
    stub.add_client_error("list_model_packages", "AccessDeniedException", http_status_code=400)

    with pytest.raises(TroubleError, match="template.yaml") as error:
        registry.packages("churn")

    assert error.value.trouble.kind == "denied"


@pytest.mark.parametrize(
    ("image", "digest", "pinned"),
    [
        ("account.example/churn:latest", "sha256:ab", "account.example/churn@sha256:ab"),
        ("host:5000/churn", "sha256:ab", "host:5000/churn@sha256:ab"),
        ("churn:latest", "sha256:ab", "churn@sha256:ab"),
        ("account.example/churn@sha256:cd", "sha256:ab", "account.example/churn@sha256:cd"),
        ("account.example/churn:latest", "", "account.example/churn:latest"),
    ],
)
def test_an_image_is_named_by_its_digest_where_it_is_known(
    registry: Registry, stub: Stubber, image: str, digest: str, pinned: str
) -> None:
    container = {"Image": image} | ({"ImageDigest": digest} if digest else {})
    stub.add_response("describe_model_package", described(container=container))

    assert registry.package(ARN).image == pinned


def test_the_environment_goes_with_the_image(registry: Registry, stub: Stubber) -> None:
    container = {"Environment": {"THRESHOLD": "0.5"}}
    stub.add_response("describe_model_package", described(container=container))

    detail = registry.package(ARN)

    assert detail.environment == {"THRESHOLD": "0.5"}
    assert detail.model_data_url == "s3://models/m.tar.gz"
    assert detail.metrics == ()


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ({"LastModifiedBy": {"UserProfileName": "model-owner"}}, "model-owner"),
        (
            {
                "LastModifiedBy": {
                    "IamIdentity": {
                        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/approver/on-call@example.com"
                    }
                }
            },
            "on-call@example.com",
        ),
        ({"CreatedBy": {"UserProfileName": "pipeline"}}, "pipeline"),
        ({"LastModifiedBy": {}}, "unknown"),
        (
            {"LastModifiedBy": {"IamIdentity": {"Arn": f"arn:aws:iam::{ACCOUNT}:root"}}},
            f"arn:aws:iam::{ACCOUNT}:root",
        ),
        ({}, "unknown"),
    ],
)
def test_whoever_changed_it_last_approved_it(
    registry: Registry, stub: Stubber, who: dict[str, Any], name: str
) -> None:
    stub.add_response("describe_model_package", described(**who))

    assert registry.package(ARN).modified_by == name


def test_a_label_of_ours_says_nothing_of_who_approved_it(s3: Any, stub: Stubber) -> None:
    """A person approved the package, and SageOps wrote its label after that."""
    own = {"IamIdentity": {"Arn": "arn:aws:sts::1:assumed-role/ReconcileRole/hub-reconcile"}}
    stub.add_response("describe_model_package", versioned(LastModifiedBy=own))

    found = Registry(stub.client, s3, ACCOUNT, own="hub-reconcile").package(ARN)

    assert found.modified_by == "unknown"


def test_who_registered_it_is_kept_beside_who_approved_it(
    registry: Registry, stub: Stubber
) -> None:
    people = {
        "CreatedBy": {"UserProfileName": "pipeline"},
        "LastModifiedBy": {"UserProfileName": "owner"},
    }
    stub.add_response("describe_model_package", described(**people))

    found = registry.package(ARN)

    assert (found.registered_by, found.modified_by) == ("pipeline", "owner")


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("text", "metrics"),
    [
        (
            '{"metrics": {"accuracy": {"value": 0.97, "standard_deviation": "NaN"},'
            ' "rows": {"value": 114}}}',
            (Metric("accuracy", 0.97), Metric("rows", 114.0)),
        ),
        (
            '{"version": 0, "binary_classification_metrics": {"auc": {"value": 0.99},'
            ' "confusion_matrix": {"0": {"0": 3}}, "name": "x", "text": {"value": "high"}}}',
            (Metric("auc", 0.99),),
        ),
        ("[1, 2]", ()),
        ("{}", ()),
        ('"text"', ()),
    ],
)
def test_the_figures_of_an_evaluation_are_read(
    registry: Registry, stub: Stubber, s3: Any, text: str, metrics: tuple[Metric, ...]
) -> None:
    stub.add_response("describe_model_package", described(**report(s3, text)))

    assert registry.package(ARN).metrics == metrics


def test_a_report_that_is_gone_stops_no_release(registry: Registry, stub: Stubber, s3: Any) -> None:
    figures = report(s3, "{}")
    s3.delete_object(Bucket="reports", Key="evaluation.json")
    stub.add_response("describe_model_package", described(**figures))

    assert registry.package(ARN).metrics == ()


HOSTILE = {
    "empty": "",
    "no json": "accuracy,0.97",
    "nearly json": "{'metrics': 1}",
    "no text": "\xff",
    "half a character": '{"metrics": {"\\ud800": {"value": 1}}}',
    "too deep": "[" * 100_000,
    "too large a number": '{"metrics": {"accuracy": {"value": 1' + 400 * "0" + "}}}",
    "no number": '{"metrics": {"accuracy": {"value": true}}}',
    "too large a file": '{"metrics": {"accuracy": {"value": 1}}}' + (1 << 20) * " ",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_report_that_is_none_has_no_figures(
    registry: Registry, stub: Stubber, s3: Any, text: str
) -> None:
    stub.add_response("describe_model_package", described(**report(s3, text)))

    assert registry.package(ARN).metrics == ()


def test_of_a_report_some_figures_are_kept_and_no_more(
    registry: Registry, stub: Stubber, s3: Any
) -> None:
    figures = ", ".join(f'"{number}{"x" * 1000}": {{"value": 1}}' for number in range(1000))
    stub.add_response(
        "describe_model_package", described(**report(s3, f'{{"metrics": {{{figures}}}}}'))
    )

    metrics = registry.package(ARN).metrics

    assert len(metrics) == 50
    assert {len(each.name) for each in metrics} == {100}


def optional_members() -> list[str]:
    """What DescribeModelPackage may leave out, of all that it can say."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape: Any = model.shape_for("DescribeModelPackageOutput")
    return sorted(set(shape.members) - set(shape.required_members))


@pytest.mark.parametrize("missing", optional_members())
def test_a_package_may_lack_whatever_the_service_may_leave_out(
    registry: Registry, stub: Stubber, missing: str
) -> None:
    told = versioned(
        CreatedBy={"IamIdentity": {"Arn": "arn:aws:sts::1:assumed-role/r/alice"}},
        LastModifiedBy={"IamIdentity": {"Arn": "arn:aws:sts::1:assumed-role/r/bob"}},
        LastModifiedTime=AT,
        ModelLifeCycle={"Stage": "production", "StageStatus": "Approved"},
    )
    told.pop(missing, None)
    stub.add_response("describe_model_package", told)

    assert isinstance(registry.package(ARN), PackageDetail)


@pytest.mark.parametrize(
    ("said", "containers"),
    [
        ({"SourceUri": "arn:aws:sagemaker:eu-west-1:111111111111:model/m"}, 0),
        ({"InferenceSpecification": {"Containers": [{"BaseModel": {"HubContentName": "m"}}]}}, 1),
    ],
)
def test_a_package_without_an_image_is_described_as_such(
    registry: Registry, stub: Stubber, said: dict[str, Any], containers: int
) -> None:
    told = described()
    del told["InferenceSpecification"]
    stub.add_response("describe_model_package", told | said)

    detail = registry.package(ARN)

    assert (detail.image, detail.model_data_url, detail.containers) == ("", "", containers)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (("S3Object", "Gzip"), "s3://models/a.tar.gz"),
        (("S3Prefix", "None"), ""),
        (("S3Object", "None"), ""),
    ],
)
def test_a_model_data_source_is_taken_where_it_is_one_archive(
    registry: Registry, stub: Stubber, source: tuple[str, str], url: str
) -> None:
    data = {
        "S3Uri": "s3://models/a.tar.gz",
        "S3DataType": source[0],
        "CompressionType": source[1],
    }
    container = {"Image": "account.example/churn@sha256:ab"}
    told = described(
        InferenceSpecification={
            "Containers": [container | {"ModelDataSource": {"S3DataSource": data}}]
        }
    )
    stub.add_response("describe_model_package", told)

    assert registry.package(ARN).model_data_url == url


# ---------------------------------------------------------------- pipelines and labels


def test_a_pipeline_is_started_under_its_token(registry: Registry, stub: Stubber) -> None:
    execution = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/churn-training/execution/abc"
    stub.add_response(
        "start_pipeline_execution",
        {"PipelineExecutionArn": execution},
        {"PipelineName": "churn-training", "ClientRequestToken": "t" * 64},
    )

    assert registry.start(StartPipeline("churn-training", "t" * 64)) == Started(execution)


def test_a_pipeline_that_is_not_there_says_what_to_do(registry: Registry, stub: Stubber) -> None:
    stub.add_client_error("start_pipeline_execution", "ResourceNotFound")

    with pytest.raises(TroubleError, match="Create the pipeline churn-training") as error:
        registry.start(StartPipeline("churn-training", "t" * 64))

    assert error.value.trouble.kind == "missing"


@pytest.mark.parametrize("reason", ["", "Step train failed."])
def test_a_training_says_how_it_is(registry: Registry, stub: Stubber, reason: str) -> None:
    answer = {"PipelineExecutionStatus": "Failed"} | ({"FailureReason": reason} if reason else {})
    stub.add_response("describe_pipeline_execution", answer)

    assert registry.training("arn:execution") == TrainingSeen("Failed", reason)


@pytest.mark.parametrize(
    ("description", "shown"), [("", "Set by SageOps."), ("x" * 2000, "x" * 1024)]
)
def test_a_label_never_touches_the_approval(
    registry: Registry, stub: Stubber, description: str, shown: str
) -> None:
    life = {"Stage": "production", "StageStatus": "Live", "StageDescription": shown}
    asked = {"ModelPackageArn": ARN, "ModelLifeCycle": life, "ClientToken": ANY}
    stub.add_response("describe_model_package", described())
    stub.add_response("update_model_package", {"ModelPackageArn": ARN}, asked)

    label = LifeCycle("production", "Live", description)
    assert registry.label(LabelPackage(ARN, label)) == Done()


@pytest.mark.parametrize(
    "since",
    [
        {"ModelLifeCycle": {"Stage": "production", "StageStatus": "Approved"}},
        {"ModelLifeCycle": {"Stage": "Production", "StageStatus": "rejected"}},
        {"ModelApprovalStatus": "Rejected"},
    ],
)
def test_a_label_is_not_written_over_what_was_said_since(
    registry: Registry, stub: Stubber, since: dict[str, Any]
) -> None:
    stub.add_response("describe_model_package", versioned(**since))

    with pytest.raises(TroubleError, match="heard first") as error:
        registry.label(LabelPackage(ARN, LifeCycle("production", "Progressing"), SEEN))

    assert error.value.trouble.kind == "transient"


@pytest.mark.parametrize(
    ("now", "over"),
    [
        (LifeCycle("production", "Approved"), LifeCycle("production", "Approved")),
        (LifeCycle("QA", "OnHold"), None),
        (LifeCycle("staging", "Progressing"), LifeCycle("staging", "AwaitingApproval")),
    ],
    ids=["heard", "no word of ours or theirs", "a label of another worker's"],
)
def test_a_label_is_written_over_everything_else(
    registry: Registry, stub: Stubber, now: LifeCycle, over: LifeCycle | None
) -> None:
    shown = {"Stage": now.stage, "StageStatus": now.status}
    stub.add_response("describe_model_package", versioned(ModelLifeCycle=shown))
    stub.add_response("update_model_package", {"ModelPackageArn": ARN})

    seen = replace(SEEN, life_cycle=over)
    label = LifeCycle("production", "Progressing")
    assert registry.label(LabelPackage(ARN, label, seen)) == Done()


def test_the_same_label_of_a_package_changed_since_is_another_request(
    registry: Registry, stub: Stubber
) -> None:
    sent: list[str] = []
    stub.client.meta.events.register(
        "provide-client-params.sagemaker.UpdateModelPackage",
        lambda params, **_: sent.append(params["ClientToken"]),
    )
    for modified in (AT, AT, AT + timedelta(minutes=1)):
        stub.add_response("describe_model_package", versioned(LastModifiedTime=modified))
        stub.add_response("update_model_package", {"ModelPackageArn": ARN})
        registry.label(LabelPackage(ARN, LifeCycle("production", "AwaitingApproval"), SEEN))

    first, again, later = sent
    assert first == again != later


def test_a_version_has_the_life_cycle_that_somebody_gave_it(
    registry: Registry, stub: Stubber
) -> None:
    shown = {"Stage": "production", "StageStatus": "Approved", "StageDescription": "Agreed."}
    by = {"UserProfileName": "model-owner"}
    more = {"ModelLifeCycle": shown, "LastModifiedTime": AT, "LastModifiedBy": by}
    stub.add_response("describe_model_package", versioned(**more))

    found = registry.package(ARN)

    assert found.life_cycle == LifeCycle("production", "Approved", "Agreed.")
    assert (found.modified_by, found.modified_at) == ("model-owner", AT)
