"""What went wrong with a call, in the core's words."""

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from sageops.adapters.trouble import code_of, message_of, troubles
from sageops.errors import TroubleError
from sageops.model import Trouble

CALL, ACCOUNT, FIX = "sagemaker:UpdateEndpoint", "333333333333", "Deploy target.yaml there."


def refusal(code: str, message: str = "No.", status: int = 400) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "UpdateEndpoint")  # type: ignore[arg-type]


def trouble(error: Exception) -> Trouble:
    with pytest.raises(TroubleError) as caught, troubles(CALL, ACCOUNT, FIX):
        raise error
    assert caught.value.__cause__ is error
    return caught.value.trouble


@pytest.mark.parametrize(
    "error",
    [
        refusal("ThrottlingException"),
        refusal("Throttling"),
        refusal("TooManyRequestsException", status=429),
        refusal("SlowDown", status=503),
        refusal("InternalFailure", status=500),
        refusal("SomethingNew", status=502),
        refusal("ResourceLimitExceeded"),
        refusal("ConflictException"),
        refusal("ExpiredTokenException"),
        refusal("ValidationException", 'Cannot update in-progress endpoint "churn".'),
        EndpointConnectionError(endpoint_url="https://example.com"),
        ConnectTimeoutError(endpoint_url="https://example.com"),
        ReadTimeoutError(endpoint_url="https://example.com"),
    ],
)
def test_what_passes_is_transient_and_needs_nobody(error: Exception) -> None:
    found = trouble(error)

    assert (found.kind, found.fix) == ("transient", "It is tried again.")


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "403"])
def test_a_denial_names_the_account_the_call_and_the_fix(code: str) -> None:
    found = trouble(refusal(code, "You may not.", 403))

    assert found == Trouble("denied", ACCOUNT, CALL, f"{code}: You may not.", FIX)
    assert found.message == f"{CALL} in account {ACCOUNT}: {code}: You may not. {FIX}"


def test_no_credentials_are_a_denial() -> None:
    assert trouble(NoCredentialsError()).kind == "denied"


@pytest.mark.parametrize(
    "error",
    [
        refusal("NoSuchBucket", status=404),
        refusal("NoSuchKey", status=404),
        refusal("404", "Not Found", 404),
        refusal("ResourceNotFound"),
        refusal("ResourceNotFoundException"),
        refusal("ValidationException", 'Could not find model "churn-v1".'),
    ],
)
def test_what_is_not_there_is_missing(error: ClientError) -> None:
    found = trouble(error)

    assert (found.kind, found.fix) == ("missing", FIX)


@pytest.mark.parametrize(
    "error",
    [
        refusal("ValidationException", "Variant names must not change."),
        refusal("SomethingNew"),
    ],
)
def test_the_rest_is_refused(error: ClientError) -> None:
    found = trouble(error)

    assert (found.kind, found.fix) == ("refused", "")


def test_parameters_that_botocore_refuses_are_refused() -> None:
    assert trouble(ParamValidationError(report="AlarmNames[0]: too short")).kind == "refused"


@pytest.mark.parametrize(
    "code", ["ThrottledException", "RequestThrottled", "ProvisionedThroughputExceededException"]
)
def test_every_code_that_botocore_retries_as_throttling_is_transient(code: str) -> None:
    assert trouble(refusal(code)).kind == "transient"


def test_an_error_without_a_code_is_still_told() -> None:
    error = ClientError({}, "UpdateEndpoint")

    assert code_of(error) == "Unknown"
    assert message_of(error) == str(error)
    assert trouble(error).kind == "refused"


def test_an_error_of_ours_is_not_the_clouds() -> None:
    with pytest.raises(KeyError), troubles(CALL, ACCOUNT, FIX):
        raise KeyError("ours")


def test_no_trouble_no_error() -> None:
    with troubles(CALL, ACCOUNT, FIX):
        pass
