"""A package in the registry of a target account, so that what runs there needs no other account.

The copy is made of what is served: the image by its digest, the account's own copy of the artefact.
What describes the model is taken over from the origin; its evaluation reports are copied beside the
artefact. Nobody approves the copy: the approval is the origin's, and is named in it.

Sources: botocore's service model of SageMaker, 'Register a Model Version'.
"""

import hashlib
import re
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from sageops.adapters.trouble import code_of, troubles
from sageops.errors import TroubleError
from sageops.model import Registered, RegisterPackage
from sageops.names import target_role

__all__ = ["register"]

# What the origin says of the model and not of where it lies.
_TAKEN_OVER = ("Domain", "Task", "ModelPackageDescription", "MetadataProperties")
_FORMATS = (
    "SupportedContentTypes",
    "SupportedResponseMIMETypes",
    "SupportedTransformInstanceTypes",
    "SupportedRealtimeInferenceInstanceTypes",
)
_OF_THE_CONTAINER = ("Framework", "FrameworkVersion", "ModelInput", "NearestModelName")
_THERE = ("ValidationException", "ConflictException")
# What one request copies within the clients' ten seconds, also between Regions.
_LARGEST_REPORT = 128 << 20
# CustomerMetadataMap.
_MOST_PROPERTIES, _LONGEST_PROPERTY = 50, 256


def register(
    sagemaker: Any, s3: Any, action: RegisterPackage, origin: dict[str, Any]
) -> Registered:
    """CreateModelPackage in the target's own group of the same name, which is made where there is
    none. `origin` is the hub's DescribeModelPackage; `sagemaker` and `s3` act as the target's role.

    The token is made of the action, so that the same action finds the same copy. Raises
    `TroubleError`.
    """
    target = action.errand.target
    fix = (
        f"Role {target_role(target)} of account {target.account} needs it: deploy the current "
        "target.yaml there, or say `registry: hub` in the policy."
    )
    with troubles("sagemaker:CreateModelPackageGroup", target.account, fix):
        try:
            sagemaker.create_model_package_group(
                ModelPackageGroupName=action.group,
                ModelPackageGroupDescription=f"Copies that SageOps made for {target.endpoint}",
            )
        except ClientError as error:
            # It is there, as a rule; if not, CreateModelPackage says what is the matter.
            if code_of(error) not in _THERE:
                raise
    metrics = _metrics(s3, action, origin.get("ModelMetrics", {}))
    with troubles("sagemaker:CreateModelPackage", target.account, fix):
        answer = sagemaker.create_model_package(
            ModelPackageGroupName=action.group,
            ClientToken=_token(action),
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification=_specification(action, origin["InferenceSpecification"]),
            CustomerMetadataProperties=_properties(action, origin),
            **_of(origin, *_TAKEN_OVER),
            **({"ModelMetrics": metrics} if metrics else {}),
        )
    return Registered(answer["ModelPackageArn"])


def _specification(action: RegisterPackage, origin: dict[str, Any]) -> dict[str, Any]:
    container = {
        **_of(origin["Containers"][0], *_OF_THE_CONTAINER),
        "Image": action.image,
        "ModelDataUrl": action.artifact_url,
    }
    if action.environment:
        container["Environment"] = action.environment
    return {**_of(origin, *_FORMATS), "Containers": [container]}


def _properties(action: RegisterPackage, origin: dict[str, Any]) -> dict[str, str]:
    errand = action.errand
    ours = {
        "sageops:origin": action.origin,
        "sageops:hub": action.origin.split(":")[4],
        "sageops:release": errand.release,
        "sageops:stage": errand.stage,
        "sageops:sha256": action.sha256,
        "sageops:approver": errand.approved_by or "unknown",
    }
    said = {name: _plain(value) for name, value in ours.items()}
    theirs = origin.get("CustomerMetadataProperties", {}).items()
    kept = [each for each in theirs if each[0] not in said][: _MOST_PROPERTIES - len(said)]
    return dict(kept) | said


def _metrics(s3: Any, action: RegisterPackage, origin: dict[str, Any]) -> dict[str, Any]:
    """The same reports, each at the address of this account's own copy."""
    return {
        kind: {
            name: {**source, "S3Uri": _own(s3, action, source["S3Uri"], f"{kind}-{name}")}
            for name, source in sources.items()
        }
        for kind, sources in origin.items()
    }


def _own(s3: Any, action: RegisterPackage, url: str, name: str) -> str:
    """Copy one report beside the artefact; where it cannot be read, or is none by its size, the
    address stays as it is: reports are for people to read, and a release does not stop for want of
    one."""
    account = action.errand.target.account
    bucket, _, key = url.removeprefix("s3://").partition("/")
    folder = action.artifact_url.rpartition("/")[0]
    own = f"{folder}/{name}-{key.rpartition('/')[2]}"
    own_bucket, _, own_key = own.removeprefix("s3://").partition("/")
    try:
        with troubles(f"s3:CopyObject of {url}", account, ""):
            if s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > _LARGEST_REPORT:
                return url
            s3.copy_object(
                Bucket=own_bucket,
                Key=own_key,
                CopySource={"Bucket": bucket, "Key": key},
                ExpectedBucketOwner=account,
                TaggingDirective="REPLACE",
            )
    except TroubleError as error:
        if error.trouble.kind == "transient":
            raise
        return url
    return own


def _token(action: RegisterPackage) -> str:
    """ClientToken: 36 letters and digits at most."""
    return hashlib.sha256(msgspec.json.encode(action, order="sorted")).hexdigest()[:36]


def _of(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}


def _plain(text: str) -> str:
    """CustomerMetadataValue: letters, digits, spaces and `_.:/=+-@`."""
    return re.sub(r"[^\w .:/=+@-]", "-", text)[:_LONGEST_PROPERTY]
