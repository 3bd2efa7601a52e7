"""Templates are created whole, or refused with the reason; the project's own are created."""

from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from local.cloud import Cloud
from local.cloudformation import TemplateError
from local.simulator.site import ServiceError
from tests.functional.local.conftest import HUB, STAGING, START, Deploy, NoContainers

_ROOT = Path(__file__).parents[3]
_EXTERNAL_ID = "an-external-id"


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("It: {Type: AWS::EC2::VPC}", "It is a AWS::EC2::VPC"),
        ("It: {Type: AWS::SQS::Queue, Properties: {Colour: red}}", "It .*Colour"),
        ("It: {Type: AWS::S3::Bucket, Properties: {Colour: red}}", "It .*Colour"),
        ("It: {Type: AWS::DynamoDB::Table, Properties: {Colour: red}}", "It .*Colour"),
        (
            "It: {Type: AWS::Events::Rule, Properties: {EventPattern: {source: [{perfix: a}]}}}",
            "It .*perfix",
        ),
        (
            "It: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: rate(1 day)}}",
            "It .*AWS::Scheduler::Schedule",
        ),
        ("It: {Type: AWS::SNS::TopicPolicy, Properties: {Topics: []}}", "It .*PolicyDocument"),
        ("It: {Type: AWS::SQS::Queue, Properties: {KmsMasterKeyId: !Ref Nobody}}", "Nobody"),
    ],
)
def test_nothing_is_dropped_silently(deploy: Deploy, resources: str, message: str) -> None:
    with pytest.raises(TemplateError, match=f"(?s){message}"):
        deploy(resources)


def test_a_trust_policy_may_not_name_a_role_that_is_not_there(deploy: Deploy) -> None:
    with pytest.raises(TemplateError, match="Invalid principal"):
        deploy(
            """
            It:
              Type: AWS::IAM::Role
              Properties:
                AssumeRolePolicyDocument:
                  Version: "2012-10-17"
                  Statement:
                    - Effect: Allow
                      Principal: {AWS: "arn:aws:iam::222222222222:role/nobody"}
                      Action: sts:AssumeRole
            """
        )


def test_code_must_be_there(deploy: Deploy) -> None:
    with pytest.raises(TemplateError, match="nowhere does not exist"):
        deploy(
            """
            It:
              Type: AWS::Serverless::Function
              Properties:
                CodeUri: nowhere
                Handler: app.handler
                Runtime: python3.13
                Role: arn:aws:iam::111111111111:role/r
            """
        )


def test_alarms_and_dashboards_of_a_nested_stack(
    cloud: Cloud, deploy: Deploy, tmp_path: Path
) -> None:
    (tmp_path / "nested.yaml").write_text(
        """
Parameters: {Limit: {Type: Number}}
Resources:
  Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: SageOps
      MetricName: Failures
      Statistic: Sum
      Period: "60"
      EvaluationPeriods: 1
      Threshold: !Ref Limit
      ComparisonOperator: GreaterThanThreshold
  Dashboard:
    Type: AWS::CloudWatch::Dashboard
    Properties: {DashboardName: board, DashboardBody: '{"widgets": []}'}
Outputs: {Name: {Value: !Ref Alarm}}
"""
    )
    outputs = deploy(
        """
        Watch:
          Type: AWS::Serverless::Application
          Properties: {Location: nested.yaml, Parameters: {Limit: "3"}}
        """,
        "Alarm: {Value: !GetAtt Watch.Outputs.Name}",
    )
    [alarm] = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert alarm["AlarmName"] == outputs["Alarm"]
    assert alarm["Threshold"] == 3.0
    assert cloud.client("cloudwatch").get_dashboard(DashboardName="board")


def test_the_projects_own_templates(cloud: Cloud) -> None:
    hub = cloud.deploy(
        _ROOT / "template.yaml",
        HUB,
        "sageops",
        {"TargetAccounts": STAGING, "ExternalId": _EXTERNAL_ID},
    )
    target = cloud.deploy(
        _ROOT / "target.yaml",
        STAGING,
        "sageops-target",
        {
            "HubAccountId": HUB,
            "HubBusArn": hub["BusArn"],
            "HubReconcileRoleArn": hub["ReconcileRoleArn"],
            "HubModelBucketName": hub["ModelBucketName"],
            "HubModelKeyArn": hub["ModelKeyArn"],
            "ExternalId": _EXTERNAL_ID,
        },
    )
    assert hub["ModelBucketName"] == f"sageops-models-{HUB}-eu-west-1"
    assert target["TargetRoleArn"] == f"arn:aws:iam::{STAGING}:role/sageops-target-eu-west-1"
    assert {f.label for f in cloud.lambdas.functions.values()} == {
        "intake",
        "reconcile",
        "sweep",
        "notify",
        "board",
        "act",
        "report",
    }
    reconcile = cloud.lambdas.find("reconcile")
    assert reconcile.environment["TABLE_NAME"] == hub["TableName"]
    assert reconcile.environment["QUEUE_URL"] == hub["QueueUrl"]
    assert reconcile.timeout == 120
    [stack] = cloud.client("cloudformation").describe_stacks(StackName="sageops")["Stacks"]
    assert {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]} == hub
    encryption = cloud.client("s3", STAGING).get_bucket_encryption(
        Bucket=target["ArtifactBucketName"]
    )["ServerSideEncryptionConfiguration"]
    [rule] = encryption["Rules"]
    default = rule["ApplyServerSideEncryptionByDefault"]
    assert default["KMSMasterKeyID"] == target["ArtifactKeyArn"]
    for name in ("sageops-sweep", "sageops-nightly"):
        assert cloud.client("scheduler").get_schedule(Name=name)["State"] == "ENABLED"


def test_parameters_are_checked_by_the_templates_rules(cloud: Cloud) -> None:
    with pytest.raises(TemplateError, match="HubReconcileRoleArn is not a role of HubAccountId"):
        cloud.deploy(
            _ROOT / "target.yaml",
            STAGING,
            "sageops-target",
            {
                "HubAccountId": HUB,
                "HubBusArn": "arn:aws:events:eu-west-1:111111111111:event-bus/sageops",
                "HubReconcileRoleArn": f"arn:aws:iam::{STAGING}:role/r",
                "HubModelBucketName": "b",
                "HubModelKeyArn": "k",
                "ExternalId": _EXTERNAL_ID,
            },
        )


def test_sagemaker_reads_and_writes_its_own_accounts_objects(cloud: Cloud) -> None:
    location = {"LocationConstraint": "eu-west-1"}
    cloud.client("s3").create_bucket(Bucket="models", CreateBucketConfiguration=location)
    cloud.write(HUB, "s3://models/a/model.tar.gz", b"bytes")
    assert cloud.read(HUB, "s3://models/a/model.tar.gz") == b"bytes"
    for account, uri in (
        (HUB, "s3://models/nothing"),
        (HUB, "s3://nowhere/a"),
        (HUB, "https://models/a"),
        (STAGING, "s3://models/a/model.tar.gz"),
    ):
        with pytest.raises(ServiceError):
            cloud.read(account, uri)


def test_outside_a_cloud_everything_is_as_before() -> None:
    before, session = datetime.now(UTC), boto3.DEFAULT_SESSION
    with Cloud(START, containers=NoContainers()) as cloud:  # type: ignore[arg-type]
        assert datetime.now(UTC) == START == cloud.clock.now
    assert datetime.now(UTC) >= before
    assert boto3.DEFAULT_SESSION is session
