"""The HTTP door: AWS requests of other programs (`aws --endpoint-url`, `sageops`), answered here.

A request that was meant for a service's own host is given to moto as if it had been sent there; the
service is read from its signature (AWS General Reference, 'Signature Version 4: credential scope').
Who calls is who the access key belongs to. Roles are not checked at this door: its callers are
taken for administrators.
"""

import re
from collections.abc import Mapping

from botocore.awsrequest import AWSPreparedRequest, HTTPHeaders
from moto.core.models import botocore_stubber

__all__ = ["answer", "is_signed"]

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/")
# Where a service's host does not begin with the name that its requests are signed for.
_HOSTS = {"monitoring": "monitoring", "ecr": "api.ecr", "sagemaker": "api.sagemaker"}
_GLOBAL = {"iam": "iam.amazonaws.com"}
# Of a connection, not of a request.
_HOP = frozenset({"connection", "content-length", "transfer-encoding", "host", "expect"})


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether a request is an AWS one: a browser signs nothing."""
    return _SCOPE.search(headers.get("Authorization", "")) is not None


def answer(
    method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body. Raises `ValueError` for a request that names no service."""
    found = _SCOPE.search(headers.get("Authorization", ""))
    if found is None:
        raise ValueError("the request is not signed: whom is it for?")
    host = _host(found["service"], found["region"], path, headers)
    kept = {name: value for name, value in headers.items() if name.lower() not in _HOP}
    request = AWSPreparedRequest(
        method, f"https://{host}{path}", HTTPHeaders.from_dict(kept), body, False
    )
    replied = botocore_stubber("before-send", request)
    if replied is None:
        raise ValueError(f"nothing here answers for {host}")
    content = replied.content
    answered = {str(k): str(v) for k, v in replied.headers.items() if k.lower() not in _HOP}
    return replied.status_code, answered, content


def _host(service: str, region: str, path: str, headers: Mapping[str, str]) -> str:
    if service in _GLOBAL:
        return _GLOBAL[service]
    target = headers.get("X-Amz-Target", "")
    if service == "dynamodb" and target.startswith("DynamoDBStreams"):
        return f"streams.dynamodb.{region}.amazonaws.com"
    if service == "sagemaker" and path.startswith("/endpoints/"):
        return f"runtime.sagemaker.{region}.amazonaws.com"
    return f"{_HOSTS.get(service, service)}.{region}.amazonaws.com"
