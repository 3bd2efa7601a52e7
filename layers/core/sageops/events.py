"""What an event is about. An event never says what to do, only which resource to look at.

Envelope: EventBridge's `version id detail-type source account time region resources detail`;
details: 'Events that Amazon SageMaker sends to EventBridge' and 'Alarm events and EventBridge'.
Times are not read: a level-triggered look does not care when, and SageMaker writes them in
three forms. What is read becomes a key of the table and lines of the log, so it must have the form
that AWS gives it.
"""

import re
from typing import Literal

import msgspec
from msgspec import Struct, field

from sageops.names import endpoint_of_alarm

__all__ = ["Cause", "Malformed", "Resource", "parse"]

Kind = Literal["group", "pipeline", "endpoint", "alarm"]

# botocore's shapes EntityName, EndpointName and PipelineName; an alarm's is any 255 characters.
_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
_NAMES: dict[Kind, str] = {
    "group": _NAME,
    "pipeline": r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}",
    "endpoint": _NAME,
    # Half a surrogate pair can come in JSON, and can be no key of a table.
    "alarm": r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}",
}
_ACCOUNT, _REGION = r"[0-9]{12}", r"[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}"
_ID = r"[\x21-\x7e]{1,128}"
# So much of what is wrong is shown.
_SHOWN = 80


class Malformed(Exception):
    """An envelope that cannot be understood; the message says which part."""


class Resource(Struct, frozen=True):
    """Something that belongs to a model group. `account` and `region` are where it lives."""

    kind: Kind
    account: str
    region: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.kind}#{self.account}#{self.region}#{self.name}"


class Cause(Struct, frozen=True):
    """Why a group is looked at, for the log."""

    id: str
    detail_type: str = field(name="detail-type")


class _Detail(Struct, frozen=True):
    """The keys of the four details that name the resource; everything else is ignored."""

    group: str | None = field(default=None, name="ModelPackageGroupName")
    endpoint: str | None = field(default=None, name="EndpointName")
    pipeline_arn: str | None = field(default=None, name="pipelineArn")
    alarm: str | None = field(default=None, name="alarmName")


class _Envelope(Struct, frozen=True):
    id: str
    source: str
    account: str
    region: str
    detail_type: str = field(name="detail-type")
    detail: _Detail


def parse(envelope: object) -> tuple[Cause, Resource]:
    """The cause and the resource of one event as EventBridge hands it to a function.

    Raises `Malformed`: not an envelope, a detail-type that no rule of ours asks for, a source
    that does not go with it, or no resource named.
    """
    try:
        event = msgspec.convert(envelope, _Envelope)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise Malformed(f"not an event envelope: {_shown(str(error))}") from None
    forms = (("id", event.id, _ID), ("account", event.account, _ACCOUNT))
    for what, value, form in (*forms, ("region", event.region, _REGION)):
        _check(what, value, form)
    cause = Cause(event.id, event.detail_type)
    return cause, _resource(event)


def _check(what: str, value: str, form: str) -> None:
    if re.fullmatch(form, value) is None:
        raise Malformed(f"{_shown(value)} is no {what}")


def _shown(value: str) -> str:
    text = ascii(value[:_SHOWN])
    return text if len(text) <= _SHOWN + 2 else f"{text[:_SHOWN]}..."


def _resource(event: _Envelope) -> Resource:
    detail = event.detail
    kind: Kind
    match event.source, event.detail_type:
        case "aws.sagemaker", "SageMaker Model Package State Change":
            kind, name = "group", detail.group
        case "aws.sagemaker", "SageMaker Model Building Pipeline Execution Status Change":
            kind, name = "pipeline", (detail.pipeline_arn or "").rpartition("/")[2]
        case "aws.sagemaker", (
            "SageMaker Endpoint State Change" | "SageMaker Endpoint Deployment State Change"
        ):
            kind, name = "endpoint", detail.endpoint
        case "aws.cloudwatch", "CloudWatch Alarm State Change":
            # An alarm of ours names its endpoint, which is what it is about.
            endpoint = endpoint_of_alarm(detail.alarm or "")
            kind, name = ("endpoint", endpoint) if endpoint else ("alarm", detail.alarm)
        case _:
            said = f"{_shown(event.detail_type)} from {_shown(event.source)}"
            raise Malformed(f"{said} is no event of ours")
    if not name:
        raise Malformed(f"{event.detail_type!r} names no {kind}")
    _check(f"name of a {kind}", name, _NAMES[kind])
    return Resource(kind, event.account, event.region, name)
