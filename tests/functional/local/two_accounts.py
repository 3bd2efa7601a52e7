"""Two accounts in moto, and roles in them: what the tests of authorization share."""

import functools
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.authorization import ADMINISTRATOR

HUB, STAGING, REGION = "111111111111", "222222222222", "eu-west-1"
RECONCILE = f"arn:aws:iam::{HUB}:role/sageops-reconcile"
RUN = f"arn:aws:sts::{HUB}:assumed-role/sageops-reconcile/run"
TARGET = f"arn:aws:iam::{STAGING}:role/sageops-target"
EXECUTION = f"arn:aws:iam::{STAGING}:role/sageops-model-execution"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/{HUB}/work"
TABLE = f"arn:aws:dynamodb:{REGION}:{HUB}:table/sageops"
TOPIC = f"arn:aws:sns:{REGION}:{HUB}:alert"
KEY = {"pk": {"S": "churn"}, "sk": {"S": "HEAD"}}
PACKAGE = f"arn:aws:sagemaker:{REGION}:{HUB}:model-package/churn/3"
LAMBDA = {"Principal": {"Service": "lambda.amazonaws.com"}}
# One for all, since it keeps the service models; what fails is not tried again.
BOTO: Any = boto3.Session(region_name=REGION)
ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1})


class Sent(Exception):
    """The call was let through to the service."""


def statement(action: Any, resource: Any = "*", effect: str = "Allow", **more: Any) -> Any:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trusting(principal: Any, *actions: str, **condition: Any) -> str:
    trust = {"Effect": "Allow", "Action": list(actions or ["sts:AssumeRole"]), **principal}
    return document({**trust, **({"Condition": condition} if condition else {})})


def session_client(service: str, credentials: Any) -> Any:
    return BOTO.client(
        service,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        config=ONCE,
    )


@functools.cache
def root(service: str) -> Any:
    """A client with credentials that are no session's."""
    return BOTO.client(service, aws_access_key_id="root", aws_secret_access_key="x")


def assume(role: str, by: Any = None, **more: Any) -> Any:
    """Credentials of the role, for an administrator when `by` is no client."""
    sts = by or root("sts")
    return sts.assume_role(RoleArn=role, RoleSessionName="run", **more)["Credentials"]


def admin(service: str, account: str = HUB) -> Any:
    return session_client(service, assume(f"arn:aws:iam::{account}:role/{ADMINISTRATOR}"))


def make_role(arn: str, trust: str, *statements: Any) -> None:
    name, iam = arn.rpartition("/")[2], admin("iam", arn.split(":")[4])
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    if statements:
        grant(arn, *statements)


def grant(arn: str, *statements: Any) -> None:
    """Replace the role's inline policy."""
    iam = admin("iam", arn.split(":")[4])
    iam.put_role_policy(
        RoleName=arn.rpartition("/")[2], PolicyName="inline", PolicyDocument=document(*statements)
    )


def acting(service: str, role: str = RECONCILE) -> Any:
    return session_client(service, assume(role))


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Code and message of the error that the call ends in."""
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def will_be_sent(client: Any) -> Any:
    """The client stops where a request would leave it."""

    def stop(**_: Any) -> None:
        raise Sent

    client.meta.events.register_first("before-send", stop)
    return client


def make_world() -> None:
    """A bucket, a key, a queue, a topic, a table and an execution role in the hub."""
    admin("s3").create_bucket(
        Bucket="models", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    for key in ("model.tar.gz", "other"):
        admin("s3").put_object(Bucket="models", Key=key, Body=b"x")
    key = admin("kms").create_key()["KeyMetadata"]["KeyId"]
    admin("kms").create_alias(AliasName="alias/models", TargetKeyId=key)
    admin("sqs").create_queue(QueueName="work")
    admin("sns").create_topic(Name="alert")
    admin("dynamodb").create_table(
        TableName="sageops",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    make_role(
        EXECUTION.replace(STAGING, HUB),
        trusting(
            {"Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}},
            *("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"),
        ),
    )
