"""The model registry: model package groups and the versions in them.

Sources: the service model's shapes and documentation; for error codes and wording the
CloudFormation handler and the Terraform provider for model packages, which match on them: what
does not exist, or already does, is a `ValidationException`, for these operations list no
`ResourceNotFound`. Events: developer guide, page 'Events that Amazon SageMaker AI sends to Amazon
EventBridge', section 'SageMaker model package state change'.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from local.simulator.paging import cut
from local.simulator.site import Document, Operation, ServiceError, Site, copied

__all__ = ["OPERATIONS", "identity", "image_digest", "policy_of", "timestamp"]

EVENT = "SageMaker Model Package State Change"
_METADATA_LIMIT = 50  # shape CustomerMetadataMap


@dataclass
class _Group:
    document: Document
    policy: str | None = None
    packages: dict[int, Document] = field(default_factory=dict)
    # Versions are never used again, not even those of deleted packages.
    last_version: int = 0


@dataclass
class _Registry:
    groups: dict[str, _Group] = field(default_factory=dict)
    # Answers already given, by operation and client token.
    answers: dict[tuple[str, str], Document] = field(default_factory=dict)


def create_model_package_group(site: Site, parameters: Document) -> Document:
    """`CreateModelPackageGroup`. Ready at once."""
    registry, name = _registry(site), parameters["ModelPackageGroupName"]
    arn = site.arn("model-package-group", name)
    if name in registry.groups:
        raise _invalid(f"Model Package Group already exists: {arn}")
    registry.groups[name] = _Group(
        {
            "ModelPackageGroupName": name,
            "ModelPackageGroupArn": arn,
            **_given(parameters, "ModelPackageGroupDescription"),
            "CreationTime": site.now,
            "CreatedBy": identity(parameters),
            "ModelPackageGroupStatus": "Completed",
        }
    )
    return {"ModelPackageGroupArn": arn}


def describe_model_package_group(site: Site, parameters: Document) -> Document:
    """`DescribeModelPackageGroup`, by name or ARN."""
    return _group(site, parameters["ModelPackageGroupName"]).document


def list_model_package_groups(site: Site, parameters: Document) -> Document:
    """`ListModelPackageGroups`."""
    groups = (group.document for group in _registry(site).groups.values())
    chosen = _listed(groups, parameters, name=lambda group: group["ModelPackageGroupName"])
    return cut(
        "ModelPackageGroupSummaryList", [_without(g, "CreatedBy") for g in chosen], parameters
    )


def put_model_package_group_policy(site: Site, parameters: Document) -> Document:
    """`PutModelPackageGroupPolicy`. Kept; the evaluator of `local/authorization` asks for it."""
    group = _group(site, parameters["ModelPackageGroupName"], "Cannot find Model Package Group: {}")
    try:
        json.loads(parameters["ResourcePolicy"])
    except ValueError as error:
        raise _invalid(f"Invalid resource policy: {error}") from error
    group.policy = parameters["ResourcePolicy"]
    return {"ModelPackageGroupArn": group.document["ModelPackageGroupArn"]}


def get_model_package_group_policy(site: Site, parameters: Document) -> Document:
    """`GetModelPackageGroupPolicy`."""
    group = _group(site, parameters["ModelPackageGroupName"], "Cannot find Model Package Group: {}")
    if group.policy is None:
        arn = group.document["ModelPackageGroupArn"]
        raise _invalid(f"Cannot find resource policy for: {arn}")
    return {"ResourcePolicy": group.policy}


def create_model_package(site: Site, parameters: Document) -> Document:
    """`CreateModelPackage` for a version of a group; packages outside groups are not simulated.

    `Completed` at once, since there is no validation to run. `ImageDigest` is what SageMaker reads
    from ECR; here it is made from the image's URI, so that an image keeps its digest.
    """
    if "ModelPackageName" in parameters and "ModelPackageGroupName" in parameters:
        raise _invalid(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. "
            "Cannot determine which one to use."
        )
    if "ModelPackageGroupName" not in parameters:
        raise _invalid("This simulator keeps versioned model packages only: name a group.")
    if parameters.get("Tags"):
        raise _invalid("Tags cannot be given for a model package that belongs to a group.")
    return _once(site, "CreateModelPackage", parameters, _create_model_package)


def _create_model_package(site: Site, parameters: Document) -> Document:
    group = _group(site, parameters["ModelPackageGroupName"])
    name = group.document["ModelPackageGroupName"]
    group.last_version += 1
    version = group.last_version
    arn = site.arn("model-package", f"{name}/{version}")
    package = {
        "ModelPackageGroupName": name,
        "ModelPackageVersion": version,
        "ModelPackageArn": arn,
        "CreationTime": site.now,
        "CreatedBy": identity(parameters),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": False,
        "ModelApprovalStatus": "PendingManualApproval",
        **_given(
            parameters,
            "ModelPackageDescription",
            "ModelPackageRegistrationType",
            "InferenceSpecification",
            "ModelApprovalStatus",
            "MetadataProperties",
            "ModelMetrics",
            "CustomerMetadataProperties",
            "DriftCheckBaselines",
            "Domain",
            "Task",
            "SamplePayloadUrl",
            "SourceUri",
            "SkipModelValidation",
            "ModelCard",
            "ModelLifeCycle",
        ),
    }
    for container in package.get("InferenceSpecification", {}).get("Containers", []):
        if "Image" in container:
            container.setdefault("ImageDigest", image_digest(container["Image"]))
    group.packages[version] = package
    _publish(site, package)
    return {"ModelPackageArn": arn}


def describe_model_package(site: Site, parameters: Document) -> Document:
    """`DescribeModelPackage`, by ARN or `group/version`.

    The service model requires `ModelPackageName` in the answer; for a version it is the group's
    name here [unverified].
    """
    package = _package(site, parameters["ModelPackageName"])
    return {"ModelPackageName": package["ModelPackageGroupName"], **package}


def update_model_package(site: Site, parameters: Document) -> Document:
    """`UpdateModelPackage`: approval, life cycle, customer metadata and the other plain members.

    Emits an event also when nothing but metadata was written, with the members written in
    `UpdatedModelPackageFields`.
    """
    return _once(site, "UpdateModelPackage", parameters, _update_model_package)


def _update_model_package(site: Site, parameters: Document) -> Document:
    package = _package(site, parameters["ModelPackageArn"])
    changes = _given(
        parameters,
        "ModelApprovalStatus",
        "ApprovalDescription",
        "ModelPackageRegistrationType",
        "InferenceSpecification",
        "SourceUri",
        "ModelCard",
        "ModelLifeCycle",
    )
    added = parameters.get("CustomerMetadataProperties", {})
    removed = parameters.get("CustomerMetadataPropertiesToRemove", [])
    if added or removed:
        kept = {**package.get("CustomerMetadataProperties", {}), **added}
        changes["CustomerMetadataProperties"] = _without(kept, *removed)
    if len(changes.get("CustomerMetadataProperties", {})) > _METADATA_LIMIT:
        raise _invalid(f"A model package has at most {_METADATA_LIMIT} CustomerMetadataProperties.")
    if not changes:
        raise _invalid("At least one field to update must be given.")
    package.update(changes)
    package.update({"LastModifiedTime": site.now, "LastModifiedBy": identity(parameters)})
    _publish(site, package, list(changes))
    return {"ModelPackageArn": package["ModelPackageArn"]}


def list_model_packages(site: Site, parameters: Document) -> Document:
    """`ListModelPackages`. Without a group only unversioned packages are listed, of which there
    are none here, unless `ModelPackageType` asks for `Versioned` or `Both`.
    """
    named = parameters.get("ModelPackageGroupName")
    kind = parameters.get("ModelPackageType", "Versioned" if named else "Unversioned")
    groups = [_group(site, named)] if named else list(_registry(site).groups.values())
    packages = (package for group in groups for package in group.packages.values())
    status = parameters.get("ModelApprovalStatus")
    chosen = _listed(
        (
            package
            for package in packages
            if kind != "Unversioned" and status in (None, package["ModelApprovalStatus"])
        ),
        parameters,
        name=lambda package: package["ModelPackageGroupName"],
    )
    summaries = [
        _given(
            package,
            "ModelPackageGroupName",
            "ModelPackageVersion",
            "ModelPackageArn",
            "ModelPackageDescription",
            "CreationTime",
            "ModelPackageStatus",
            "ModelApprovalStatus",
            "ModelLifeCycle",
            "ModelPackageRegistrationType",
        )
        for package in chosen
    ]
    return cut("ModelPackageSummaryList", summaries, parameters)


def delete_model_package(site: Site, parameters: Document) -> Document:
    """`DeleteModelPackage`. No event [unverified]."""
    package = _package(site, parameters["ModelPackageName"])
    group = _group(site, package["ModelPackageGroupName"])
    del group.packages[package["ModelPackageVersion"]]
    return {}


OPERATIONS: dict[str, Operation] = {
    "CreateModelPackageGroup": create_model_package_group,
    "DescribeModelPackageGroup": describe_model_package_group,
    "ListModelPackageGroups": list_model_package_groups,
    "PutModelPackageGroupPolicy": put_model_package_group_policy,
    "GetModelPackageGroupPolicy": get_model_package_group_policy,
    "CreateModelPackage": create_model_package,
    "DescribeModelPackage": describe_model_package,
    "UpdateModelPackage": update_model_package,
    "ListModelPackages": list_model_packages,
    "DeleteModelPackage": delete_model_package,
}


def identity(parameters: Document) -> Document:
    """Shape `UserContext` of who makes this request."""
    caller = parameters.get("@caller")
    return {"IamIdentity": {"Arn": caller}} if caller else {}


def timestamp(moment: datetime) -> str:
    """A time as the registry's and the pipelines' events spell it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def policy_of(site: Site, group: str) -> str | None:
    """The resource policy of a group; None without one, or without such a group."""
    held = _registry(site).groups.get(group)
    return held.policy if held is not None else None


def _registry(site: Site) -> _Registry:
    registry: _Registry = site.state.setdefault("registry", _Registry())
    return registry


def _group(
    site: Site, name_or_arn: str, missing: str = "ModelPackageGroup {} does not exist."
) -> _Group:
    name = name_or_arn.rpartition("/")[2]
    arn = site.arn("model-package-group", name)
    group = _registry(site).groups.get(name)
    # An ARN may name another account's group: then this is that account's site, if it shares it.
    if group is None or name_or_arn not in (name, arn):
        raise _invalid(missing.format(name_or_arn if name_or_arn.startswith("arn:") else arn))
    return group


def _package(site: Site, name_or_arn: str) -> Document:
    prefix = site.arn("model-package", "")
    name, _, version = name_or_arn.removeprefix(prefix).rpartition("/")
    group = _registry(site).groups.get(name)
    package = group.packages.get(int(version)) if group and version.isdigit() else None
    if package is None:
        arn = name_or_arn if name_or_arn.startswith("arn:") else prefix + name_or_arn
        raise _invalid(f"ModelPackage {arn} does not exist.")
    return package


def _once(
    site: Site,
    operation: str,
    parameters: Document,
    do: Callable[[Site, Document], Document],
) -> Document:
    """The answer given to this `ClientToken` before, or that of doing it now."""
    token = parameters.get("ClientToken")
    if token is None:
        return do(site, parameters)
    answers = _registry(site).answers
    if (operation, token) not in answers:
        answers[operation, token] = do(site, parameters)
    return dict(answers[operation, token])


def _publish(site: Site, package: Document, updated: list[str] | None = None) -> None:
    created: datetime = package["CreationTime"]
    detail = {
        **copied(_without(package, "CreatedBy", "LastModifiedBy")),
        "CreationTime": timestamp(created),
        "LastModifiedTime": timestamp(package.get("LastModifiedTime", created)),
    }
    if updated is not None:
        detail["UpdatedModelPackageFields"] = updated
    arn = package["ModelPackageArn"]
    site.outside.publish(site.account, site.region, EVENT, detail, [arn])


def _listed(
    documents: Iterable[Document], parameters: Document, name: Callable[[Document], str]
) -> list[Document]:
    """Those that pass the filters that both List operations share, in the order asked for."""
    after, before = parameters.get("CreationTimeAfter"), parameters.get("CreationTimeBefore")
    chosen = [
        document
        for document in documents
        if parameters.get("NameContains", "") in name(document)
        and (after is None or document["CreationTime"] > after)
        and (before is None or document["CreationTime"] < before)
    ]

    def order(document: Document) -> tuple[Any, ...]:
        version = document.get("ModelPackageVersion", 0)
        if parameters.get("SortBy") == "Name":
            return name(document), version
        return document["CreationTime"], name(document), version

    return sorted(chosen, key=order, reverse=parameters.get("SortOrder") == "Descending")


def _given(document: Document, *names: str) -> Document:
    # Not copied: whatever comes in by the front door, or goes out by it, is.
    return {name: document[name] for name in names if name in document}


def _without(document: Document, *names: str) -> Document:
    return {name: value for name, value in document.items() if name not in names}


def image_digest(image: str) -> str:
    """The digest of an image that is named by a tag: of its address, so that it keeps it."""
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
