"""Failures on demand: of a call, of an answer on its way back, of a fleet of instances."""

from dataclasses import dataclass, field
from enum import Enum

from local.simulator.site import ServiceError, Site

__all__ = [
    "AnswerLost",
    "Faults",
    "FleetFailure",
    "attach",
    "denied",
    "faults_of",
    "internal",
    "not_simulated",
    "throttled",
]

_KEY = "faults"


class AnswerLost(ServiceError):
    """The call took effect and its answer never arrived.

    The direct door raises this; the boto3 door turns it into botocore's `ReadTimeoutError`, which
    botocore's own retries then meet as they would meet the real one.
    """

    def __init__(self, operation: str) -> None:
        super().__init__("RequestTimeout", f"no answer to {operation} arrived in time", 408)


def throttled() -> ServiceError:
    """Common error `ThrottlingException` (API reference, 'Common Errors')."""
    return ServiceError("ThrottlingException", "Rate exceeded", 400)


def internal() -> ServiceError:
    """Common error `InternalFailure` (API reference, 'Common Errors')."""
    message = "The request processing has failed because of an unknown error, exception or failure."
    return ServiceError("InternalFailure", message, 500)


def denied(caller: str, operation: str, resource: str) -> ServiceError:
    """Common error `AccessDeniedException`, in the words of an identity-based policy's denial."""
    message = (
        f"User: {caller} is not authorized to perform: sagemaker:{operation} on resource: "
        f"{resource} because no identity-based policy allows the sagemaker:{operation} action"
    )
    return ServiceError("AccessDeniedException", message, 400)


def not_simulated(what: str) -> ServiceError:
    """What the real service does and this simulator does not: never answered by guessing."""
    return ServiceError("NotImplemented", f"the SageMaker simulator does not simulate {what}", 501)


class FleetFailure(Enum):
    """Why instances do not come into service; the value is the `FailureReason`.

    Wording: endpoint failures quoted in public issue threads and the troubleshooting pages;
    `{variant}` is filled in. `SERVICE` is the retryable prefix that the ACK controller for
    SageMaker looks for. `NEVER_ENDS` has no reason: the instances just never arrive.
    """

    CAPACITY = (
        "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity "
        "error. Please retry using a different ML instance type or after some time."
    )
    IMAGE = (
        "Please make sure all images included in the model for the production variant {variant} "
        "exist, and that the execution role used to create the model has permissions to access "
        "them."
    )
    HEALTH_CHECK = (
        "The primary container for production variant {variant} did not pass the ping health "
        "check. Please check CloudWatch logs for this endpoint."
    )
    SERVICE = (
        "Request to service failed. If failure persists after retry, contact customer support."
    )
    NEVER_ENDS = ""


@dataclass
class _CallFault:
    operation: str
    error: ServiceError
    account: str | None
    after: bool
    times: int


@dataclass
class _FleetFault:
    failure: FleetFailure
    account: str | None
    endpoint: str | None
    config: str | None
    times: int | None


@dataclass
class Faults:
    """What is to go wrong, in the order it was asked for."""

    _calls: list[_CallFault] = field(default_factory=list)
    _fleets: list[_FleetFault] = field(default_factory=list)

    def fail_next(
        self, operation: str, error: ServiceError, *, times: int = 1, account: str | None = None
    ) -> None:
        """The next `times` calls of the operation answer `error` and have no effect.

        `operation` is an API operation or `InvokeEndpoint`; `account` None means any account.
        """
        self._calls.append(_CallFault(operation, error, account, after=False, times=times))

    def timeout_after(self, operation: str, *, times: int = 1, account: str | None = None) -> None:
        """The next `times` calls of the operation take effect, and the caller never hears of it."""
        lost = AnswerLost(operation)
        self._calls.append(_CallFault(operation, lost, account, after=True, times=times))

    def break_fleet(
        self,
        failure: FleetFailure,
        *,
        account: str | None = None,
        endpoint: str | None = None,
        config: str | None = None,
        times: int | None = 1,
    ) -> None:
        """The next `times` fleets (None: every one) of this endpoint or configuration fail.

        A rolling update starts a fleet for each of its batches, and one for each batch of its
        rollback, on the old configuration.
        """
        self._fleets.append(_FleetFault(failure, account, endpoint, config, times))

    def clear(self) -> None:
        """Nothing more goes wrong."""
        self._calls.clear()
        self._fleets.clear()

    def before(self, account: str, operation: str) -> None:
        """Raise what the call is to answer instead of doing anything."""
        self._raise(account, operation, after=False)

    def after(self, account: str, operation: str) -> None:
        """Raise what the call is to answer after it took effect."""
        self._raise(account, operation, after=True)

    def _raise(self, account: str, operation: str, *, after: bool) -> None:
        for fault in self._calls:
            if fault.operation != operation or fault.after != after:
                continue
            if fault.account in (None, account):
                fault.times -= 1
                if fault.times <= 0:
                    self._calls.remove(fault)
                raise fault.error

    def fleet_failure(self, account: str, endpoint: str, config: str) -> FleetFailure | None:
        """How the fleet that is being started now will fail; None when it will not."""
        for fault in self._fleets:
            if (
                fault.account in (None, account)
                and fault.endpoint in (None, endpoint)
                and fault.config in (None, config)
            ):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._fleets.remove(fault)
                return fault.failure
        return None


def attach(site: Site, faults: Faults) -> None:
    """Let these faults be the site's."""
    site.state[_KEY] = faults


def faults_of(site: Site) -> Faults:
    """The faults of the simulator that this site belongs to."""
    faults: Faults = site.state[_KEY]
    return faults
