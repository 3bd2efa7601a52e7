"""What an API call needs: its IAM actions, their resources and their condition context.

One table, `_ACTIONS`, one section for each service, after the Service Authorization Reference
(pages 'Actions, resources, and condition keys for …'), the permission pages of the services
('Amazon SageMaker API Permissions', 'Required permissions for Amazon S3 API operations',
'Protecting data with server-side encryption') and the operations' own documentation in botocore.
A call that is not in the table is an error that names it: `UnmappedCall`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from moto.core.base_backend import BaseBackend
from moto.dynamodb.models import dynamodb_backends
from moto.ecr.models import ecr_backends
from moto.kms.models import kms_backends
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local.images import pulled_through

__all__ = [
    "Call",
    "Need",
    "UnmappedCall",
    "key_of_queue",
    "key_of_table",
    "mapped_calls",
    "needs",
]

Context = Mapping[str, Sequence[str]]


class UnmappedCall(NotImplementedError):
    """An API call, or a form of one, of which `_ACTIONS` does not say what it needs."""


@dataclass(frozen=True)
class Call:
    """One API call: service and operation as botocore names them, the caller's account.

    `transitive_tags` and `source_identity` are the caller's session's, for role chaining.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    account: str
    region: str
    transitive_tags: Mapping[str, str] = field(default_factory=dict)
    source_identity: str = ""

    def arn(self, service: str, resource: str) -> str:
        """`arn:aws:SERVICE:REGION:ACCOUNT:resource`, or `resource` when it is an ARN already."""
        if resource.startswith("arn:"):
            return resource
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True)
class Need:
    """One permission: action, resource ARN (`*` for none), the request's condition context."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)


Needs = Callable[[Call], Iterable[Need]]


def needs(call: Call) -> tuple[Need, ...]:
    """Every permission that the call needs, in the order AWS would name them.

    Raises `UnmappedCall`.
    """
    row = _ACTIONS.get(call.service, {}).get(call.operation)
    if row is None:
        raise UnmappedCall(
            f"{call.service}.{call.operation}: local/actions.py does not say what it needs"
        )
    return tuple(row(call))


def mapped_calls() -> Iterator[tuple[str, str]]:
    """Every (service, operation) of the table."""
    for service, operations in _ACTIONS.items():
        for operation in operations:
            yield service, operation


def _nothing(_: Call) -> Iterable[Need]:
    """A call that needs no permission."""
    return ()


def _anywhere(action: str) -> Needs:
    """An action that takes no resource."""
    return lambda _: (Need(action),)


def _given(**values: Any) -> dict[str, list[str]]:
    """A context of those values that are there; `__` in a name stands for `:`."""
    return {
        name.replace("__", ":"): [str(value)] for name, value in values.items() if value is not None
    }


def _tag_context(tags: Mapping[str, str]) -> dict[str, list[str]]:
    if not tags:
        return {}
    return {"aws:TagKeys": list(tags), **{f"aws:RequestTag/{k}": [v] for k, v in tags.items()}}


def _tags(call: Call, parameter: str = "Tags") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in call.parameters.get(parameter, ())}


def _pass_role(role: str, service: str) -> Need:
    """'Granting a user permissions to pass a role to an AWS service'."""
    return Need("iam:PassRole", role, {"iam:PassedToService": [service]})


def _values(document: Any, name: str) -> Iterator[Any]:
    """Every value of a field of that name, anywhere in the parameters."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if key == name:
                yield value
            else:
                yield from _values(value, name)
    elif isinstance(document, list):
        for each in document:
            yield from _values(each, name)


# --- SageMaker -------------------------------------------------------------------------------

# operation -> its resources. `{Name}` is a parameter; when that holds an ARN, it is the resource.
# List operations take `*`, except the few whose reference page has a resource.
# [unverified] AWS may lower-case names in ARNs; here they stay as they are in the call.
_SAGEMAKER: Mapping[str, tuple[str, ...]] = {
    "CreateModel": ("model/{ModelName}",),
    "DescribeModel": ("model/{ModelName}",),
    "DeleteModel": ("model/{ModelName}",),
    "ListModels": ("*",),
    "CreateEndpointConfig": ("endpoint-config/{EndpointConfigName}",),
    "DescribeEndpointConfig": ("endpoint-config/{EndpointConfigName}",),
    "DeleteEndpointConfig": ("endpoint-config/{EndpointConfigName}",),
    "ListEndpointConfigs": ("*",),
    "CreateEndpoint": ("endpoint/{EndpointName}", "endpoint-config/{EndpointConfigName}"),
    "UpdateEndpoint": ("endpoint/{EndpointName}", "endpoint-config/{EndpointConfigName}"),
    "UpdateEndpointWeightsAndCapacities": ("endpoint/{EndpointName}",),
    "DescribeEndpoint": ("endpoint/{EndpointName}",),
    "DeleteEndpoint": ("endpoint/{EndpointName}",),
    "ListEndpoints": ("*",),
    "CreateModelPackageGroup": ("model-package-group/{ModelPackageGroupName}",),
    "DescribeModelPackageGroup": ("model-package-group/{ModelPackageGroupName}",),
    "DeleteModelPackageGroup": ("model-package-group/{ModelPackageGroupName}",),
    "PutModelPackageGroupPolicy": ("model-package-group/{ModelPackageGroupName}",),
    "GetModelPackageGroupPolicy": ("model-package-group/{ModelPackageGroupName}",),
    "DeleteModelPackageGroupPolicy": ("model-package-group/{ModelPackageGroupName}",),
    "ListModelPackageGroups": ("*",),
    "DescribeModelPackage": ("model-package/{ModelPackageName}",),
    "UpdateModelPackage": ("model-package/{ModelPackageArn}",),
    "DeleteModelPackage": ("model-package/{ModelPackageName}",),
    "CreatePipeline": ("pipeline/{PipelineName}",),
    "UpdatePipeline": ("pipeline/{PipelineName}",),
    "DescribePipeline": ("pipeline/{PipelineName}",),
    "DeletePipeline": ("pipeline/{PipelineName}",),
    "ListPipelines": ("*",),
    "StartPipelineExecution": ("pipeline/{PipelineName}",),
    "ListPipelineExecutions": ("pipeline/{PipelineName}",),
    "StopPipelineExecution": ("{PipelineExecutionArn}",),
    "DescribePipelineExecution": ("{PipelineExecutionArn}",),
    "ListPipelineExecutionSteps": ("{PipelineExecutionArn}",),
    "ListPipelineParametersForExecution": ("{PipelineExecutionArn}",),
    "DescribePipelineDefinitionForExecution": ("{PipelineExecutionArn}",),
    "CreateTrainingJob": ("training-job/{TrainingJobName}",),
    "DescribeTrainingJob": ("training-job/{TrainingJobName}",),
    "StopTrainingJob": ("training-job/{TrainingJobName}",),
    "ListTrainingJobs": ("*",),
    "CreateTransformJob": ("transform-job/{TransformJobName}",),
    "DescribeTransformJob": ("transform-job/{TransformJobName}",),
    "StopTransformJob": ("transform-job/{TransformJobName}",),
    "ListTransformJobs": ("*",),
    "CreateProcessingJob": ("processing-job/{ProcessingJobName}",),
    "DescribeProcessingJob": ("processing-job/{ProcessingJobName}",),
    "StopProcessingJob": ("processing-job/{ProcessingJobName}",),
    "ListProcessingJobs": ("*",),
    "CreateMonitoringSchedule": ("monitoring-schedule/{MonitoringScheduleName}",),
    "UpdateMonitoringSchedule": ("monitoring-schedule/{MonitoringScheduleName}",),
    "DescribeMonitoringSchedule": ("monitoring-schedule/{MonitoringScheduleName}",),
    "StartMonitoringSchedule": ("monitoring-schedule/{MonitoringScheduleName}",),
    "StopMonitoringSchedule": ("monitoring-schedule/{MonitoringScheduleName}",),
    "DeleteMonitoringSchedule": ("monitoring-schedule/{MonitoringScheduleName}",),
    "ListMonitoringSchedules": ("*",),
    "ListMonitoringExecutions": ("*",),
    "CreateInferenceExperiment": ("inference-experiment/{Name}",),
    "DescribeInferenceExperiment": ("inference-experiment/{Name}",),
    "StartInferenceExperiment": ("inference-experiment/{Name}",),
    "StopInferenceExperiment": ("inference-experiment/{Name}",),
    "DeleteInferenceExperiment": ("inference-experiment/{Name}",),
    "ListInferenceExperiments": ("*",),
    "CreateAction": ("action/{ActionName}",),
    "UpdateAction": ("action/{ActionName}",),
    "DescribeAction": ("action/{ActionName}",),
    "DeleteAction": ("action/{ActionName}",),
    "ListActions": ("*",),
    "CreateContext": ("context/{ContextName}",),
    "UpdateContext": ("context/{ContextName}",),
    "DescribeContext": ("context/{ContextName}",),
    "DeleteContext": ("context/{ContextName}",),
    "ListContexts": ("*",),
    # an artifact's name in its ARN is a hash of its source, which the caller cannot know
    "CreateArtifact": ("artifact/*",),
    "UpdateArtifact": ("{ArtifactArn}",),
    "DescribeArtifact": ("{ArtifactArn}",),
    "ListArtifacts": ("*",),
    "AddAssociation": ("{SourceArn}", "{DestinationArn}"),
    "DeleteAssociation": ("{SourceArn}", "{DestinationArn}"),
    "ListAssociations": ("*",),
    "QueryLineage": ("*",),
    "AddTags": ("{ResourceArn}",),
    "DeleteTags": ("{ResourceArn}",),
    "ListTags": ("{ResourceArn}",),
}

# Operations that hand a role to SageMaker: every RoleArn and ExecutionRoleArn they carry.
_SAGEMAKER_PASS_ROLE = {
    *("CreateModel", "CreateEndpointConfig", "CreatePipeline", "UpdatePipeline"),
    *("CreateTrainingJob", "CreateProcessingJob", "CreateInferenceExperiment"),
    *("CreateMonitoringSchedule", "UpdateMonitoringSchedule"),
}

# condition key -> the fields, anywhere in the parameters, that fill it
_SAGEMAKER_KEYS: Mapping[str, tuple[str, ...]] = {
    "sagemaker:AcceleratorTypes": ("AcceleratorType",),
    "sagemaker:InstanceTypes": ("InstanceType",),
    "sagemaker:MaxRuntimeInSeconds": ("MaxRuntimeInSeconds",),
    "sagemaker:NetworkIsolation": ("EnableNetworkIsolation",),
    "sagemaker:ServerlessMaxConcurrency": ("MaxConcurrency",),
    "sagemaker:ServerlessMemorySize": ("MemorySizeInMB",),
    "sagemaker:VolumeKmsKey": ("VolumeKmsKeyId",),
}


def _sagemaker_resource(call: Call, template: str) -> str:
    if template == "*":
        return template
    kind, _, parameter = template.removesuffix("}").partition("{")
    if not parameter:
        return call.arn("sagemaker", kind)
    value = str(call.parameters[parameter])
    return value if value.startswith("arn:") else call.arn("sagemaker", f"{kind}{value}")


def _sagemaker_context(call: Call) -> dict[str, list[str]]:
    parameters = call.parameters
    context = _tag_context(_tags(call))
    for key, fields in _SAGEMAKER_KEYS.items():
        if found := [_lowered(each) for name in fields for each in _values(parameters, name)]:
            context[key] = found
    if call.operation in {"CreateEndpointConfig", "CreateTransformJob"}:
        models = _values(parameters, "ModelName")
        context["sagemaker:ModelArn"] = [call.arn("sagemaker", f"model/{m}") for m in models]
    if call.operation == "CreateEndpointConfig":
        context.update(_given(sagemaker__VolumeKmsKey=parameters.get("KmsKeyId")))
    return context


def _lowered(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sagemaker(operation: str) -> Needs:
    action = f"sagemaker:{operation}"

    def row(call: Call) -> Iterator[Need]:
        context = _sagemaker_context(call)
        resources = [_sagemaker_resource(call, each) for each in _SAGEMAKER[operation]]
        for resource in resources:
            yield Need(action, resource, context)
        yield from _sagemaker_tagging(call, resources[0], context)
        if operation in _SAGEMAKER_PASS_ROLE:
            roles = [
                role
                for name in ("RoleArn", "ExecutionRoleArn")
                for role in _values(call.parameters, name)
            ]
            for role in dict.fromkeys(roles):
                yield _pass_role(role, "sagemaker.amazonaws.com")

    return row


def _sagemaker_tagging(call: Call, resource: str, context: Context) -> Iterator[Need]:
    """Tags given while creating need AddTags too (its condition key: sagemaker:TaggingAction)."""
    if call.operation.startswith(("Create", "Start")) and call.parameters.get("Tags"):
        tagging = {**context, "sagemaker:TaggingAction": [call.operation]}
        yield Need("sagemaker:AddTags", resource, tagging)


def _create_model(call: Call) -> Iterator[Need]:
    """Of a package of another account also `CreateModel` on the package.

    'Deploy a model version from a different account': the group's policy grants exactly that.
    """
    yield from _sagemaker("CreateModel")(call)
    for package in _values(call.parameters, "ModelPackageName"):
        arn = call.arn("sagemaker", f"model-package/{package}" if ":" not in package else package)
        if arn.split(":")[4] != call.account:
            yield Need("sagemaker:CreateModel", arn)


def _registry_context(call: Call) -> dict[str, list[str]]:
    """The keys of UpdateModelPackage and CreateModelPackage.

    `sagemaker:CurrentModelLifeCycleStage` is the package's own state: a policy that asks it is
    an error here.
    """
    parameters = call.parameters
    stage = parameters.get("ModelLifeCycle", {})
    context = {
        **_given(
            sagemaker__ModelApprovalStatus=parameters.get("ModelApprovalStatus"),
            sagemaker__ModelLifeCycle__Stage=stage.get("Stage"),
            sagemaker__ModelLifeCycle__StageStatus=stage.get("StageStatus"),
        ),
        **_tag_context(_tags(call)),
    }
    for key, value in parameters.get("CustomerMetadataProperties", {}).items():
        context[f"sagemaker:CustomerMetadataProperties/{key}"] = [value]
    if removed := parameters.get("CustomerMetadataPropertiesToRemove"):
        context["sagemaker:CustomerMetadataPropertiesToRemove"] = list(removed)
    return context


def _create_model_package(call: Call) -> Iterator[Need]:
    """A new version in a group: the package, whose number is not known yet, and the group.

    [unverified] The reference lists both resources as optional and no page says which one is
    checked for a version, so both are.
    """
    context, group = _registry_context(call), call.parameters.get("ModelPackageGroupName")
    if group is None:
        name = call.parameters["ModelPackageName"]
        resources = [call.arn("sagemaker", f"model-package/{name}")]
    else:
        group_arn = _sagemaker_resource(call, "model-package-group/{ModelPackageGroupName}")
        package_arn = group_arn.replace(":model-package-group/", ":model-package/") + "/*"
        resources = [package_arn, group_arn]
    for resource in resources:
        yield Need("sagemaker:CreateModelPackage", resource, context)
    yield from _sagemaker_tagging(call, resources[0], context)


def _update_model_package(call: Call) -> Iterator[Need]:
    resource = _sagemaker_resource(call, "model-package/{ModelPackageArn}")
    yield Need("sagemaker:UpdateModelPackage", resource, _registry_context(call))


def _list_model_packages(call: Call) -> Iterator[Need]:
    """[unverified] that the resource is the group's packages: the reference has it optional."""
    group = call.parameters.get("ModelPackageGroupName")
    if group is None:
        yield Need("sagemaker:ListModelPackages")
        return
    arn = _sagemaker_resource(call, "model-package-group/{ModelPackageGroupName}")
    packages = arn.replace(":model-package-group/", ":model-package/") + "/*"
    yield Need("sagemaker:ListModelPackages", packages)


def _batch_describe_model_package(call: Call) -> Iterator[Need]:
    for arn in call.parameters["ModelPackageArnList"]:
        yield Need("sagemaker:DescribeModelPackage", arn)


def _invoke_endpoint(call: Call) -> Iterator[Need]:
    context = _given(sagemaker__TargetModel=call.parameters.get("TargetModel"))
    resource = call.arn("sagemaker", f"endpoint/{call.parameters['EndpointName']}")
    action = {"InvokeEndpointAsync": "sagemaker:InvokeEndpointAsync"}.get(
        call.operation, "sagemaker:InvokeEndpoint"
    )
    yield Need(action, resource, context)


# --- S3 and KMS ------------------------------------------------------------------------------


def _bucket(name: str) -> FakeBucket | None:
    partition, account = s3_backends.bucket_accounts.get(name, ("aws", ""))
    return s3_backends[account][partition].buckets.get(name) if account else None


def _object(bucket: str, key: str, version: str | None) -> FakeKey | None:
    held = _bucket(bucket)
    if held is None:
        return None
    for found in reversed(held.keys.getlist(key, [])):
        if version in {None, found.version_id}:
            return None if isinstance(found, FakeDeleteMarker) else found
    return None


def _key_arn(key: str, account: str, region: str) -> str | None:
    """A customer's KMS key, from its id, ARN, alias or alias ARN; None for an AWS managed key.

    The policy of `alias/aws/s3` lets everyone of its account use it through S3.
    """
    if ":alias/" in key:
        region, account = key.split(":")[3:5]
        key = "alias/" + key.split(":alias/")[1]
    if key.startswith("alias/aws/"):
        return None
    if key.startswith("alias/"):
        found = kms_backends[account][region].get_key_id_from_alias(key)
        if found is None:
            return f"arn:aws:kms:{region}:{account}:{key}"  # no such key, so no policy allows it
        key = found
    return key if key.startswith("arn:") else f"arn:aws:kms:{region}:{account}:key/{key}"


def _through_s3(call: Call, action: str, key: str, bucket: str, name: str, plain: bool) -> Need:
    """S3 uses the key with the caller's rights; the context is the object, or the bucket's ARN
    where an S3 Bucket Key is on ('Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys').
    """
    encrypted = f"arn:aws:s3:::{bucket}/{name}" if plain else f"arn:aws:s3:::{bucket}"
    context = {
        "kms:ViaService": [f"s3.{call.region}.amazonaws.com"],
        "kms:CallerAccount": [call.account],
        "kms:EncryptionContext:aws:s3:arn": [encrypted],
        "kms:EncryptionContextKeys": ["aws:s3:arn"],
    }
    return Need(action, key, context)


def _reading_key(call: Call, bucket: str, name: str, version: str | None) -> Iterator[Need]:
    found = _object(bucket, name, version)
    if found is None or found.encryption != "aws:kms" or not found.kms_key_id:
        return
    owner = s3_backends.bucket_accounts[bucket][1]
    if key := _key_arn(found.kms_key_id, owner, call.region):
        plain = str(found.bucket_key_enabled).lower() != "true"
        yield _through_s3(call, "kms:Decrypt", key, bucket, name, plain)


def _writing_key(call: Call, bucket: str, name: str, actions: Sequence[str]) -> Iterator[Need]:
    """The call's key, else the bucket's default encryption."""
    parameters, held = call.parameters, _bucket(bucket)
    rule = held.encryption["Rule"] if held and held.encryption else {}
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    algorithm = parameters.get("ServerSideEncryption") or default.get("SSEAlgorithm")
    key_id = parameters.get("SSEKMSKeyId") or default.get("KMSMasterKeyID")
    if algorithm != "aws:kms" or not key_id:
        return
    bucket_key = parameters.get("BucketKeyEnabled", rule.get("BucketKeyEnabled", False))
    # A key's id without account is one of the caller's; a bucket's default, one of the bucket's.
    owner = call.account
    if not parameters.get("SSEKMSKeyId"):
        owner = s3_backends.bucket_accounts[bucket][1]
    if key := _key_arn(key_id, owner, call.region):
        for action in actions:
            yield _through_s3(
                call, action, key, bucket, name, str(bucket_key).lower() not in {"true"}
            )


def _s3_read(call: Call, bucket: str, name: str, version: str | None) -> Iterator[Need]:
    """GetObject, and what goes with it: the key, and ListBucket where the object is missing.

    Documentation of GetObject: without s3:ListBucket a missing object answers 403, not 404.
    """
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    yield Need(action, f"arn:aws:s3:::{bucket}/{name}", _given(s3__VersionId=version))
    held = _bucket(bucket)
    if held is not None and _object(bucket, name, version) is None:
        yield Need("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": [name]})
    yield from _reading_key(call, bucket, name, version)


def _get_object(call: Call) -> Iterator[Need]:
    parameters = call.parameters
    yield from _s3_read(call, parameters["Bucket"], parameters["Key"], parameters.get("VersionId"))


def _get_object_attributes(call: Call) -> Iterator[Need]:
    yield from _get_object(call)
    version = "Version" if call.parameters.get("VersionId") else ""
    yield Need(f"s3:GetObject{version}Attributes", _object_arn(call))


def _object_arn(call: Call) -> str:
    return f"arn:aws:s3:::{call.parameters['Bucket']}/{call.parameters['Key']}"


def _put_context(call: Call) -> dict[str, list[str]]:
    parameters = call.parameters
    context = _given(
        **{
            "s3:x-amz-acl": parameters.get("ACL"),
            "s3:x-amz-copy-source": parameters.get("CopySource"),
            "s3:x-amz-metadata-directive": parameters.get("MetadataDirective"),
            "s3:x-amz-server-side-encryption": parameters.get("ServerSideEncryption"),
            "s3:x-amz-server-side-encryption-aws-kms-key-id": parameters.get("SSEKMSKeyId"),
            "s3:x-amz-storage-class": parameters.get("StorageClass"),
        }
    )
    tags = {key: values[0] for key, values in parse_qs(parameters.get("Tagging", "")).items()}
    if tags:
        context["s3:RequestObjectTagKeys"] = list(tags)
        context.update({f"s3:RequestObjectTag/{key}": [value] for key, value in tags.items()})
    return context


def _put_object(call: Call) -> Iterator[Need]:
    """PutObject and CreateMultipartUpload: also the ACL, the tags and the key that they set."""
    context, parameters = _put_context(call), call.parameters
    yield Need("s3:PutObject", _object_arn(call), context)
    if "ACL" in parameters:
        yield Need("s3:PutObjectAcl", _object_arn(call), {"s3:x-amz-acl": [parameters["ACL"]]})
    if parameters.get("Tagging"):
        tags = {key: values for key, values in context.items() if "RequestObjectTag" in key}
        yield Need("s3:PutObjectTagging", _object_arn(call), tags)
    # 'Uploading an object using multipart upload': a multipart upload needs Decrypt as well.
    multipart = call.operation not in {"PutObject", "CopyObject"}
    actions = ["kms:GenerateDataKey", *(["kms:Decrypt"] if multipart else [])]
    yield from _writing_key(call, parameters["Bucket"], parameters["Key"], actions)


def _copy_source(call: Call) -> tuple[str, str, str | None]:
    """Bucket, key and version; botocore has already joined a mapping into a quoted text."""
    path, _, query = str(call.parameters["CopySource"]).partition("?versionId=")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    return bucket, key, query or None


def _copy_object(call: Call) -> Iterator[Need]:
    """Documentation of CopyObject: read the source, write the target; tags are copied as well."""
    bucket, key, version = _copy_source(call)
    yield from _s3_read(call, bucket, key, version)
    found = _object(bucket, key, version)
    replaced = call.parameters.get("TaggingDirective") == "REPLACE"
    if found is not None and not replaced and call.operation == "CopyObject":
        owner = s3_backends.bucket_accounts[bucket][1]
        if s3_backends[owner]["aws"].tagger.get_tag_dict_for_resource(found.arn):
            action = "s3:GetObjectVersionTagging" if version else "s3:GetObjectTagging"
            yield Need(action, f"arn:aws:s3:::{bucket}/{key}")
            yield Need("s3:PutObjectTagging", _object_arn(call))
    yield from _put_object(call)


def _list_bucket(action: str) -> Needs:
    def row(call: Call) -> Iterator[Need]:
        parameters = call.parameters
        # [unverified] that a listing without a prefix has an empty s3:prefix rather than none.
        context = _given(
            **{
                "s3:prefix": parameters.get("Prefix"),
                "s3:delimiter": parameters.get("Delimiter"),
                "s3:max-keys": parameters.get("MaxKeys"),
            }
        )
        yield Need(action, f"arn:aws:s3:::{parameters['Bucket']}", context)

    return row


def _on_bucket(action: str) -> Needs:
    return lambda call: (Need(action, f"arn:aws:s3:::{call.parameters['Bucket']}"),)


def _on_object(action: str) -> Needs:
    """An action that has a twin for versions: `s3:DeleteObject`, `s3:DeleteObjectVersion`."""

    def row(call: Call) -> Iterator[Need]:
        version = call.parameters.get("VersionId")
        name = action.replace("Object", "ObjectVersion") if version else action
        yield Need(name, _object_arn(call), _given(s3__VersionId=version))

    return row


def _delete_objects(call: Call) -> Iterator[Need]:
    """Each key by itself. [simplified] AWS refuses single keys in the answer, this the whole."""
    for each in call.parameters["Delete"]["Objects"]:
        version = each.get("VersionId")
        action = "s3:DeleteObjectVersion" if version else "s3:DeleteObject"
        resource = f"arn:aws:s3:::{call.parameters['Bucket']}/{each['Key']}"
        yield Need(action, resource, _given(s3__VersionId=version))


def _kms(action: str) -> Needs:
    def row(call: Call) -> Iterator[Need]:
        if "KeyId" not in call.parameters:
            raise UnmappedCall(f"kms.{call.operation} without KeyId: name the key")
        name = str(call.parameters["KeyId"])
        key = _key_arn(name, call.account, call.region)
        if key is None:
            raise UnmappedCall(f"kms.{call.operation} on the AWS managed key {name}")
        encryption = call.parameters.get("EncryptionContext", {})
        context = {
            "kms:CallerAccount": [call.account],
            **({"kms:RequestAlias": [name]} if name.startswith("alias/") else {}),
            **({"kms:EncryptionContextKeys": list(encryption)} if encryption else {}),
            **{f"kms:EncryptionContext:{k}": [v] for k, v in encryption.items()},
        }
        if "Operations" in call.parameters:
            context["kms:GrantOperations"] = call.parameters["Operations"]
            context["kms:GrantIsForAWSResource"] = ["false"]
        yield Need(action, key, context)

    return row


def _service_key(call: Call, key: str | None, arn: str, service: str) -> Iterator[Need]:
    """A queue's or topic's own KMS key: sending needs GenerateDataKey and Decrypt.

    'Encryption at rest' of the SQS guide, 'Managing Amazon SNS encryption keys'.
    """
    account, region = arn.split(":")[4], arn.split(":")[3]
    if not key or (key_arn := _key_arn(key, account, region)) is None:
        return
    context = {
        "kms:ViaService": [f"{service}.{region}.amazonaws.com"],
        "kms:CallerAccount": [call.account],
        f"kms:EncryptionContext:aws:{service}:arn": [arn],
        "kms:EncryptionContextKeys": [f"aws:{service}:arn"],
    }
    if call.operation != "ReceiveMessage":
        yield Need("kms:GenerateDataKey", key_arn, context)
    yield Need("kms:Decrypt", key_arn, context)


# --- DynamoDB --------------------------------------------------------------------------------


def key_of_table(table: str) -> Iterator[Need]:
    """What using a table (ARN), or reading its stream, needs of its KMS key; without one nothing.

    'DynamoDB encryption at rest: how it works': the table's key is decrypted with the caller's
    rights. [unverified] that Decrypt suffices to write.
    """
    *_, region, account, resource = table.split(":")
    name = resource.removeprefix("table/")
    held = _named(dynamodb_backends[account][region], "tables", name)
    key = ((held and held.sse_specification) or {}).get("KMSMasterKeyId")
    if not key or (arn := _key_arn(key, account, region)) is None:
        return
    context = {
        "kms:ViaService": [f"dynamodb.{region}.amazonaws.com"],
        "kms:CallerAccount": [account],
        "kms:EncryptionContext:aws:dynamodb:tableName": [name],
        "kms:EncryptionContext:aws:dynamodb:subscriberId": [account],
        "kms:EncryptionContextKeys": ["aws:dynamodb:tableName", "aws:dynamodb:subscriberId"],
    }
    yield Need("kms:Decrypt", arn, context)


def _keyed(row: Needs) -> Needs:
    """The same, and the keys of the tables that it reads or writes."""

    def keyed(call: Call) -> Iterator[Need]:
        yield from row(call)
        parameters = call.parameters
        parts = [each for item in parameters.get("TransactItems", ()) for each in item.values()]
        named = [parameters["TableName"]] if "TableName" in parameters else []
        tables = [
            *named,
            *(part["TableName"] for part in parts),
            *parameters.get("RequestItems", ()),
        ]
        for table in dict.fromkeys(tables):
            yield from key_of_table(_table_arn(call, table))

    return keyed


def _table_arn(call: Call, name: str, index: str | None = None) -> str:
    table = call.arn("dynamodb", f"table/{name}" if not name.startswith("arn:") else name)
    return f"{table}/index/{index}" if index else table


def _leading(call: Call, table: str, items: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """`dynamodb:LeadingKeys`: the partition keys of the items, as text."""
    *_, region, account, resource = _table_arn(call, table).split(":")
    held = dynamodb_backends[account][region].tables.get(resource.removeprefix("table/"))
    if held is None:
        return {}
    values = [next(iter(each[held.hash_key_attr].values())) for each in items]
    return {"dynamodb:LeadingKeys": [str(value) for value in values]}


def _options(document: Mapping[str, Any]) -> dict[str, list[str]]:
    return _given(
        dynamodb__Select=document.get("Select"),
        dynamodb__ReturnValues=document.get("ReturnValues"),
        dynamodb__ReturnConsumedCapacity=document.get("ReturnConsumedCapacity"),
    )


def _item(action: str) -> Needs:
    def row(call: Call) -> Iterator[Need]:
        table = call.parameters["TableName"]
        item = call.parameters.get("Key") or call.parameters["Item"]
        context = {**_leading(call, table, [item]), **_options(call.parameters)}
        yield Need(action, _table_arn(call, table), context)

    return row


def _search(action: str) -> Needs:
    """Query and Scan, of an index when one is named.

    A policy that narrows them by `dynamodb:LeadingKeys` is an error: expressions are not read.
    """

    def row(call: Call) -> Iterator[Need]:
        resource = _table_arn(call, call.parameters["TableName"], call.parameters.get("IndexName"))
        yield Need(action, resource, _options(call.parameters))

    return row


_TRANSACTION_PARTS = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Get": "dynamodb:GetItem",
}


def _transaction(call: Call) -> Iterator[Need]:
    """'Amazon DynamoDB Transactions: how it works': the permissions of the single operations."""
    for each in call.parameters["TransactItems"]:
        for part, content in each.items():
            table = content["TableName"]
            item = content.get("Key") or content["Item"]
            context = {
                **_leading(call, table, [item]),
                "dynamodb:EnclosingOperation": [call.operation],
            }
            yield Need(_TRANSACTION_PARTS[part], _table_arn(call, table), context)


def _batch_get(call: Call) -> Iterator[Need]:
    for table, content in call.parameters["RequestItems"].items():
        context = _leading(call, table, content["Keys"])
        yield Need("dynamodb:BatchGetItem", _table_arn(call, table), context)


def _batch_write(call: Call) -> Iterator[Need]:
    for table, writes in call.parameters["RequestItems"].items():
        items = [
            each["PutRequest"]["Item"] if "PutRequest" in each else each["DeleteRequest"]["Key"]
            for each in writes
        ]
        yield Need("dynamodb:BatchWriteItem", _table_arn(call, table), _leading(call, table, items))


def _on_table(action: str) -> Needs:
    return lambda call: (Need(action, _table_arn(call, call.parameters["TableName"])),)


# --- messages and events ---------------------------------------------------------------------


def _queue_arn(call: Call) -> str:
    """From `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`."""
    url = urlsplit(call.parameters["QueueUrl"])
    account, name = url.path.strip("/").split("/")
    host = url.netloc.split(".")
    region = host[1] if host[0] == "sqs" and len(host) == 4 else call.region
    return f"arn:aws:sqs:{region}:{account}:{name}"


def key_of_queue(queue: str, operation: str) -> tuple[Need, ...]:
    """What sending to a queue (ARN), or receiving, needs of its KMS key; without one nothing."""
    *_, region, account, name = queue.split(":")
    held = _named(sqs_backends[account][region], "queues", name)
    call = Call("sqs", operation, {}, account, region)
    return tuple(_service_key(call, held and held.kms_master_key_id, queue, "sqs"))


def _named(backend: BaseBackend, holding: str, name: str) -> Any:
    return getattr(backend, holding).get(name)


def _queue(action: str) -> Needs:
    keyed = action in {"sqs:SendMessage", "sqs:ReceiveMessage"}

    def row(call: Call) -> Iterator[Need]:
        arn = _queue_arn(call)
        yield Need(action, arn)
        if keyed:
            *_, region, account, name = arn.split(":")
            held = _named(sqs_backends[account][region], "queues", name)
            yield from _service_key(call, held and held.kms_master_key_id, arn, "sqs")

    return row


def _get_queue_url(call: Call) -> Iterator[Need]:
    owner = call.parameters.get("QueueOwnerAWSAccountId", call.account)
    name = call.parameters["QueueName"]
    yield Need("sqs:GetQueueUrl", f"arn:aws:sqs:{call.region}:{owner}:{name}")


def _message_move(call: Call) -> Iterator[Need]:
    """Documentation of StartMessageMoveTask: what a redrive needs on both queues."""
    source = call.parameters["SourceArn"]
    for action in ("StartMessageMoveTask", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
        yield Need(f"sqs:{action}", source)
    if target := call.parameters.get("DestinationArn"):
        yield Need("sqs:SendMessage", target)


def _publish(call: Call) -> Iterator[Need]:
    topic = call.parameters.get("TopicArn") or call.parameters.get("TargetArn")
    yield Need("sns:Publish", topic or "*")
    if topic:
        *_, region, account, _ = topic.split(":")
        held = _named(sns_backends[account][region], "topics", topic)
        yield from _service_key(call, held and held.kms_master_key_id, topic, "sns")


def _put_events(call: Call) -> Iterator[Need]:
    """Each entry's bus, with its source and detail-type."""
    for entry in call.parameters["Entries"]:
        bus = entry.get("EventBusName") or "default"
        context = {
            **_given(events__source=entry.get("Source")),
            "events:eventBusInvocation": ["false"],
            **({"events:detail-type": [entry["DetailType"]]} if "DetailType" in entry else {}),
        }
        yield Need("events:PutEvents", call.arn("events", _prefixed("event-bus/", bus)), context)


def _prefixed(prefix: str, name: str) -> str:
    return name if name.startswith("arn:") else f"{prefix}{name}"


# --- CloudWatch, Lambda, schedules, and the rest ---------------------------------------------


def _put_metric_data(call: Call) -> Iterator[Need]:
    yield Need(
        "cloudwatch:PutMetricData", "*", _given(cloudwatch__namespace=call.parameters["Namespace"])
    )


def _alarms(action: str, parameter: str = "AlarmNames") -> Needs:
    """Alarms by name or by the start of their names; all of them when neither is given."""

    def row(call: Call) -> Iterator[Need]:
        names = call.parameters.get(parameter) or [f"{call.parameters.get('AlarmNamePrefix', '')}*"]
        for name in [names] if isinstance(names, str) else names:
            yield Need(action, call.arn("cloudwatch", f"alarm:{name}"))

    return row


def _put_metric_alarm(call: Call) -> Iterator[Need]:
    parameters, tags = call.parameters, _tag_context(_tags(call))
    targets = [
        target
        for name in ("AlarmActions", "OKActions", "InsufficientDataActions")
        for target in parameters.get(name, ())
    ]
    context = {**tags, **({"cloudwatch:AlarmActions": targets} if targets else {})}
    resource = call.arn("cloudwatch", f"alarm:{parameters['AlarmName']}")
    yield Need("cloudwatch:PutMetricAlarm", resource, context)
    if tags:  # documentation of PutMetricAlarm, Tags
        yield Need("cloudwatch:TagResource", resource, tags)


def _function(action: str) -> Needs:
    def row(call: Call) -> Iterator[Need]:
        name, qualifier = call.parameters["FunctionName"], call.parameters.get("Qualifier")
        arn = call.arn("lambda", _prefixed("function:", name))
        if qualifier and qualifier != "$LATEST":
            arn = f"{arn}:{qualifier}"
        yield Need(action, arn)

    return row


def _stack(call: Call) -> Iterator[Need]:
    """Without a name it lists them all."""
    name = call.parameters.get("StackName", "*")
    yield Need("cloudformation:DescribeStacks", call.arn("cloudformation", f"stack/{name}/id"))


def _schedule(action: str) -> Needs:
    def row(call: Call) -> Iterator[Need]:
        group = call.parameters.get("GroupName", "default")
        yield Need(action, call.arn("scheduler", f"schedule/{group}/{call.parameters['Name']}"))
        if role := call.parameters.get("Target", {}).get("RoleArn"):
            yield _pass_role(role, "scheduler.amazonaws.com")

    return row


def _scalable(action: str) -> Needs:
    """The target's identifier is made by the service, so its ARN is known only by its start."""

    def row(call: Call) -> Iterator[Need]:
        context = {
            "application-autoscaling:service-namespace": [call.parameters["ServiceNamespace"]],
            "application-autoscaling:scalable-dimension": [call.parameters["ScalableDimension"]],
        }
        resource = call.arn("application-autoscaling", "scalable-target/*")
        yield Need(f"application-autoscaling:{action}", resource, context)

    return row


def _repository(action: str) -> Needs:
    def row(call: Call) -> Iterator[Need]:
        registry = call.parameters.get("registryId", call.account)
        name = call.parameters["repositoryName"]
        yield Need(action, f"arn:aws:ecr:{call.region}:{registry}:repository/{name}")

    return row


def _batch_get_image(call: Call) -> Iterator[Need]:
    """A pull, and where a rule sends it upstream what that takes ('IAM permissions required to sync
    an upstream registry with an Amazon ECR private registry')."""
    yield from _repository("ecr:BatchGetImage")(call)
    name = call.parameters["repositoryName"]
    registry = ecr_backends[call.parameters.get("registryId", call.account)][call.region]
    if any(pulled_through(registry, name, each) for each in call.parameters["imageIds"]):
        yield from _repository("ecr:BatchImportUpstreamImage")(call)
        if name not in registry.repositories:
            yield from _repository("ecr:CreateRepository")(call)


def _assume_role(call: Call) -> Iterator[Need]:
    """'Pass session tags in AWS STS', 'Monitor and control actions taken with assumed roles'.

    Transitive tags and a source identity stay with the session through role chaining, so the next
    role's trust policy must allow them as well. Each action is asked with the keys that the
    reference lists for it: [unverified] that TagSession and SetSourceIdentity know no more, such
    as the external id; a trust policy that asks them for more is refused here.
    """
    parameters, role = call.parameters, call.parameters["RoleArn"]
    tags = {**call.transitive_tags, **_tags(call)}
    source_identity = parameters.get("SourceIdentity") or call.source_identity
    transitive = [*call.transitive_tags, *parameters.get("TransitiveTagKeys", ())]
    tagging = {
        **_tag_context(tags),
        **({"sts:TransitiveTagKeys": transitive} if transitive else {}),
    }
    identity = _given(sts__SourceIdentity=source_identity or None)
    named = _given(
        sts__ExternalId=parameters.get("ExternalId"),
        sts__RoleSessionName=parameters["RoleSessionName"],
    )
    yield Need("sts:AssumeRole", role, {**named, **identity, **tagging})
    if tags:
        yield Need("sts:TagSession", role, tagging)
    if source_identity:
        yield Need("sts:SetSourceIdentity", role, identity)


def _get_role(call: Call) -> Iterator[Need]:
    """The path is part of a role's ARN but not of the call. [simplified] The root path is taken."""
    yield Need("iam:GetRole", f"arn:aws:iam::{call.account}:role/{call.parameters['RoleName']}")


def _parameter(action: str) -> Needs:
    def row(call: Call) -> Iterator[Need]:
        names = call.parameters.get("Names") or [call.parameters["Name"]]
        for name in names:
            yield Need(action, call.arn("ssm", _prefixed("parameter/", name.removeprefix("/"))))

    return row


_ACTIONS: Mapping[str, Mapping[str, Needs]] = {
    "sagemaker": {
        **{operation: _sagemaker(operation) for operation in _SAGEMAKER},
        "CreateModel": _create_model,
        "CreateModelPackage": _create_model_package,
        "UpdateModelPackage": _update_model_package,
        "ListModelPackages": _list_model_packages,
        "BatchDescribeModelPackage": _batch_describe_model_package,
        "Search": _anywhere("sagemaker:Search"),
    },
    "sagemaker-runtime": {
        "InvokeEndpoint": _invoke_endpoint,
        "InvokeEndpointAsync": _invoke_endpoint,
        "InvokeEndpointWithResponseStream": _invoke_endpoint,
    },
    "s3": {
        "GetObject": _get_object,
        "HeadObject": _get_object,
        "GetObjectAttributes": _get_object_attributes,
        "PutObject": _put_object,
        "CopyObject": _copy_object,
        "CreateMultipartUpload": _put_object,
        "UploadPart": _put_object,
        "UploadPartCopy": _copy_object,
        "CompleteMultipartUpload": _put_object,
        "AbortMultipartUpload": lambda call: (Need("s3:AbortMultipartUpload", _object_arn(call)),),
        "ListParts": lambda call: (Need("s3:ListMultipartUploadParts", _object_arn(call)),),
        "ListMultipartUploads": _on_bucket("s3:ListBucketMultipartUploads"),
        "DeleteObject": _on_object("s3:DeleteObject"),
        "DeleteObjects": _delete_objects,
        "GetObjectTagging": _on_object("s3:GetObjectTagging"),
        "PutObjectTagging": _on_object("s3:PutObjectTagging"),
        "ListObjects": _list_bucket("s3:ListBucket"),
        "ListObjectsV2": _list_bucket("s3:ListBucket"),
        "ListObjectVersions": _list_bucket("s3:ListBucketVersions"),
        "HeadBucket": _on_bucket("s3:ListBucket"),
        "GetBucketLocation": _on_bucket("s3:GetBucketLocation"),
        "GetBucketVersioning": _on_bucket("s3:GetBucketVersioning"),
    },
    "kms": {
        operation: _kms(f"kms:{operation}")
        for operation in ("Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey", "CreateGrant")
    },
    "dynamodb": {
        **{
            operation: _keyed(_item(f"dynamodb:{operation}"))
            for operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem")
        },
        "Query": _keyed(_search("dynamodb:Query")),
        "Scan": _keyed(_search("dynamodb:Scan")),
        "TransactWriteItems": _keyed(_transaction),
        "TransactGetItems": _keyed(_transaction),
        "BatchGetItem": _keyed(_batch_get),
        "BatchWriteItem": _keyed(_batch_write),
        "DescribeTable": _on_table("dynamodb:DescribeTable"),
    },
    "sqs": {
        "SendMessage": _queue("sqs:SendMessage"),
        "SendMessageBatch": _queue("sqs:SendMessage"),
        "ReceiveMessage": _queue("sqs:ReceiveMessage"),
        "DeleteMessage": _queue("sqs:DeleteMessage"),
        "DeleteMessageBatch": _queue("sqs:DeleteMessage"),
        "ChangeMessageVisibility": _queue("sqs:ChangeMessageVisibility"),
        "ChangeMessageVisibilityBatch": _queue("sqs:ChangeMessageVisibility"),
        "GetQueueAttributes": _queue("sqs:GetQueueAttributes"),
        "GetQueueUrl": _get_queue_url,
        "StartMessageMoveTask": _message_move,
    },
    "sns": {"Publish": _publish, "PublishBatch": _publish},
    "events": {"PutEvents": _put_events},
    "cloudwatch": {
        "PutMetricData": _put_metric_data,
        "GetMetricData": _anywhere("cloudwatch:GetMetricData"),
        "GetMetricStatistics": _anywhere("cloudwatch:GetMetricStatistics"),
        "ListMetrics": _anywhere("cloudwatch:ListMetrics"),
        "DescribeAlarms": _alarms("cloudwatch:DescribeAlarms"),
        "DescribeAlarmHistory": _alarms("cloudwatch:DescribeAlarmHistory", "AlarmName"),
        "DeleteAlarms": _alarms("cloudwatch:DeleteAlarms"),
        "SetAlarmState": _alarms("cloudwatch:SetAlarmState", "AlarmName"),
        "PutMetricAlarm": _put_metric_alarm,
    },
    "lambda": {
        "Invoke": _function("lambda:InvokeFunction"),
        "GetFunction": _function("lambda:GetFunction"),
        "GetFunctionConfiguration": _function("lambda:GetFunctionConfiguration"),
    },
    # One stack that is named; its id in the ARN is made by the service.
    "cloudformation": {"DescribeStacks": _stack},
    "scheduler": {
        operation: _schedule(f"scheduler:{operation}")
        for operation in ("CreateSchedule", "UpdateSchedule", "GetSchedule", "DeleteSchedule")
    },
    "application-autoscaling": {
        **{
            operation: _scalable(operation)
            for operation in (
                *("RegisterScalableTarget", "DeregisterScalableTarget"),
                *("PutScalingPolicy", "DeleteScalingPolicy"),
            )
        },
        "DescribeScalableTargets": _anywhere("application-autoscaling:DescribeScalableTargets"),
        "DescribeScalingPolicies": _anywhere("application-autoscaling:DescribeScalingPolicies"),
    },
    "ecr": {
        "DescribeImages": _repository("ecr:DescribeImages"),
        "BatchGetImage": _batch_get_image,
    },
    "ssm": {
        "GetParameter": _parameter("ssm:GetParameter"),
        "GetParameters": _parameter("ssm:GetParameters"),
    },
    "iam": {"GetRole": _get_role},
    # Documentation of GetCallerIdentity: no permissions are required, not even a Deny stops it.
    "sts": {"AssumeRole": _assume_role, "GetCallerIdentity": _nothing},
}
