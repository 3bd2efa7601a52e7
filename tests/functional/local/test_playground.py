"""`sageops local up`: the page's doors, the AWS door, and the clock."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from sageops.policy import Policy

from local.company import HUB, POLICY, REGION, STAGING, Company
from local.playground import Playground, credentials, serving, strange
from tests.functional.world import AFTER_THE_NIGHT, Models, opened, register

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Up:
    """A playground whose clock stands still, so that a test says when time passes."""

    ground: Playground
    url: str

    @property
    def it(self) -> Company:
        return self.ground.it

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """A request as a browser sends it."""
        host = self.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def do(self, what: str, **asked: object) -> int:
        header = {"X-SageOps-Playground": "1"}
        return self.ask("POST", f"/do/{what}", json.dumps(asked).encode(), header)[0]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with opened(Models(), AFTER_THE_NIGHT, tmp_path_factory.mktemp("policies")) as world:
        ground = Playground(world.company, speed=0)
        with serving(ground) as url:
            yield Up(ground, url)


def test_the_command_works_against_it(up: Up) -> None:
    with up.ground.lock:
        register(up.it)
        up.it.wait(seconds=5)
        signed_in = credentials(up.it, up.url)
    status = sageops(signed_in, "status")
    assert "churn/1  AwaitingApproval" in status.stdout

    sageops(signed_in, "pause", "churn/1", "--by", "on-call")
    with up.ground.lock:
        wish = up.it.table.wish("churn", 1)
        assert wish is not None
        assert wish.paused is not None
        assert wish.paused.at == up.it.cloud.clock.now, "the clock is the playground's"

    lost = sageops(
        {**signed_in, "SAGEOPS_CLOCK": f"{up.url}/gone"}, "resume", "churn/1", "--by", "you"
    )
    assert lost.returncode == 3
    assert "Is `sageops local up` still running?" in lost.stderr


def sageops(signed_in: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from cli.main import main; main()", *words],
        cwd=ROOT,
        env={**os.environ, **signed_in},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--policy", "policies/fraud.yaml"), "group: fraud has no models here; write churn"),
        (("--policy", "nowhere.yaml"), "nowhere.yaml: No such file or directory"),
        (("--policy", "template.yaml"), "template.yaml"),
    ],
)
def test_what_it_cannot_start_with_is_said_at_once(words: tuple[str, ...], said: str) -> None:
    run = sageops({}, "local", "up", *words)
    assert run.returncode == 1
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_is_taken_is_said_at_once(up: Up) -> None:
    port = up.url.rpartition(":")[2]
    run = sageops({}, "local", "up", "--port", port)
    assert run.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken: --port 0 takes any that is free." in run.stderr


def test_a_policy_may_only_name_what_is_here() -> None:
    policy = msgspec.yaml.decode(POLICY.read_bytes(), type=Policy)
    elsewhere = msgspec.structs.replace(
        policy.stages[0].target, account="999999999999", region="us-east-1"
    )
    stage = msgspec.structs.replace(policy.stages[0], target=elsewhere)
    assert strange(policy) == []
    assert strange(msgspec.structs.replace(policy, stages=(stage,))) == [
        'stages[0].target.account: 999999999999 is not here; "222222222222" and "333333333333" are',
        "stages[0].target.region: us-east-1 is not here; eu-west-1 is",
    ]


def test_who_looks_moves_no_time(up: Up) -> None:
    before = up.it.cloud.clock.now
    assert up.ask("GET", "/board")[0] == 200
    assert up.ask("GET", "/clock")[1].decode() == before.isoformat()


@pytest.mark.parametrize("account", [HUB, STAGING])
def test_every_service_that_the_product_uses_answers_through_the_door(up: Up, account: str) -> None:
    with up.ground.lock:
        keys = up.it.cloud.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/administrator", RoleSessionName="door"
        )["Credentials"]
    code = """
import boto3, json, sys
from botocore.config import Config
url, account = sys.argv[1:]
plain = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
def of(name): return boto3.client(name, endpoint_url=url, config=plain)
bucket = f"door-{account}"
of("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
of("s3").put_object(Bucket=bucket, Key="a b/ü", Body=b"bytes"  * 1000)
print(json.dumps([
    of("sts").get_caller_identity()["Account"],
    of("s3").get_object(Bucket=bucket, Key="a b/ü")["Body"].read() == b"bytes"  * 1000,
    isinstance(of("dynamodb").list_tables()["TableNames"], list),
    isinstance(of("dynamodbstreams").list_streams()["Streams"], list),
    isinstance(of("sqs").list_queues().get("QueueUrls", []), list),
    isinstance(of("sns").list_topics()["Topics"], list),
    isinstance(of("iam").list_roles()["Roles"], list),
    isinstance(of("kms").list_keys()["Keys"], list),
    isinstance(of("logs").describe_log_groups()["logGroups"], list),
    isinstance(of("events").list_rules()["Rules"], list),
    isinstance(of("lambda").list_functions()["Functions"], list),
    isinstance(of("cloudwatch").describe_alarms()["MetricAlarms"], list),
    isinstance(of("cloudformation").describe_stacks()["Stacks"], list),
    isinstance(of("scheduler").list_schedules()["Schedules"], list),
    isinstance(of("sagemaker").list_endpoints()["Endpoints"], list),
]))
"""
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    }
    run = subprocess.run(
        [sys.executable, "-c", code, up.url, account],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [account] + [True] * 14


def test_a_page_elsewhere_can_do_nothing(up: Up) -> None:
    """No header of ours, or another host name: a browser sends neither for a foreign page."""
    body = json.dumps({"minutes": 60}).encode()
    before = up.it.cloud.clock.now
    assert up.ask("POST", "/do/skip", body)[0] == 404
    forged = {"Host": "evil.example", "X-SageOps-Playground": "1"}
    assert up.ask("POST", "/do/skip", body, forged)[0] == 403
    assert up.ask("GET", "/state", headers={"Host": "evil.example"})[0] == 403
    assert up.it.cloud.clock.now == before


def test_time_is_skipped_and_wrong_wishes_are_refused(up: Up) -> None:
    before = up.it.cloud.clock.now
    assert up.do("skip", minutes=15) == 200
    assert (up.it.cloud.clock.now - before).total_seconds() == 900
    assert up.do("skip") == 400
    assert up.do("fly") == 400
    assert up.do("train", model="moon") == 400


def test_the_clock_runs_as_fast_as_it_is_told(up: Up) -> None:
    before = up.it.cloud.clock.now
    up.do("speed", speed=600)
    limit = time.perf_counter() + 20
    while up.it.cloud.clock.now == before and time.perf_counter() < limit:
        time.sleep(0.05)  # the clock's own thread moves it
    up.do("speed", speed=0)
    assert up.it.cloud.clock.now > before


def test_what_is_broken_is_mended(up: Up) -> None:
    role = up.it.cloud.lambdas.find("reconcile").role
    up.do("break", fault="target accounts closed")
    state = json.loads(up.ask("GET", "/state")[1])
    assert state["faults"]["target accounts closed"] is True
    assert role
    up.do("mend")
    state = json.loads(up.ask("GET", "/state")[1])
    assert not any(state["faults"].values())


def test_board_and_reports_are_pages(up: Up) -> None:
    assert b"cwdb-no-default-styles" in up.ask("GET", "/board?theme=dark")[1]
    assert b"SageOps playground" in up.ask("GET", "/")[1]
    assert up.ask("GET", "/report/churn/999")[0] == 404
    assert up.ask("GET", "/report/churn/..%2f..")[0] == 404
