"""The boto3 door: moto hands every SageMaker request that it receives to the simulator.

moto stays what finds out who calls (account, Region, identity of the access key); its own SageMaker
answers nothing any more, so an operation that the simulator lacks is an error that names it.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ReadTimeoutError
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto.sts.models import sts_backends
from werkzeug.exceptions import HTTPException

from local.simulator import validation
from local.simulator.faults import AnswerLost, not_simulated
from local.simulator.service import Simulator
from local.simulator.site import ServiceError
from local.simulator.traffic import ModelError

__all__ = ["install", "uninstall"]

# Their methods are replaced while the plug-in is installed, which their types do not allow for.
_CONTROL: Any = SageMakerResponse
_RUNTIME: Any = SageMakerRuntimeResponse

# Status, headers, body: what moto's dispatchers return.
_Response = tuple[int, dict[str, str], str | bytes]


def install(simulator: Simulator) -> None:
    """Let the simulator answer SageMaker and SageMaker Runtime, for as long as moto mocks them."""
    _CONTROL.call_action = _answering(simulator, _control)
    _CONTROL.parse_parameters = _unparsed
    _RUNTIME.call_action = _answering(simulator, _runtime)
    # moto would decode a request's body as text; a payload may be anything.
    _RUNTIME.use_raw_body = True


def uninstall() -> None:
    """Give both services back to moto."""
    for patched in (_CONTROL, _RUNTIME):
        for name in ("call_action", "parse_parameters", "use_raw_body"):
            if name in vars(patched):
                delattr(patched, name)


def _unparsed(request: Any, http_request: Any) -> None:
    """moto parses before it asks who answers, and fails on what the simulator is to refuse."""


def _answering(
    simulator: Simulator, answer: Callable[[Simulator, Any], _Response]
) -> Callable[[Any], _Response]:
    """A moto `call_action`, with the checks that moto makes before each of its own."""

    def call_action(request: Any) -> _Response:
        try:
            request._authenticate_and_authorize_normal_action("*")
            status, headers, body = answer(simulator, request)
        except HTTPException as refused:
            status, headers, body = refused.code or 403, {}, str(refused.description)
        except AnswerLost as lost:
            # botocore takes it for its own client's timeout, and retries.
            raise ReadTimeoutError(endpoint_url=request.uri) from lost
        except ServiceError as error:
            status, headers, body = _refusal(error)
        return status, {**request.response_headers, **headers}, body

    return call_action


def _control(simulator: Simulator, request: Any) -> _Response:
    """AWS JSON 1.1: the operation is in `X-Amz-Target`, the parameters are the body."""
    operation = request._get_action()
    parameters = json.loads(request.body or "{}")
    shape = validation.input_shape(operation)
    if shape is not None:
        parameters = validation.typed(shape, parameters)
    account, region = request.current_account, request.region
    answer = simulator.call(account, region, operation, parameters, caller=_caller(request))
    body = json.dumps(answer, default=_epoch)
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, body


def _runtime(simulator: Simulator, request: Any) -> _Response:
    """AWS REST JSON: the endpoint is in the path, the payload is the body."""
    _, _, endpoint, action = request.path.split("/", 3)
    if action != "invocations":
        raise not_simulated(f"{action} of the SageMaker runtime")
    headers = request.headers
    inference = simulator.invoke(
        request.current_account,
        request.region,
        unquote(endpoint),
        request.raw_body,
        headers.get("Content-Type") or "application/json",
        headers.get("Accept") or "*/*",
        headers.get("X-Amzn-SageMaker-Target-Variant"),
    )
    answered = {
        "Content-Type": inference.content_type,
        "x-Amzn-Invoked-Production-Variant": inference.variant,
    }
    return 200, answered, inference.body


def _caller(request: Any) -> str:
    """The ARN that moto's STS would name in GetCallerIdentity."""
    backend = sts_backends[request.current_account][request.partition]
    _, arn, _ = backend.get_caller_identity(request.get_access_key(), request.region)
    return str(arn)


def _refusal(error: ServiceError) -> _Response:
    """An error in the form of both protocols: `__type` for one, the header for the other."""
    content: dict[str, object] = {"__type": error.code, "message": error.message}
    if isinstance(error, ModelError):
        content |= {
            "OriginalStatusCode": error.original_status,
            "OriginalMessage": error.original_message,
            "LogStreamArn": error.log_stream_arn,
        }
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
    return error.status, headers, json.dumps(content)


def _epoch(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} is not part of any SageMaker answer")
