"""Clients for target accounts: whose they are, for whose sake, and for how long."""

import gc
import json
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from msgspec.structs import replace
from sageops.adapters.identity import Targets, session_policy
from sageops.errors import TroubleError
from sageops.model import Errand
from sageops.names import bucket
from sageops.policy import Target

from local.iam import Principal, Request, decide, parse
from tests.unit.adapters.conftest import REGION

EXTERNAL_ID = "external-id"
ERRAND = Errand(
    Target("222222222222", REGION, "churn"), "churn/12", "model-owner@example.com", "production"
)
ROLE = "arn:aws:iam::222222222222:role/sageops-target-eu-west-1"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Session:
    """A boto3 session whose STS is stubbed, so that what it is asked is seen."""

    def __init__(self, sts: Any) -> None:
        self._sts = sts

    def client(self, service: str, **more: Any) -> Any:
        new: Any = boto3.client
        return self._sts if service == "sts" else new(service, **more)


@pytest.fixture
def sts() -> Iterator[Stubber]:
    with Stubber(boto3.client("sts", region_name=REGION)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def expected(errand: Errand = ERRAND, session_name: str = "", **tags: str) -> dict[str, Any]:
    session_name = session_name or "sageops-churn-12"
    said = {"release": "churn/12", "stage": "production", "approver": "model-owner@example.com"}
    return {
        "RoleArn": ROLE,
        "RoleSessionName": session_name,
        "ExternalId": EXTERNAL_ID,
        "SourceIdentity": session_name,
        "Tags": [{"Key": f"sageops:{k}", "Value": v} for k, v in {**said, **tags}.items()],
        "Policy": session_policy(errand),
    }


def let_in(sts: Stubber, until: datetime, key: str, asked: dict[str, Any] | None = None) -> None:
    credentials = {
        "AccessKeyId": key.ljust(20, "X"),
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": until,
    }
    sts.add_response("assume_role", {"Credentials": credentials}, asked)


def key_of(client: Any) -> str:
    """The access key that the client signs with."""
    url: str = client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})
    for part in url.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        if name in ("AWSAccessKeyId", "X-Amz-Credential"):
            return value.partition("%2F")[0].rstrip("X")
    raise AssertionError(url)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def targets(sts: Stubber, clock: Clock) -> Targets:
    return Targets(Session(sts.client), EXTERNAL_ID, clock)


def test_a_client_acts_as_the_targets_role_for_a_release(sts: Stubber) -> None:
    let_in(sts, START + timedelta(hours=1), "FIRST", expected())

    client = targets(sts, Clock()).client(ERRAND, "s3")

    assert key_of(client) == "FIRST"
    assert client.meta.region_name == REGION


def test_a_stage_that_nobody_approved_says_so(sts: Stubber) -> None:
    """The trust policy lets nobody in without the three tags."""
    nobodys = replace(ERRAND, approved_by="")
    let_in(sts, START + timedelta(hours=1), "FIRST", expected(nobodys, approver="unknown"))

    targets(sts, Clock()).client(nobodys, "s3")


def test_a_session_is_used_as_long_as_it_is_good(sts: Stubber) -> None:
    let_in(sts, START + timedelta(hours=1), "FIRST")
    clock = Clock()
    found = targets(sts, clock)
    first = found.client(ERRAND, "s3")

    clock.now += timedelta(minutes=54)

    assert found.client(ERRAND, "s3") is first
    assert found.client(ERRAND, "sagemaker") is not first


def test_a_session_is_renewed_before_it_ends(sts: Stubber) -> None:
    let_in(sts, START + timedelta(hours=1), "FIRST")
    let_in(sts, START + timedelta(hours=2), "SECOND")
    clock = Clock()
    found = targets(sts, clock)
    first = found.client(ERRAND, "s3")

    clock.now += timedelta(minutes=56)
    second = found.client(ERRAND, "s3")

    assert (key_of(first), key_of(second)) == ("FIRST", "SECOND")
    assert found.client(ERRAND, "s3") is second


def test_what_has_expired_takes_no_memory(sts: Stubber) -> None:
    """A function lives for hours, and releases come and go in it."""
    let_in(sts, START + timedelta(hours=1), "FIRST")
    let_in(sts, START + timedelta(hours=2), "SECOND")
    let_in(sts, START + timedelta(hours=3), "THIRD")
    clock = Clock()
    found = targets(sts, clock)
    first = weakref.ref(found.client(ERRAND, "s3"))
    clock.now += timedelta(minutes=50)
    second = weakref.ref(found.client(replace(ERRAND, release="churn/13"), "s3"))

    clock.now += timedelta(minutes=10)
    found.client(replace(ERRAND, release="churn/14"), "s3")
    gc.collect()

    assert first() is None
    assert second() is not None


def test_each_release_has_its_own_session(sts: Stubber) -> None:
    let_in(sts, START + timedelta(hours=1), "FIRST")
    let_in(sts, START + timedelta(hours=1), "SECOND")
    found = targets(sts, Clock())

    clients = [found.client(each, "s3") for each in (ERRAND, replace(ERRAND, release="churn/13"))]

    assert [key_of(client) for client in clients] == ["FIRST", "SECOND"]
    assert found.client(ERRAND, "s3") is clients[0]


def test_names_and_tags_are_ones_that_sts_takes(sts: Stubber) -> None:
    errand = replace(ERRAND, release="a" * 63 + "/1234567", approved_by="José <on-call>" * 30)
    asked = expected(
        errand,
        f"sageops-{'a' * 56}",
        release="a" * 63 + "/1234567",
        approver=("José -on-call-" * 30)[:256],
    )
    let_in(sts, START + timedelta(hours=1), "FIRST", asked)

    targets(sts, Clock()).client(errand, "s3")


# ---------------------------------------------------------------- the session's policy

ROLE_OF_THE_TESTS = parse(
    json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }
    ),
    "everything",
)


def may(errand: Errand, action: str, resource: str) -> bool:
    """Whether a session of a role that may do everything may still do this."""
    role = "arn:aws:iam::222222222222:role/everything"
    who = Principal("222222222222", f"{role}/x".replace("iam", "sts"), role)
    cut = parse(session_policy(errand), "session policy")
    request = Request(who, action, resource, "222222222222")
    return decide(request, [ROLE_OF_THE_TESTS], session_policy=cut).allowed


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("sagemaker:UpdateEndpoint", "endpoint/churn", True),
        ("sagemaker:UpdateEndpoint", "endpoint/churn-v2", False),
        ("sagemaker:UpdateEndpoint", "endpoint/other", False),
        ("sagemaker:DeleteEndpoint", "endpoint/other", False),
        ("sagemaker:InvokeEndpoint", "endpoint/other", False),
        ("sagemaker:CreateModel", "model/churn-v12-0123abcd", True),
        ("sagemaker:CreateModel", "model/other-v12-0123abcd", False),
        ("sagemaker:CreateEndpointConfig", "endpoint-config/churn-v12-0123abcd", True),
        ("sagemaker:CreateEndpointConfig", "endpoint-config/other-v12-0123abcd", False),
        # Back to what was there before SageOps was.
        ("sagemaker:UpdateEndpoint", "endpoint-config/made-by-hand", True),
        ("sagemaker:DescribeEndpointConfig", "endpoint-config/made-by-hand", True),
        ("sagemaker:DeleteEndpointConfig", "endpoint-config/made-by-hand", False),
        ("sagemaker:CreateModelPackage", "model-package/churn/*", True),
        ("sagemaker:CreateModelPackage", "model-package/other/*", False),
        ("sagemaker:CreateTrainingJob", "training-job/mine", False),
    ],
)
def test_a_session_changes_its_own_endpoint_only(action: str, resource: str, allowed: bool) -> None:
    assert may(ERRAND, action, f"arn:aws:sagemaker:{REGION}:222222222222:{resource}") is allowed


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("s3:PutObject", "arn:aws:s3:::{bucket}/churn/12/abcd/model.tar.gz", True),
        ("s3:PutObject", "arn:aws:s3:::{bucket}/churn/11/abcd/model.tar.gz", False),
        ("s3:PutObject", "arn:aws:s3:::{bucket}/other/12/abcd/model.tar.gz", False),
        ("s3:GetObject", "arn:aws:s3:::sageops-models-111111111111-eu-west-1/a", True),
        ("cloudwatch:PutMetricAlarm", "{alarm}:sageops/churn-v12-0123abcd/errors", True),
        ("cloudwatch:PutMetricAlarm", "{alarm}:sageops/other-v12-0123abcd/errors", False),
        ("cloudwatch:GetMetricData", "*", True),
        ("iam:PassRole", "arn:aws:iam::222222222222:role/any", True),
    ],
)
def test_a_session_leaves_other_releases_things_alone(
    action: str, resource: str, allowed: bool
) -> None:
    """What is not bound to an endpoint stays as narrow as the role's own policy has it."""
    where = resource.format(
        bucket=bucket(ERRAND.target), alarm=f"arn:aws:cloudwatch:{REGION}:222222222222:alarm"
    )
    assert may(ERRAND, action, where) is allowed


def test_small_letters_in_arns_are_the_same_endpoint() -> None:
    errand = replace(ERRAND, target=replace(ERRAND.target, endpoint="Churn"))
    for endpoint in ("Churn", "churn"):
        arn = f"arn:aws:sagemaker:{REGION}:222222222222:endpoint/{endpoint}"
        assert may(errand, "sagemaker:UpdateEndpoint", arn)


def test_the_longest_session_policy_is_one_that_sts_takes() -> None:
    """AssumeRole: 'The plaintext … can't exceed 2,048 characters.'"""
    target = Target("222222222222", "us-gov-west-1", "E" * 44)

    longest = session_policy(Errand(target, f"{'g' * 63}/1234567"))

    assert len(longest) <= 2048


# ---------------------------------------------------------------- who is not let in


def test_credentials_are_shown_by_nothing(sts: Stubber) -> None:
    let_in(sts, START + timedelta(hours=1), "FIRST")
    found = targets(sts, Clock())
    client = found.client(ERRAND, "s3")

    shown = f"{found!r} {client!r} {found}"

    assert not any(each in shown for each in ("FIRST", "secret", "token"))


def test_a_role_that_lets_nobody_in_says_what_to_deploy(sts: Stubber) -> None:
    sts.add_client_error("assume_role", "AccessDenied", "Not authorized.", 403)

    with pytest.raises(TroubleError) as error:
        targets(sts, Clock()).client(ERRAND, "s3")

    found = error.value.trouble
    assert (found.kind, found.account) == ("denied", "222222222222")
    assert found.call == f"sts:AssumeRole of {ROLE}"
    assert "Deploy target.yaml in account 222222222222" in found.fix


def test_a_denial_is_not_remembered(sts: Stubber) -> None:
    sts.add_client_error("assume_role", "AccessDenied", "Not authorized.", 403)
    let_in(sts, START + timedelta(hours=1), "FIRST")
    found = targets(sts, Clock())
    with pytest.raises(TroubleError):
        found.client(ERRAND, "s3")

    assert key_of(found.client(ERRAND, "s3")) == "FIRST"
