"""What went wrong with a call, in the core's words.

The codes are those of the service models' error shapes and of 'Common Error Types' in the
SageMaker API reference.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
)

from sageops.errors import TroubleError
from sageops.model import Trouble

__all__ = ["code_of", "message_of", "troubles"]

_TRANSIENT = frozenset(
    {
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "RequestThrottled",
        "RequestThrottledException",
        "ProvisionedThroughputExceededException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "InternalFailure",
        "InternalError",
        "InternalServerError",
        "InternalServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ExpiredToken",
        "ExpiredTokenException",
        "ConflictException",
        "ResourceInUse",
        "ResourceLimitExceeded",
        # It was finished by a try that was never heard of again, or thrown away: begun anew, or
        # found done.
        "NoSuchUpload",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403"})
_MISSING = frozenset(
    {
        "ImageNotFoundException",
        "NoSuchBucket",
        "NoSuchKey",
        "NotFound",
        "RepositoryNotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "UnableToGetUpstreamImageException",
        "404",
    }
)


def code_of(error: ClientError) -> str:
    """The error code, `ValidationException` for instance."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def message_of(error: ClientError) -> str:
    """What the service said."""
    return str(error.response.get("Error", {}).get("Message", error))


@contextmanager
def troubles(call: str, account: str, fix: str) -> Iterator[None]:
    """Turn whatever the call inside raises into a `TroubleError` that names call and account.

    `fix` is what a person can do where access or the thing itself is missing.
    """
    try:
        yield
    except ClientError as error:
        raise TroubleError(_of_client(error, call, account, fix)) from error
    except NoCredentialsError as error:
        raise TroubleError(Trouble("denied", account, call, f"{error}.", fix)) from error
    except ParamValidationError as error:
        raise TroubleError(Trouble("refused", account, call, f"{error}.", "")) from error
    except (ConnectionError, HTTPClientError, BotoCoreError) as error:
        again = "It is tried again."
        raise TroubleError(Trouble("transient", account, call, f"{error}.", again)) from error


def _of_client(error: ClientError, call: str, account: str, fix: str) -> Trouble:
    code = code_of(error)
    said = f"{code}: {message_of(error)}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if code in _TRANSIENT or status >= 500 or _is_busy(error):
        return Trouble("transient", account, call, said, "It is tried again.")
    if code in _DENIED:
        return Trouble("denied", account, call, said, fix)
    if code in _MISSING or "Could not find" in message_of(error):
        return Trouble("missing", account, call, said, fix)
    return Trouble("refused", account, call, said, "")


def _is_busy(error: ClientError) -> bool:
    """SageMaker says ValidationException when an endpoint cannot be updated *now*."""
    return "Cannot update in-progress endpoint" in message_of(error)
