"""The clients that the adapters are given: boto3's methods, answered in memory.

Names, parameters and answers are boto3's; SageMaker's answers are the simulator's. Whatever goes
wrong on the way is the `Wire`'s affair.
"""

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sageops.adapters import artifacts

from local.simulator.registry import image_digest
from local.simulator.service import Simulator
from local.simulator.site import Document, ServiceError
from tests.simulation.cloudwatch import CloudWatch
from tests.simulation.dynamodb import Client as DynamoDb
from tests.simulation.dynamodb import Items
from tests.simulation.wire import Credentials, Wire

__all__ = [
    "PART",
    "Bucket",
    "Services",
    "Session",
    "parts_are_small",
    "small_parts",
    "sums_of_parts",
]

_SESSION_LASTS = timedelta(hours=1)
# How long ECR takes to copy an image from the hub's registry.
_PULL_TAKES = timedelta(seconds=90)
_PERIOD = 60
# Bytes of a part. An artefact of more is copied in parts, two at each step.
PART = 32
# Of a series in one page of GetMetricData; CloudWatch's own limit is of all series together.
_ONE_PAGE = 30


@contextmanager
def small_parts() -> Iterator[None]:
    """Artefacts of few bytes are large ones, and their parts are copied in order, one after the
    other: threads take turns as they like, and a world is to be the same each time."""

    def in_order(copied: Any, numbers: Any) -> Any:
        return dict(map(copied, numbers))

    with patch.multiple(artifacts, _PART=PART, _IN_ONE_CALL=2, _at_once=in_order):
        yield


def parts_are_small() -> bool:
    """Whether `small_parts` is in force, as every world wants it."""
    return artifacts._PART == PART


@dataclass
class Upload:
    """An upload that is not finished: what it is to be, and the parts that are there."""

    name: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Bucket:
    """All of S3: the objects by `bucket/key`, and the uploads that are not finished. Some objects
    carry the SHA-256 that S3 states; `made_of` says how many parts those have that are made of
    them."""

    objects: dict[str, bytes] = field(default_factory=dict)
    stated: set[str] = field(default_factory=set)
    made_of: dict[str, int] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    begun: int = 0

    def put(self, name: str, body: bytes, stated: bool, parts: int = 0) -> None:
        self.objects[name] = body
        (self.stated.add if stated else self.stated.discard)(name)
        self.made_of[name] = parts

    def get(self, name: str) -> bytes:
        if name not in self.objects:
            raise ServiceError("NoSuchKey", "The specified key does not exist.", 404)
        return self.objects[name]

    def etag(self, name: str) -> str:
        return f'"{hashlib.md5(self.get(name), usedforsecurity=False).hexdigest()}"'

    def checksum(self, name: str) -> dict[str, str]:
        if name not in self.stated:
            return {}
        if not self.made_of[name]:
            return {"ChecksumSHA256": sum_of(self.objects[name])}
        return {
            "ChecksumSHA256": f"{sum_of(sums_of_parts(self.objects[name]))}-{self.made_of[name]}",
            "ChecksumType": "COMPOSITE",
        }

    def upload(self, upload_id: str) -> Upload:
        if upload_id not in self.uploads:
            raise ServiceError("NoSuchUpload", "The specified upload does not exist.", 404)
        return self.uploads[upload_id]


def sum_of(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def sums_of_parts(body: bytes) -> bytes:
    """The SHA-256s of an object's parts, one after the other."""
    parts = (body[begin : begin + PART] for begin in range(0, len(body), PART))
    return b"".join(hashlib.sha256(part).digest() for part in parts)


@dataclass
class Services:
    """Everything that a client may reach."""

    wire: Wire
    simulator: Simulator
    cloudwatch: CloudWatch
    bucket: Bucket
    items: Items
    send: Any
    hub: str
    region: str
    sessions: dict[str, Credentials] = field(default_factory=dict)
    # From when on a registry (account, Region, repository) has a digest of the hub's.
    pulled: dict[tuple[str, str, str, str], datetime] = field(default_factory=dict)


class Session:
    """`boto3.Session` of a function's own role in the hub."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def client(self, service: str, **given: Any) -> Any:
        """A client, with the credentials of a target's session where they are given."""
        services = self._services
        region = given.get("region_name", services.region)
        credentials = services.sessions.get(given.get("aws_session_token", ""))
        account = services.hub if credentials is None else credentials.account
        match service:
            case "dynamodb":
                return DynamoDb(services.wire, services.items, account, region)
            case "sagemaker":
                return _SageMaker(services, account, region, credentials)
            case "sagemaker-runtime":
                return _Runtime(services, account, region, credentials)
            case "s3":
                return _S3(services, account, region, credentials)
            case "cloudwatch":
                return _Metrics(services, account, region, credentials)
            case "sts":
                return _Sts(services, account, region, credentials)
            case "ecr":
                return _Ecr(services, account, region, credentials)
            case "sqs":
                return _Sqs(services, account, region, credentials)
            case _:
                raise AssertionError(f"the simulation has no {service}")


@dataclass
class _Client:
    services: Services
    account: str
    region: str
    credentials: Credentials | None

    def _call(self, operation: str, parameters: Document, do: Any) -> Any:
        return self.services.wire.call(
            operation, self.account, self.region, parameters, do, self.credentials
        )


_CAMEL = re.compile(r"(?:^|_)([a-z])")


@cache
def _operation_of(method: str) -> str:
    """`DescribeEndpoint` of `describe_endpoint`."""
    return _CAMEL.sub(lambda match: match[1].upper(), method)


@dataclass
class _SageMaker(_Client):
    """Every operation of the simulator under boto3's name for it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        operation = _operation_of(name)

        def method(**parameters: Any) -> Any:
            return self._operation(operation, parameters)

        return method

    def _operation(self, operation: str, parameters: Document) -> Any:
        who = self.credentials.session_name if self.credentials is not None else "sageops-reconcile"
        caller = f"arn:aws:sts::{self.account}:assumed-role/sageops/{who}"

        def do() -> Document:
            return self.services.simulator.call(
                self.account, self.region, operation, parameters, caller
            )

        return self._call(f"sagemaker:{operation}", parameters, do)

    def get_paginator(self, operation: str) -> Any:
        method = getattr(self, operation)

        def paginate(**parameters: Any) -> Iterator[Any]:
            page = method(**parameters)
            yield page
            while "NextToken" in page:
                page = method(**parameters, NextToken=page["NextToken"])
                yield page

        return SimpleNamespace(paginate=paginate)


@dataclass
class _Runtime(_Client):
    def invoke_endpoint(self, **parameters: Any) -> Any:
        def do() -> Any:
            inference = self.services.simulator.invoke(
                self.account,
                self.region,
                parameters["EndpointName"],
                parameters["Body"],
                parameters["ContentType"],
                variant=parameters.get("TargetVariant"),
            )
            return {"Body": io.BytesIO(inference.body)}

        return self._call("sagemaker:InvokeEndpoint", {}, do)


@dataclass
class _S3(_Client):
    def head_object(self, **parameters: Any) -> Any:
        name = f"{parameters['Bucket']}/{parameters['Key']}"

        def do() -> Any:
            bucket = self.services.bucket
            if name not in bucket.objects:
                raise ServiceError("404", "Not Found", 404)
            size = len(bucket.objects[name])
            return {"ETag": bucket.etag(name), "ContentLength": size, **bucket.checksum(name)}

        return self._call("s3:HeadObject", parameters, do)

    def get_object(self, **parameters: Any) -> Any:
        name = f"{parameters['Bucket']}/{parameters['Key']}"

        def do() -> Any:
            body = self.services.bucket.get(name)
            self._check(parameters.get("IfMatch"), name)
            return {"Body": io.BytesIO(body), "ContentLength": len(body)}

        return self._call("s3:GetObject", parameters, do)

    def copy_object(self, **parameters: Any) -> Any:
        source = f"{parameters['CopySource']['Bucket']}/{parameters['CopySource']['Key']}"
        name = f"{parameters['Bucket']}/{parameters['Key']}"

        def do() -> Any:
            bucket = self.services.bucket
            body = bucket.get(source)
            self._check(parameters.get("CopySourceIfMatch"), source)
            bucket.put(name, body, stated=parameters.get("ChecksumAlgorithm") == "SHA256")
            return {"CopyObjectResult": {"ETag": bucket.etag(name), **bucket.checksum(name)}}

        return self._call("s3:CopyObject", parameters, do)

    def create_multipart_upload(self, **parameters: Any) -> Any:
        def do() -> Any:
            bucket = self.services.bucket
            bucket.begun += 1
            upload = f"upload-{bucket.begun}"
            bucket.uploads[upload] = Upload(f"{parameters['Bucket']}/{parameters['Key']}")
            return {"UploadId": upload}

        return self._call("s3:CreateMultipartUpload", parameters, do)

    def list_multipart_uploads(self, **parameters: Any) -> Any:
        begins = f"{parameters['Bucket']}/{parameters['Prefix']}"

        def do() -> Any:
            found = self.services.bucket.uploads.items()
            keys = ((name, each.name) for name, each in found if each.name.startswith(begins))
            return {
                "Uploads": [
                    {"UploadId": upload, "Key": name.partition("/")[2]} for upload, name in keys
                ]
            }

        return self._call("s3:ListMultipartUploads", parameters, do)

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_parts"

        def paginate(**parameters: Any) -> Iterator[Any]:
            def do() -> Any:
                held = self.services.bucket.upload(parameters["UploadId"]).parts
                return {
                    "Parts": [_told_part(body, PartNumber=number) for number, body in held.items()]
                }

            yield self._call("s3:ListParts", parameters, do)

        return SimpleNamespace(paginate=paginate)

    def upload_part_copy(self, **parameters: Any) -> Any:
        source = f"{parameters['CopySource']['Bucket']}/{parameters['CopySource']['Key']}"
        begin, _, end = parameters["CopySourceRange"].removeprefix("bytes=").partition("-")

        def do() -> Any:
            body = self.services.bucket.get(source)
            self._check(parameters["CopySourceIfMatch"], source)
            part = body[int(begin) : int(end) + 1]
            upload = self.services.bucket.upload(parameters["UploadId"])
            upload.parts[parameters["PartNumber"]] = part
            return {"CopyPartResult": _told_part(part)}

        return self._call("s3:UploadPartCopy", parameters, do)

    def complete_multipart_upload(self, **parameters: Any) -> Any:
        def do() -> Any:
            bucket = self.services.bucket
            upload = bucket.upload(parameters["UploadId"])
            said = parameters["MultipartUpload"]["Parts"]
            held = [
                _told_part(body, PartNumber=number) for number, body in sorted(upload.parts.items())
            ]
            if said != held:
                raise ServiceError("InvalidPart", "One or more parts could not be found.", 400)
            body = b"".join(body for _, body in sorted(upload.parts.items()))
            bucket.put(upload.name, body, stated=True, parts=len(upload.parts))
            del bucket.uploads[parameters["UploadId"]]
            return {}

        return self._call("s3:CompleteMultipartUpload", parameters, do)

    def abort_multipart_upload(self, **parameters: Any) -> Any:
        def do() -> Any:
            self.services.bucket.upload(parameters["UploadId"])
            del self.services.bucket.uploads[parameters["UploadId"]]

        return self._call("s3:AbortMultipartUpload", parameters, do)

    def _check(self, etag: str | None, name: str) -> None:
        if etag not in (None, self.services.bucket.etag(name)):
            message = "At least one of the pre-conditions you specified did not hold"
            raise ServiceError("PreconditionFailed", message, 412)


def _told_part(body: bytes, **more: Any) -> Document:
    etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
    return {**more, "ETag": etag, "ChecksumSHA256": sum_of(body)}


@dataclass
class _Metrics(_Client):
    def put_metric_alarm(self, **parameters: Any) -> Any:
        name = parameters["AlarmName"]
        queries = parameters.get("Metrics", ())
        metrics = [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]
        [(config, variant)] = {_arm(each["Dimensions"]) for each in metrics or [parameters]}

        def do() -> None:
            self.services.cloudwatch.put(self.account, self.region, name, config, variant)

        return self._call("cloudwatch:PutMetricAlarm", parameters, do)

    def describe_alarms(self, **parameters: Any) -> Any:
        def do() -> Any:
            cloudwatch = self.services.cloudwatch
            names = parameters.get("AlarmNames")
            if names is None:
                prefix = parameters["AlarmNamePrefix"]
                names = cloudwatch.begin_with(self.account, self.region, prefix)
            return cloudwatch.describe(self.account, self.region, names)

        return self._call("cloudwatch:DescribeAlarms", parameters, do)

    def delete_alarms(self, **parameters: Any) -> Any:
        def do() -> None:
            self.services.cloudwatch.delete(self.account, self.region, parameters["AlarmNames"])

        return self._call("cloudwatch:DeleteAlarms", parameters, do)

    def put_metric_data(self, **parameters: Any) -> Any:
        [datum] = parameters["MetricData"]

        def do() -> None:
            config, _ = _arm(datum["Dimensions"])
            self.services.cloudwatch.signal(self.account, self.region, config)

        return self._call("cloudwatch:PutMetricData", parameters, do)

    def get_paginator(self, operation: str) -> Any:
        assert operation == "get_metric_data"

        def paginate(**parameters: Any) -> Iterator[Any]:
            span = (parameters["StartTime"], parameters["EndTime"])
            results = [self._result(query, span) for query in parameters["MetricDataQueries"]]
            for page in _pages(results):
                yield self._call("cloudwatch:GetMetricData", parameters, page.copy)

        return SimpleNamespace(paginate=paginate)

    def _result(self, query: Document, span: tuple[datetime, datetime]) -> Document:
        asked = query["MetricStat"]
        if asked["Period"] != _PERIOD:
            raise AssertionError(f"the simulation's figures are by the minute, not {asked}")
        metric = asked["Metric"]
        arm = (self.account, self.region, *_arm(metric["Dimensions"]))
        figures = self.services.cloudwatch.figures(arm, metric["MetricName"], asked["Stat"], span)
        return {"Id": query["Id"], "Timestamps": [*figures], "Values": [*figures.values()]}


def _pages(results: list[Document]) -> Iterator[Document]:
    """A long answer comes in two pages: the earlier half of every series, then the later one."""
    if max(len(each["Values"]) for each in results) < _ONE_PAGE:
        yield {"MetricDataResults": results}
        return
    for half in (slice(None, _ONE_PAGE), slice(_ONE_PAGE, None)):
        yield {"MetricDataResults": [_part(each, half) for each in results]}


def _part(series: Document, part: slice) -> Document:
    return {name: each if name == "Id" else each[part] for name, each in series.items()}


def _arm(dimensions: list[dict[str, str]]) -> tuple[str, str]:
    """Configuration and variant."""
    named = {each["Name"]: each["Value"] for each in dimensions}
    return named["EndpointConfigName"], named["VariantName"]


@dataclass
class _Sts(_Client):
    def assume_role(self, **parameters: Any) -> Any:
        account = parameters["RoleArn"].split(":")[4]

        def do() -> Any:
            sessions = self.services.sessions
            token = f"session-{len(sessions)}"
            expires = self.services.wire.clock.now + _SESSION_LASTS
            tags = tuple((tag["Key"], tag["Value"]) for tag in parameters["Tags"])
            sessions[token] = Credentials(
                account, parameters["RoleSessionName"], parameters["SourceIdentity"], tags, expires
            )
            keys = {"AccessKeyId": "id", "SecretAccessKey": "secret", "SessionToken": token}
            return {"Credentials": {**keys, "Expiration": expires}}

        return self._call("sts:AssumeRole", parameters, do)


@dataclass
class _Ecr(_Client):
    """Registries: every image has one tag in the hub's, and a target's has what was pulled through
    it and has arrived."""

    def describe_images(self, **parameters: Any) -> Any:
        [wanted] = parameters["imageIds"]
        digest = wanted["imageDigest"]

        def do() -> Any:
            if self.account != self.services.hub:
                where = (self.account, self.region, parameters["repositoryName"], digest)
                arrives = self.services.pulled.get(where)
                if arrives is None or self.services.wire.clock.now < arrives:
                    raise ServiceError("ImageNotFoundException", f"There is no {digest}.")
            return {"imageDetails": [{"imageDigest": digest, "imageTags": ["1"]}]}

        return self._call("ecr:DescribeImages", {}, do)

    def batch_get_image(self, **parameters: Any) -> Any:
        [wanted] = parameters["imageIds"]
        repository = parameters["repositoryName"]
        original = repository.removeprefix("sageops/")
        registry = f"{self.services.hub}.dkr.ecr.{self.services.region}.amazonaws.com"
        digest = image_digest(f"{registry}/{original}:{wanted['imageTag']}")

        def do() -> Any:
            where = (self.account, self.region, repository, digest)
            self.services.pulled.setdefault(where, self.services.wire.clock.now + _PULL_TAKES)
            return {"images": [{"imageId": {"imageDigest": digest}}]}

        return self._call("ecr:BatchGetImage", {}, do)


@dataclass
class _Sqs(_Client):
    def send_message(self, **parameters: Any) -> Any:
        delay = timedelta(seconds=parameters["DelaySeconds"])
        if not timedelta(0) <= delay <= timedelta(minutes=15):
            raise AssertionError(f"DelaySeconds is 0 to 900, not {parameters['DelaySeconds']}")

        def do() -> Any:
            return self.services.send(parameters["MessageBody"], delay)

        return self._call("sqs:SendMessage", parameters, do)
