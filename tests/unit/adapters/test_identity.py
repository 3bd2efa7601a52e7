"""Clients for target accounts: whose they are, for whose sake, and for how long."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from msgspec.structs import replace
from sageops.adapters.identity import Targets
from sageops.errors import TroubleError
from sageops.model import Errand
from sageops.policy import Target

from tests.unit.adapters.conftest import REGION

EXTERNAL_ID = "external-id"
ERRAND = Errand(Target("222222222222", REGION, "churn"), "churn/12", "model-owner@example.com")
ROLE = "arn:aws:iam::222222222222:role/sageops-target"
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


def expected(session_name: str = "sageops-churn-12", **tags: str) -> dict[str, Any]:
    return {
        "RoleArn": ROLE,
        "RoleSessionName": session_name,
        "ExternalId": EXTERNAL_ID,
        "SourceIdentity": session_name,
        "Tags": [{"Key": f"sageops:{k.replace('_', '-')}", "Value": v} for k, v in tags.items()],
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
    asked = expected(release="churn/12", approved_by="model-owner@example.com")
    let_in(sts, START + timedelta(hours=1), "FIRST", asked)

    client = targets(sts, Clock()).client(ERRAND, "s3")

    assert key_of(client) == "FIRST"
    assert client.meta.region_name == REGION


def test_a_stage_nobody_approved_has_no_approver(sts: Stubber) -> None:
    let_in(sts, START + timedelta(hours=1), "FIRST", expected(release="churn/12"))

    targets(sts, Clock()).client(replace(ERRAND, approved_by=""), "s3")


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
        f"sageops-{'a' * 56}",
        release="a" * 63 + "/1234567",
        approved_by=("José -on-call-" * 30)[:256],
    )
    let_in(sts, START + timedelta(hours=1), "FIRST", asked)

    targets(sts, Clock()).client(errand, "s3")


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
