"""`sageops local up`: the embedded cloud to play with, on 127.0.0.1, until it is stopped.

One page shows the board (as CloudWatch would), the mail, the log and the reports, and moves the
clock, sends traffic and breaks things. Whatever is signed for AWS is answered by the embedded cloud
itself (`local.aws_door`), so the command and the AWS CLI work against it.

One thing happens at a time: requests and the clock take turns under one lock.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import ClientError
from sageops.policy import Policy, Stage

from local import aws_door
from local.company import GROUP, HUB, PRODUCTION, REGION, STAGING, Company, Customers
from local.simulator.faults import FleetFailure, throttled

__all__ = ["Playground", "credentials", "is_free", "serving", "strange"]

_PAGE = Path(__file__).with_name("playground.html")
_TICK = 0.25  # real seconds
# Virtual seconds a real second; fast enough that a quarter of an hour's canary can be watched.
SPEEDS = (0, 1, 60, 600)
MODELS: Mapping[str, Mapping[str, str | float]] = {
    "plain": {},
    "better": {"Estimator": "logistic"},
    "flawed": {"Estimator": "logistic", "LogFeatures": "yes"},
}
# A request from another site's page cannot carry it without asking first.
_HEADER = "X-Sageops-Playground"


@dataclass
class Playground:
    """A company, and what a person does to it. `speed` is virtual seconds a real second."""

    it: Company
    speed: float = 60
    lock: threading.RLock = field(default_factory=threading.RLock)
    traffic: dict[str, tuple[int, Customers]] = field(default_factory=dict)
    broken: dict[str, ExitStack] = field(default_factory=dict)

    # --- what is shown --------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that the page shows beside the board."""
        cloud = self.it.cloud
        return {
            "now": f"{cloud.clock.now:%a %Y-%m-%d %H:%M:%S} UTC",
            "speed": self.speed,
            "speeds": SPEEDS,
            "models": list(MODELS),
            "stages": [stage.name for stage in self._stages()],
            "faults": {name: name in self.broken for name in _FAULTS},
            "versions": self._versions(),
            "traffic": {
                stage: {"rate": rate, "answered": who.answered, "failed": who.failed}
                for stage, (rate, who) in self.traffic.items()
            },
            "inbox": [
                {
                    "at": f"{each.at:%a %H:%M}",
                    "subject": each.subject or "",
                    "body": each.body,
                    "severity": each.attributes.get("severity", "alert"),
                }
                for each in reversed(cloud.inbox[-30:])
            ],
            "log": [
                {
                    "at": f"{each.at:%a %H:%M}",
                    "release": f"{each.group}/{each.version or ''}",
                    "stage": each.stage or "",
                    "what": each.what,
                    "why": each.why,
                }
                for each in reversed(self.it.log()[-40:])
            ],
            "reports": self._reports(),
        }

    def board(self, theme: str) -> str:
        """The board's answer to CloudWatch."""
        context = {"widgetContext": {"dashboardName": "sageops", "theme": theme}}
        return str(self._call(self.it.outputs[HUB]["BoardFunctionName"], context))

    def report(self, group: str, version: str) -> bytes | None:
        """A release's report as it lies in the bucket."""
        s3, bucket = self.it.cloud.client("s3"), self.it.outputs[HUB]["ReportBucketName"]
        try:
            found = s3.get_object(Bucket=bucket, Key=f"{group}/{version}/report.html")
        except ClientError:
            return None
        body: bytes = found["Body"].read()
        return body

    def _reports(self) -> list[str]:
        s3, bucket = self.it.cloud.client("s3"), self.it.outputs[HUB]["ReportBucketName"]
        keys = (each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", []))
        return [key.removesuffix("/report.html") for key in keys if key.endswith(".html")]

    def _stages(self) -> tuple[Stage, ...]:
        """Those of the policy in force."""
        spec = self.it.table.group_spec(GROUP)
        pushed = self.it.table.policy(GROUP, spec.policy_version) if spec is not None else None
        return pushed.policy.stages if pushed is not None else ()

    def _versions(self) -> list[dict[str, Any]]:
        pages = self.it.cloud.client("sagemaker").list_model_packages(
            ModelPackageGroupName=GROUP, SortBy="CreationTime", SortOrder="Descending"
        )
        return [
            {
                "version": each["ModelPackageVersion"],
                "approval": each["ModelApprovalStatus"],
                "description": each.get("ModelPackageDescription", ""),
            }
            for each in pages["ModelPackageSummaryList"]
        ]

    # --- what is done ---------------------------------------------------------------------------

    def do(self, what: str, asked: Mapping[str, Any]) -> str:
        """Something that the page asks for; what its popup says. Raises ValueError, KeyError."""
        match what:
            case "press":
                said = str(self._call(asked["endpoint"], asked["parameters"]))
                self.it.wait(seconds=1)
                return said
            case "speed":
                self.speed = float(asked["speed"])
            case "skip":
                self.it.wait(minutes=float(asked["minutes"]))
            case "train":
                self.it.train(**MODELS[asked["model"]])
            case "decide":
                self.it.decide(int(asked["version"]), asked["status"], by="model-owner")
                self.it.wait(seconds=2)
            case "traffic":
                self._send(asked["stage"], int(asked["rate"]))
            case "break":
                self._break(asked["fault"])
            case "mend":
                self.mend()
            case _:
                raise ValueError(f"nothing here does {what!r}")
        return ""

    def _send(self, stage: str, rate: int) -> None:
        if stage in self.traffic:
            self.traffic.pop(stage)[1].stop()
        if rate:
            target = next(each.target for each in self._stages() if each.name == stage)
            who = self.it.customers_of(target.account, target.endpoint, rate)
            self.traffic[stage] = (rate, who)

    def _break(self, fault: str) -> None:
        if fault not in self.broken:
            self.broken[fault] = ExitStack()
            _FAULTS[fault](self.it, self.broken[fault])

    def mend(self) -> None:
        """Nothing more goes wrong."""
        self.it.cloud.simulator.faults.clear()
        for stack in self.broken.values():
            stack.close()
        self.broken.clear()

    def _call(self, function: str, event: Mapping[str, Any]) -> Any:
        answer = self.it.cloud.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(event)
        )
        return json.loads(answer["Payload"].read())

    def tick(self, real_seconds: float) -> None:
        """Let the clock go on by so much real time."""
        if self.speed:
            self.it.wait(seconds=real_seconds * self.speed)


# ---------------------------------------------------------------- what can be broken


def _throttle(it: Company, _: ExitStack) -> None:
    it.cloud.simulator.faults.fail_next("UpdateEndpoint", throttled(), times=20)
    it.cloud.simulator.faults.fail_next("DescribeEndpoint", throttled(), times=20)


def _no_capacity(it: Company, _: ExitStack) -> None:
    it.cloud.simulator.faults.break_fleet(FleetFailure.CAPACITY, times=None)


def _closed(it: Company, stack: ExitStack) -> None:
    role = it.cloud.lambdas.find("reconcile").role
    it.cloud.lambdas.freeze()
    stack.enter_context(it.cloud.deny(role, "sts:AssumeRole"))


def _poison(it: Company, _: ExitStack) -> None:
    it.cloud.client("sqs").send_message(
        QueueUrl=it.outputs[HUB]["QueueUrl"], MessageBody="not a group"
    )


_FAULTS: Mapping[str, Callable[[Company, ExitStack], None]] = {
    "SageMaker throttles": _throttle,
    "no instances to be had": _no_capacity,
    "target accounts closed": _closed,
    "a poison message": _poison,
}


# ---------------------------------------------------------------- what it can be started with


def strange(policy: Policy) -> list[str]:
    """What of a policy there is nothing of here, each with what there is."""
    found = []
    if policy.group != GROUP:
        found.append(
            f"group: {policy.group} has no models here; write {GROUP} to try the rest of it"
        )
    for number, stage in enumerate(policy.stages):
        where = f"stages[{number}].target"
        if stage.target.account not in (STAGING, PRODUCTION):
            here = f'"{STAGING}" and "{PRODUCTION}" are'
            found.append(f"{where}.account: {stage.target.account} is not here; {here}")
        if stage.target.region != REGION:
            found.append(f"{where}.region: {stage.target.region} is not here; {REGION} is")
    return found


def is_free(port: int) -> bool:
    """Whether a playground can answer at that port of 127.0.0.1."""
    with socket.socket() as tried:
        # As the server does: what only waits for its last packets is free.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# ---------------------------------------------------------------- HTTP


def credentials(it: Company, url: str, person: str = "you") -> dict[str, str]:
    """The environment with which `sageops` and `aws` come here, signed in to the hub account."""
    return {
        **it.credentials(person),
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "SAGEOPS_CLOCK": f"{url}/clock",
    }


@contextmanager
def serving(playground: Playground, port: int = 0) -> Iterator[str]:
    """The playground's address, at which it answers; its clock runs. Stops at the end of `with`."""

    class Handler(_Handler):
        ground = playground

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    stopped = threading.Event()

    def run_clock() -> None:
        before = time.perf_counter()
        while not stopped.wait(_TICK):
            now = time.perf_counter()
            with playground.lock:
                playground.tick(now - before)
            before = now

    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})]
    threads.append(threading.Thread(target=run_clock))
    for thread in threads:
        thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        stopped.set()
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    ground: Playground
    # So that a client that waits for `100 Continue` gets it; each connection serves one request.
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def do_HEAD(self) -> None:
        self._handle("HEAD")

    def _handle(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # Their names have no case, and clients write them as they like.
        headers = {name.title(): value for name, value in self.headers.items()}
        if not self._is_ours():
            # A page elsewhere may have had its name resolved to this address.
            self._answer(403, {}, b"only by the address 127.0.0.1")
            return
        with self.ground.lock:
            try:
                if aws_door.is_signed(headers):
                    status, answered, content = aws_door.answer(method, self.path, headers, body)
                else:
                    status, answered, content = self._page(method, headers, body)
            except (KeyError, ValueError) as error:
                status, answered, content = 400, {}, f"{type(error).__name__}: {error}".encode()
        self._answer(status, answered, b"" if method == "HEAD" else content)

    def _is_ours(self) -> bool:
        host = self.headers.get("Host", "").rpartition(":")[0]
        return host in ("127.0.0.1", "localhost")

    def _page(
        self, method: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        html, parts = {"Content-Type": "text/html; charset=utf-8"}, urlsplit(self.path)
        match method, parts.path.strip("/").split("/"):
            case "GET", [""]:
                return 200, html, _PAGE.read_bytes()
            case "GET", ["favicon.ico"]:
                return 204, {}, b""
            case "GET", ["board"]:
                theme = parse_qs(parts.query).get("theme", ["light"])[0]
                return 200, html, self.ground.board(theme).encode()
            case "GET", ["clock"]:
                return 200, {}, self.ground.it.cloud.clock.now.isoformat().encode()
            case "GET", ["state"]:
                found = json.dumps(self.ground.state()).encode()
                return 200, {"Content-Type": "application/json"}, found
            case "GET", ["report", group, version]:
                report = self.ground.report(group, version)
                return (404, {}, b"no such report") if report is None else (200, html, report)
            case "POST", ["do", what] if _HEADER in headers:
                return 200, html, self.ground.do(what, json.loads(body)).encode()
            case _:
                return 404, {}, b"nothing here"

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        # A browser that has gone on to another page takes no answer any more.
        with suppress(ConnectionError):
            self._send(status, headers, content)

    def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the page shows what happens."""
