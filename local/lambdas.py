"""The Lambda runtime: calls handlers as Lambda does, with the role and environment they would have.

Documentation: Lambda developer guide, "Using the Lambda context object to retrieve Python function
information", "How Lambda handles errors and retries with asynchronous invocation", "Capturing
records of Lambda asynchronous invocations".
"""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

from local.clock import Clock
from local.emf import Observation, observations
from local.principals import Principals
from local.sandbox import Sandbox, load

__all__ = [
    "AsynchronousConfig",
    "Context",
    "Function",
    "FunctionError",
    "Invocation",
    "Lambdas",
    "LostFunction",
]

# "Lambda waits one minute before the first retry, and two minutes between the second and third."
_RETRY_DELAYS = (timedelta(minutes=1), timedelta(minutes=2))
# "Lambda terminates execution environments every few hours".
_ENVIRONMENT_LIFETIME = timedelta(hours=6)


@dataclass(frozen=True)
class Function:
    """A deployed function. `timeout` in seconds, `memory` in MB, `maximum_age` in seconds."""

    account: str
    region: str
    name: str
    folder: Path
    handler: str
    role: str
    environment: dict[str, str] = field(default_factory=dict)
    timeout: int = 3
    memory: int = 128
    dead_letter_queue: str | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    @property
    def label(self) -> str:
        """The name of its folder: what tests and people call it."""
        return self.folder.name


@dataclass(frozen=True)
class AsynchronousConfig:
    """`AWS::Lambda::EventInvokeConfig`."""

    maximum_retries: int = 2
    maximum_age: int = 21600
    on_success: str | None = None
    on_failure: str | None = None


@dataclass(frozen=True)
class Invocation:
    """One call. `error` is `ErrorType: message`, or None; `log` is what was printed."""

    function: str
    account: str
    request_id: str
    event: Any
    result: Any
    error: str | None
    log: str
    at: datetime


@dataclass(frozen=True)
class Context:
    """The context object. No virtual time passes inside a call, so what remains is the timeout."""

    function_name: str
    function_version: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    aws_request_id: str
    log_group_name: str
    log_stream_name: str
    timeout: int
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        return self.timeout * 1000


class FunctionError(Exception):
    """A function failed. `payload` is what a synchronous caller gets instead of a result."""

    def __init__(self, request_id: str, payload: dict[str, Any]) -> None:
        super().__init__(f"{payload['errorType']}: {payload['errorMessage']}")
        self.request_id = request_id
        self.payload = payload


class LostFunction(Exception):
    """A test's own failure: the environment is gone (time-out, out of memory) at this point."""


class Destinations(Protocol):
    """Where records of failed calls go."""

    def send(
        self, function: Function, destination: str, body: Any, attributes: dict[str, str]
    ) -> None:
        """Send JSON `body` to a queue, topic, bus or function with the function's own role."""


class _InitialisationError(Exception):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class _Break:
    when: Literal["before", "after"]
    times: int


@dataclass
class Lambdas:
    """Every account's functions, by ARN."""

    clock: Clock
    principals: Principals
    measured: Callable[[Function, Observation], None]
    destinations: Destinations | None = None
    functions: dict[str, Function] = field(default_factory=dict)
    asynchronous: dict[str, AsynchronousConfig] = field(default_factory=dict)
    invocations: list[Invocation] = field(default_factory=list)
    _sandboxes: dict[str, tuple[datetime, Sandbox | None]] = field(default_factory=dict)
    _breaks: dict[str, list[_Break]] = field(default_factory=dict)

    def add(self, function: Function) -> None:
        """Deploy, or deploy again; running environments of the old code are gone."""
        self.functions[function.arn] = function
        self._sandboxes.pop(function.arn, None)

    def find(self, name: str) -> Function:
        """By ARN (with or without qualifier), name or label. Raises `KeyError`."""
        bare = ":".join(name.split(":")[:7])
        for function in self.functions.values():
            if bare == function.arn or name in (function.name, function.label):
                return function
        raise KeyError(f"no function {name}")

    def break_next(
        self, name: str, when: Literal["before", "after"] = "before", times: int = 1
    ) -> None:
        """Lose the environment in the next `times` calls: before the handler ran, or after."""
        self._breaks.setdefault(self.find(name).arn, []).append(_Break(when, times))

    def mend(self, name: str) -> None:
        """Lose no more environments of the function."""
        self._breaks.pop(self.find(name).arn, None)

    def freeze(self) -> None:
        """Forget every execution environment: the next call of each function is a cold start."""
        self._sandboxes.clear()

    def invoke(self, arn: str, event: Any) -> Any:
        """Call synchronously. Returns the result; raises `FunctionError`."""
        return self._attempt(self.find(arn), event, str(uuid4()))

    def invoke_later(self, arn: str, event: Any) -> str:
        """Call asynchronously, with Lambda's retries and destinations. Returns the request id."""
        function, request_id = self.find(arn), str(uuid4())
        frozen = json.dumps(event)
        self.clock.after(
            timedelta(0),
            lambda: self._asynchronous_attempt(function, frozen, request_id, 1, self.clock.now),
        )
        return request_id

    def _asynchronous_attempt(
        self, function: Function, event: str, request_id: str, attempt: int, accepted: datetime
    ) -> None:
        config = self.asynchronous.get(function.arn, AsynchronousConfig())
        try:
            result = self._attempt(function, json.loads(event), request_id)
        except FunctionError as error:
            delay = _RETRY_DELAYS[min(attempt, len(_RETRY_DELAYS)) - 1]
            too_old = self.clock.now + delay - accepted > timedelta(seconds=config.maximum_age)
            if attempt <= config.maximum_retries and not too_old:
                self.clock.after(
                    delay,
                    lambda: self._asynchronous_attempt(
                        function, event, request_id, attempt + 1, accepted
                    ),
                )
                return
            condition = "EventAgeExceeded" if too_old else "RetriesExhausted"
            self._give_up(function, config, event, error, condition, attempt)
        else:
            if config.on_success:
                self._send(
                    function,
                    config.on_success,
                    self._record(function, event, request_id, "Success", attempt, result, None),
                    {},
                )

    def _give_up(  # noqa: PLR0913  # what the record of a failure holds
        self,
        function: Function,
        config: AsynchronousConfig,
        event: str,
        error: FunctionError,
        condition: str,
        attempts: int,
    ) -> None:
        if config.on_failure:
            record = self._record(
                function, event, error.request_id, condition, attempts, error.payload, "Unhandled"
            )
            self._send(function, config.on_failure, record, {})
        if function.dead_letter_queue:
            attributes = {
                "RequestID": error.request_id,
                "ErrorCode": "200",
                "ErrorMessage": error.payload["errorMessage"][:1024],
            }
            self._send(function, function.dead_letter_queue, json.loads(event), attributes)

    def _record(  # noqa: PLR0913  # the documented record of an asynchronous invocation
        self,
        function: Function,
        event: str,
        request_id: str,
        condition: str,
        attempts: int,
        payload: Any,
        error: str | None,
    ) -> dict[str, Any]:
        response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if error:
            response["functionError"] = error
        return {
            "version": "1.0",
            "timestamp": self.clock.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "requestContext": {
                "requestId": request_id,
                "functionArn": f"{function.arn}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": attempts,
            },
            "requestPayload": json.loads(event),
            "responseContext": response,
            "responsePayload": payload,
        }

    def _send(
        self, function: Function, destination: str, body: Any, attributes: dict[str, str]
    ) -> None:
        if self.destinations is None:
            raise RuntimeError("nobody takes the records of failed invocations")
        self.destinations.send(function, destination, body, attributes)

    def _attempt(self, function: Function, event: Any, request_id: str) -> Any:
        # The handler gets JSON of its own: nothing it changes reaches the sender.
        sent = json.dumps(event)
        result, log, failure = self._run(function, sent, request_id)
        payload = None if failure is None else _error_payload(failure)
        self.invocations.append(
            Invocation(
                function=function.label,
                account=function.account,
                request_id=request_id,
                event=json.loads(sent),
                result=None if payload else json.loads(result),
                error=f"{payload['errorType']}: {payload['errorMessage']}" if payload else None,
                log=log,
                at=self.clock.now,
            )
        )
        for observation in (*_counted(function, self.clock.now, payload), *observations(log)):
            self.measured(function, observation)
        if payload is not None:
            raise FunctionError(request_id, payload) from failure
        return json.loads(result)

    def _run(
        self, function: Function, sent: str, request_id: str
    ) -> tuple[str, str, Exception | None]:
        """The result (JSON), the log and the failure of one call."""
        if self._breaks_now(function, "before"):
            return "null", "", self._lost(function, "before")
        try:
            sandbox = self.environment(function)
        except _InitialisationError as error:
            return "null", "", error.cause
        received, context = json.loads(sent), _context(function, request_id)
        result, log, failure = sandbox.call(lambda: _serialised(sandbox.handler(received, context)))
        if failure is None and self._breaks_now(function, "after"):
            failure = self._lost(function, "after")
        return result or "null", log, failure

    def environment(self, function: Function) -> Sandbox:
        """The execution environment of the function's next call, made where there is none. Raises
        `_InitialisationError`."""
        born, sandbox = self._sandboxes.get(function.arn, (self.clock.now, None))
        if sandbox is None or self.clock.now - born >= _ENVIRONMENT_LIFETIME:
            self.principals.check_assumable(function.role, "lambda.amazonaws.com")
            try:
                sandbox = load(function.folder, function.handler, self._variables(function))
            except Exception as error:  # whatever its module raises is the function's error
                raise _InitialisationError(error) from error
            self._sandboxes[function.arn] = (self.clock.now, sandbox)
        return sandbox

    def _variables(self, function: Function) -> dict[str, str]:
        # The session's name is the function's, as in Lambda.
        credentials = self.principals.credentials(function.role, function.name)
        return {
            **function.environment,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_SESSION_TOKEN": credentials.token,
            "AWS_REGION": function.region,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "LAMBDA_TASK_ROOT": str(function.folder),
            "_HANDLER": function.handler,
            # Not of Lambda: moto knows no host names that begin with an account.
            "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        }

    def _breaks_now(self, function: Function, when: str) -> bool:
        for each in self._breaks.get(function.arn, []):
            if each.when == when and each.times:
                each.times -= 1
                return True
        return False

    def _lost(self, function: Function, when: str) -> LostFunction:
        self._sandboxes.pop(function.arn, None)
        return LostFunction(f"the environment was lost {when} the handler ran")


def _counted(function: Function, now: datetime, error: Any) -> tuple[Observation, Observation]:
    """`AWS/Lambda` of one call ("Using CloudWatch metrics with Lambda"). No virtual time passes in
    a call, so there is no `Duration`."""
    of = frozenset({("FunctionName", function.name)})
    errors = 0.0 if error is None else 1.0
    return (
        Observation("AWS/Lambda", "Invocations", of, (1.0,), now, False),
        Observation("AWS/Lambda", "Errors", of, (errors,), now, False),
    )


def _context(function: Function, request_id: str) -> Context:
    return Context(
        function_name=function.name,
        function_version="$LATEST",
        invoked_function_arn=function.arn,
        memory_limit_in_mb=str(function.memory),
        aws_request_id=request_id,
        log_group_name=f"/aws/lambda/{function.name}",
        log_stream_name=f"[$LATEST]{request_id.replace('-', '')}",
        timeout=function.timeout,
    )


def _serialised(result: Any) -> str:
    """The result as Lambda marshals it. Raises `TypeError` for what JSON has no form for."""
    try:
        return json.dumps(result)
    except TypeError as error:
        raise TypeError(f"Runtime.MarshalError: Unable to marshal response: {error}") from None


def _error_payload(error: Exception) -> dict[str, Any]:
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": traceback.format_tb(error.__traceback__),
    }
