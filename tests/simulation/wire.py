"""The calls of the functions, one by one: where each fault of a call is injected, and the journal.

Every client of the simulation calls through one `Wire`, so a fault can be asked for by operation
and occurrence ('the 2nd sagemaker:UpdateEndpoint'), before its effect or after it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from local.clock import Clock
from local.simulator.site import Document, ServiceError
from local.simulator.traffic import ModelError
from tests.simulation.story import CallFails

__all__ = ["CHANGES", "Actor", "Call", "Crash", "Credentials", "TransactionCanceled", "Wire"]

T = TypeVar("T")
# Calls of one operation that a run makes, as a rule, at most.
_NEAR = 20

# The operations that change something outside the hub's table and queue.
CHANGES = frozenset(
    {
        "s3:CopyObject",
        "s3:CreateMultipartUpload",
        "s3:UploadPartCopy",
        "s3:CompleteMultipartUpload",
        "s3:AbortMultipartUpload",
        "sagemaker:CreateModelPackageGroup",
        "sagemaker:CreateModelPackage",
        "sagemaker:CreateModel",
        "sagemaker:CreateEndpointConfig",
        "sagemaker:CreateEndpoint",
        "sagemaker:UpdateEndpoint",
        "sagemaker:UpdateEndpointWeightsAndCapacities",
        "sagemaker:DeleteEndpoint",
        "sagemaker:DeleteEndpointConfig",
        "sagemaker:DeleteModel",
        "cloudwatch:DeleteAlarms",
        "sagemaker:UpdateModelPackage",
        "sagemaker:StartPipelineExecution",
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:PutMetricData",
    }
)


class Crash(BaseException):
    """The function is gone in the middle of whatever it did."""


class TransactionCanceled(ClientError):
    """DynamoDB's answer to a transaction that was not written, with one reason for all of it."""

    def __init__(self, reason: str) -> None:
        error = {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"}
        response: Any = {
            "Error": error,
            "ResponseMetadata": {"HTTPStatusCode": 400},
            "CancellationReasons": [{"Code": reason}],
        }
        super().__init__(response, "TransactWriteItems")


@dataclass(frozen=True)
class Credentials:
    """A session in a target account, as AssumeRole was asked for it."""

    account: str
    session_name: str
    source_identity: str
    tags: tuple[tuple[str, str], ...]
    expires: datetime


class Actor(Protocol):
    """Who makes a call: a run of a function. `began` is when it was started."""

    name: str
    began: datetime

    @property
    def may_pause(self) -> bool:
        """Whether it can stand still."""

    def pause(self, span: timedelta) -> None:
        """Let the world go on for that long. Raises `Crash` when the function's time is over."""


@dataclass(frozen=True)
class Call:
    """One call that reached its service. `error` is the service's refusal, empty when it had its
    effect; `again` when botocore had sent it once before and never heard of it."""

    at: datetime
    actor: str
    began: datetime
    operation: str
    account: str
    region: str
    parameters: Document
    credentials: Credentials | None
    error: str = ""
    again: bool = False
    # The endpoint's status before the call, for calls that are about one.
    status: str = ""


@dataclass
class Wire:
    """What lies between the functions and the services."""

    clock: Clock
    fails: dict[tuple[str, int], CallFails]
    injected: Counter[str]
    # Operations refused for now, and how often each has been asked for.
    denied: dict[str, datetime] = field(default_factory=dict)
    down_until: datetime | None = None
    revoked_before: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)
    journal: list[Call] = field(default_factory=list)
    actor: Actor | None = None
    # Of an endpoint: its status.
    status: Callable[[str, str, str], str] = lambda account, region, name: ""

    @property
    def may_stall(self) -> bool:
        """Whether a run that begins now may come to a call that is to stand still."""
        return any(
            fault.how == "stall" and occurrence - self.counts[operation] <= _NEAR
            for (operation, occurrence), fault in self.fails.items()
        )

    @property
    def is_down(self) -> bool:
        return self.down_until is not None and self.clock.now < self.down_until

    def call(
        self,
        operation: str,
        account: str,
        region: str,
        parameters: Document,
        do: Callable[[], T],
        credentials: Credentials | None = None,
    ) -> T:
        """Make one call. Raises what boto3 would, and `Crash`."""
        if self.actor is None:
            # A person, or the world itself: nothing is injected, nothing is journalled.
            return self._done(operation, do)
        self.counts[operation] += 1
        fault = self.fails.pop((operation, self.counts[operation]), None)
        if fault is not None and fault.how == "stall" and not self.actor.may_pause:
            # Only a run that was begun near its moment stands still; the next one will be.
            self.fails[operation, self.counts[operation] + 1] = fault
            fault = None
        if fault is not None:
            self._hit(f"{fault.how}", operation)
            self._before(fault, operation)
        self._refused(operation, credentials)
        if fault is None and operation not in CHANGES:
            # Most calls only read, or concern the hub's table and queue: nobody asks for them.
            return self._done(operation, do)
        send = self._sent(operation, account, region, parameters, do, credentials)
        if fault is not None and fault.how == "answer lost and sent again":
            # The client's own retry: what the service says to the second try is the answer.
            try:
                send(False)
            except ClientError:
                pass
            return send(True)
        answer = send(False)
        if fault is not None:
            self._after(fault, operation)
        return answer

    def _sent(
        self,
        operation: str,
        account: str,
        region: str,
        parameters: Document,
        do: Callable[[], T],
        credentials: Credentials | None,
    ) -> Callable[[bool], T]:
        if operation not in CHANGES:
            return lambda again: self._done(operation, do)
        actor = self.actor
        assert actor is not None

        def send(again: bool) -> T:
            status = ""
            if "EndpointName" in parameters:
                status = self.status(account, region, parameters["EndpointName"])
            error = ""
            try:
                return self._done(operation, do)
            except ClientError as refused:
                error = str(refused.response["Error"]["Message"])
                raise
            finally:
                call = Call(
                    self.clock.now,
                    actor.name,
                    actor.began,
                    operation,
                    account,
                    region,
                    parameters,
                    credentials,
                    error,
                    again,
                    status,
                )
                self.journal.append(call)

        return send

    def _done(self, operation: str, do: Callable[[], T]) -> T:
        try:
            return do()
        except ServiceError as error:
            raise _refusal(error, operation) from error

    def _hit(self, what: str, operation: str) -> None:
        self.injected[what] += 1
        self.injected[f"{what}: {operation}"] += 1

    def _before(self, fault: CallFails, operation: str) -> None:
        match fault.how:
            case "crash before":
                raise Crash
            case "stall":
                assert self.actor is not None
                self.actor.pause(timedelta(seconds=fault.seconds))
            case "request lost":
                raise ReadTimeoutError(endpoint_url=operation)
            case "throttled":
                code = "SlowDown" if operation.startswith("s3:") else "ThrottlingException"
                raise _client_error(code, "Rate exceeded", operation, 400)
            case "server error":
                raise _client_error("InternalFailure", "Something went wrong.", operation, 500)
            case "unavailable":
                raise _client_error("ServiceUnavailable", "Come back later.", operation, 503)
            case "write conflict":
                raise TransactionCanceled("TransactionConflict")
            case "denied":
                until = self.clock.now + timedelta(seconds=fault.seconds)
                self.denied[operation] = until

    def _after(self, fault: CallFails, operation: str) -> None:
        match fault.how:
            case "crash after":
                raise Crash
            case "answer lost":
                raise ReadTimeoutError(endpoint_url=operation)

    def _refused(self, operation: str, credentials: Credentials | None) -> None:
        if self.is_down:
            self.injected["region down"] += 1
            raise EndpointConnectionError(endpoint_url=operation)
        until = self.denied.get(operation)
        if until is not None and self.clock.now < until:
            message = f"not authorized to perform: {operation}"
            raise _client_error("AccessDenied", message, operation, 403)
        if credentials is None:
            return
        revoked = self.revoked_before is not None and credentials.expires < (
            self.revoked_before + timedelta(hours=1)
        )
        if revoked:
            self._hit("credentials revoked", operation)
        if revoked or self.clock.now >= credentials.expires:
            message = "The security token included in the request is expired"
            raise _client_error("ExpiredTokenException", message, operation, 403)


def _refusal(error: ServiceError, operation: str) -> ClientError:
    """A service's refusal as boto3 raises it."""
    raised = _client_error(error.code, error.message, operation, error.status)
    if isinstance(error, ModelError):
        answer: Any = raised.response
        answer["OriginalStatusCode"] = error.original_status
    return raised


def _client_error(code: str, message: str, operation: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation.partition(":")[2])
