"""What each resource type of a template becomes: API calls on moto with the very properties.

Documentation: CloudFormation template reference, "AWS resource and property types reference".

The properties go to the service's own API call, so botocore refuses one that does not exist; a type
or a property that nothing here creates is an error that names it. Nothing is dropped silently.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError
from botocore.loaders import Loader
from botocore.model import ServiceModel

from local.cloudformation import Created, TemplateError
from local.lambdas import AsynchronousConfig, Function, Lambdas
from local.patterns import InvalidPattern, check
from local.principals import Principals
from local.queues import QueueMapping, Queues
from local.streams import StreamMapping, Streams

__all__ = ["CODE_BUCKET", "TYPES", "Site", "create"]

# A placeholder: code lies in local folders, its "key" is the path from the template.
CODE_BUCKET = "local"


@dataclass(frozen=True)
class Site:
    """Where a stack is made: its account and Region, and who takes what moto does not run."""

    account: str
    region: str
    stack: str
    root: Path
    principals: Principals
    lambdas: Lambdas
    queues: Queues
    streams: Streams

    def client(self, service: str) -> Any:
        return self.principals.administrator(service, self.account, self.region)

    def call(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Any:
        """One API call, with numbers and booleans as the service wants them."""
        # botocore's class of a client knows which operation a method is.
        client = self.client(service)
        name = client.meta.method_to_api_mapping[operation]
        shape = client.meta.service_model.operation_model(name).input_shape
        return getattr(client, operation)(**_coerced(shape, parameters))

    def name(self, logical: str, longest: int = 64) -> str:
        """A generated name: stack, logical id and twelve characters, the same every time."""
        seed = f"{self.account}/{self.region}/{self.stack}/{logical}".encode()
        suffix = hashlib.sha256(seed).hexdigest()[:12].upper()
        return f"{self.stack}-{logical}"[: longest - 13] + f"-{suffix}"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


Properties = dict[str, Any]


def create(kind: str, site: Site, logical: str, properties: Properties) -> Created:
    """Make a resource. Raises `TemplateError`, naming the resource and what is wrong."""
    if kind not in TYPES:
        raise TemplateError(f"{logical}: {kind} is not known here")
    remaining = dict(properties)
    try:
        return TYPES[kind](site, logical, remaining)
    except (
        ClientError,
        InvalidPattern,
        ParamValidationError,
        PermissionError,
        TemplateError,
    ) as error:
        raise TemplateError(f"{logical} ({kind}): {error}") from error
    except KeyError as error:
        raise TemplateError(f"{logical} ({kind}): the property {error} is missing") from error


def _coerced(shape: Any, value: Any) -> Any:
    """CloudFormation takes "5" for 5 and "true" for true; the APIs do not."""
    match shape.type_name:
        case "structure" if isinstance(value, Mapping):
            members = shape.members
            return {k: _coerced(members[k], v) if k in members else v for k, v in value.items()}
        case "list" if isinstance(value, list):
            return [_coerced(shape.member, each) for each in value]
        case "map" if isinstance(value, Mapping):
            return {name: _coerced(shape.value, each) for name, each in value.items()}
        case "integer" | "long" if isinstance(value, str) and value.lstrip("-").isdigit():
            return int(value)
        case "double" | "float" if isinstance(value, str):
            return float(value)
        case "boolean" if value in ("true", "false"):
            return value == "true"
        case "string" if isinstance(value, bool):
            return str(value).lower()
        case "string" if isinstance(value, int | float):
            return str(value)
        case _:
            return value


def _rest(kind: str, properties: Properties, *known: str) -> None:
    """Refuse the properties that are left over and not known."""
    if unknown := properties.keys() - set(known):
        raise TemplateError(f"{sorted(unknown)} of {kind} is not created here")


def _tags(properties: Properties) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in properties.pop("Tags", [])}


def _tag_list(properties: Properties) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in _tags(properties).items()]


def _document(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- DynamoDB, S3, KMS -----------------------------------------------------------------------


def _table(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.pop("TableName", None) or site.name(logical, 255)
    recovery = properties.pop("PointInTimeRecoverySpecification", None)
    expiry = properties.pop("TimeToLiveSpecification", None)
    if "StreamSpecification" in properties:
        properties["StreamSpecification"] = {
            **properties["StreamSpecification"],
            "StreamEnabled": True,
        }
    if tags := _tag_list(properties):
        properties["Tags"] = tags
    if "SSESpecification" in properties:
        given = dict(properties["SSESpecification"])
        given["Enabled"] = given.pop("SSEEnabled")
        properties["SSESpecification"] = given
    made = site.call("dynamodb", "create_table", {"TableName": name, **properties})
    if recovery is not None:
        asked = {"TableName": name, "PointInTimeRecoverySpecification": recovery}
        site.call("dynamodb", "update_continuous_backups", asked)
    if expiry is not None:
        asked = {"TableName": name, "TimeToLiveSpecification": expiry}
        site.call("dynamodb", "update_time_to_live", asked)
    description = made["TableDescription"]
    attributes = {"Arn": description["TableArn"]}
    if "LatestStreamArn" in description:
        attributes["StreamArn"] = description["LatestStreamArn"]
    return Created("AWS::DynamoDB::Table", name, attributes)


def _bucket(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.pop("BucketName", None) or site.name(logical, 63).lower()
    location = {"LocationConstraint": site.region}
    asked: Properties = {"Bucket": name}
    if site.region != "us-east-1":
        asked["CreateBucketConfiguration"] = location
    site.call("s3", "create_bucket", asked)
    # Property -> the call that sets it, and the name it has there.
    settings = {
        "VersioningConfiguration": ("put_bucket_versioning", "VersioningConfiguration"),
        "OwnershipControls": ("put_bucket_ownership_controls", "OwnershipControls"),
        "PublicAccessBlockConfiguration": (
            "put_public_access_block",
            "PublicAccessBlockConfiguration",
        ),
    }
    for each, (operation, argument) in settings.items():
        if each in properties:
            site.call("s3", operation, {"Bucket": name, argument: properties.pop(each)})
    if "BucketEncryption" in properties:
        rules = [
            {
                **{k: v for k, v in rule.items() if k == "BucketKeyEnabled"},
                "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
            }
            for rule in properties.pop("BucketEncryption")["ServerSideEncryptionConfiguration"]
        ]
        asked = {"Bucket": name, "ServerSideEncryptionConfiguration": {"Rules": rules}}
        site.call("s3", "put_bucket_encryption", asked)
    if "LifecycleConfiguration" in properties:
        rules = [
            _lifecycle_rule(each) for each in properties.pop("LifecycleConfiguration")["Rules"]
        ]
        asked = {"Bucket": name, "LifecycleConfiguration": {"Rules": rules}}
        site.call("s3", "put_bucket_lifecycle_configuration", asked)
    if tags := _tag_list(properties):
        site.call("s3", "put_bucket_tagging", {"Bucket": name, "Tagging": {"TagSet": tags}})
    _rest("AWS::S3::Bucket", properties)
    attributes: dict[str, str] = {
        "Arn": f"arn:aws:s3:::{name}",
        "DomainName": f"{name}.s3.amazonaws.com",
        "RegionalDomainName": f"{name}.s3.{site.region}.amazonaws.com",
    }
    return Created("AWS::S3::Bucket", name, attributes)


def _lifecycle_rule(rule: Properties) -> Properties:
    """The API spells the id otherwise, and wants a filter where there is none."""
    known = {"Id", "Status", "Prefix", "AbortIncompleteMultipartUpload"}
    _rest("AWS::S3::Bucket Rule", rule, *known)
    prefix = {"Prefix": rule.get("Prefix", "")}
    kept = {k: v for k, v in rule.items() if k not in ("Id", "Prefix")}
    return {"ID": rule["Id"], "Filter": prefix, **kept}


def _bucket_policy(site: Site, logical: str, properties: Properties) -> Created:
    bucket = properties["Bucket"]
    policy = _document(properties["PolicyDocument"])
    site.call("s3", "put_bucket_policy", {"Bucket": bucket, "Policy": policy})
    _rest("AWS::S3::BucketPolicy", properties, "Bucket", "PolicyDocument")
    return Created("AWS::S3::BucketPolicy", bucket)


def _key(site: Site, logical: str, properties: Properties) -> Created:
    rotated = properties.pop("EnableKeyRotation", False)
    tags = [{"TagKey": k, "TagValue": v} for k, v in _tags(properties).items()]
    given: Properties = {
        "Policy": _document(properties.pop("KeyPolicy")),
        **({"Tags": tags} if tags else {}),
        **{k: properties.pop(k) for k in ("Description", "KeySpec", "KeyUsage") if k in properties},
    }
    key = site.call("kms", "create_key", given)["KeyMetadata"]
    if rotated in (True, "true"):
        site.call("kms", "enable_key_rotation", {"KeyId": key["KeyId"]})
    # How long a deletion waits concerns nothing here.
    _rest("AWS::KMS::Key", properties, "PendingWindowInDays")
    return Created("AWS::KMS::Key", key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})


def _alias(site: Site, logical: str, properties: Properties) -> Created:
    site.call("kms", "create_alias", properties)
    return Created("AWS::KMS::Alias", properties["AliasName"])


# --- SQS, SNS --------------------------------------------------------------------------------


def _queue(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.pop("QueueName", None) or site.name(logical, 80)
    tags = _tags(properties)
    if "RedrivePolicy" in properties:
        properties["RedrivePolicy"] = _document(properties["RedrivePolicy"])
    _rest(
        "AWS::SQS::Queue", properties, *_input("sqs", "CreateQueue").members["Attributes"].key.enum
    )
    asked = {"QueueName": name, "Attributes": properties} | ({"tags": tags} if tags else {})
    url = f"https://sqs.{site.region}.amazonaws.com/{site.account}/{name}"
    site.call("sqs", "create_queue", asked)
    attributes = {"Arn": site.arn("sqs", name), "QueueName": name, "QueueUrl": url}
    return Created("AWS::SQS::Queue", url, attributes)


def _queue_policy(site: Site, logical: str, properties: Properties) -> Created:
    policy = _document(properties["PolicyDocument"])
    for url in properties["Queues"]:
        asked = {"QueueUrl": url, "Attributes": {"Policy": policy}}
        site.call("sqs", "set_queue_attributes", asked)
    _rest("AWS::SQS::QueuePolicy", properties, "PolicyDocument", "Queues")
    return Created("AWS::SQS::QueuePolicy", site.name(logical))


# botocore lists neither; they are in the descriptions of `CreateTopic` and `Subscribe`.
_TOPIC_ATTRIBUTES = ("DisplayName", "KmsMasterKeyId", "SignatureVersion", "TracingConfig")
_SUBSCRIPTION_ATTRIBUTES = (
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
)


def _topic(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.pop("TopicName", None) or site.name(logical, 256)
    subscriptions = properties.pop("Subscription", [])
    tags = _tag_list(properties)
    _rest("AWS::SNS::Topic", properties, *_TOPIC_ATTRIBUTES)
    asked = {"Name": name, "Attributes": properties} | ({"Tags": tags} if tags else {})
    arn = site.call("sns", "create_topic", asked)["TopicArn"]
    for each in subscriptions:
        site.call("sns", "subscribe", {"TopicArn": arn, **each})
    return Created("AWS::SNS::Topic", arn, {"TopicArn": arn, "TopicName": name})


def _topic_policy(site: Site, logical: str, properties: Properties) -> Created:
    policy = _document(properties["PolicyDocument"])
    for arn in properties["Topics"]:
        asked = {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": policy}
        site.call("sns", "set_topic_attributes", asked)
    _rest("AWS::SNS::TopicPolicy", properties, "PolicyDocument", "Topics")
    return Created("AWS::SNS::TopicPolicy", site.name(logical))


def _subscription(site: Site, logical: str, properties: Properties) -> Created:
    asked = {name: properties.pop(name) for name in ("TopicArn", "Protocol", "Endpoint")}
    _rest("AWS::SNS::Subscription", properties, *_SUBSCRIPTION_ATTRIBUTES)
    if properties:
        asked["Attributes"] = {name: _text(value) for name, value in properties.items()}
    asked["ReturnSubscriptionArn"] = True
    arn = site.call("sns", "subscribe", asked)["SubscriptionArn"]
    return Created("AWS::SNS::Subscription", arn)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


# --- IAM -------------------------------------------------------------------------------------


def _role(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.pop("RoleName", None) or site.name(logical)
    inline, managed = properties.pop("Policies", []), properties.pop("ManagedPolicyArns", [])
    trust = properties.pop("AssumeRolePolicyDocument")
    _check_principals(site, trust)
    if tags := _tag_list(properties):
        properties["Tags"] = tags
    asked = {"RoleName": name, "AssumeRolePolicyDocument": _document(trust), **properties}
    role = site.call("iam", "create_role", asked)["Role"]
    for arn in managed:
        site.call("iam", "attach_role_policy", {"RoleName": name, "PolicyArn": arn})
    for policy in inline:
        _put_role_policy(site, name, policy["PolicyName"], policy["PolicyDocument"])
    return Created("AWS::IAM::Role", name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


def _check_principals(site: Site, document: Mapping[str, Any]) -> None:
    """IAM refuses a trust policy that names a role that does not exist."""
    for statement in document["Statement"]:
        principal = statement.get("Principal")
        named = principal.get("AWS", []) if isinstance(principal, Mapping) else []
        for arn in [named] if isinstance(named, str) else named:
            if ":role/" not in arn:
                continue
            iam = site.principals.administrator("iam", arn.split(":")[4], site.region)
            try:
                iam.get_role(RoleName=arn.rpartition("/")[2])
            except iam.exceptions.NoSuchEntityException as error:
                raise TemplateError(f'Invalid principal in policy: "AWS":"{arn}"') from error


def _put_role_policy(site: Site, role: str, name: str, document: Any) -> None:
    asked = {"RoleName": role, "PolicyName": name, "PolicyDocument": _document(document)}
    site.call("iam", "put_role_policy", asked)


def _policy(site: Site, logical: str, properties: Properties) -> Created:
    for role in properties["Roles"]:
        _put_role_policy(site, role, properties["PolicyName"], properties["PolicyDocument"])
    _rest("AWS::IAM::Policy", properties, "Roles", "PolicyName", "PolicyDocument")
    return Created("AWS::IAM::Policy", site.name(logical))


def _managed_policy(site: Site, logical: str, properties: Properties) -> Created:
    roles = properties.pop("Roles", [])
    name = properties.pop("ManagedPolicyName", None) or site.name(logical, 128)
    document = _document(properties.pop("PolicyDocument"))
    asked = {"PolicyName": name, "PolicyDocument": document, **properties}
    arn = site.call("iam", "create_policy", asked)["Policy"]["Arn"]
    for role in roles:
        site.call("iam", "attach_role_policy", {"RoleName": role, "PolicyArn": arn})
    return Created("AWS::IAM::ManagedPolicy", arn, {"PolicyArn": arn})


# --- Lambda, logs ----------------------------------------------------------------------------


def _empty_zip() -> bytes:
    """moto wants an archive; the code itself is imported from its folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("in-a-local-folder"), "")
    return buffer.getvalue()


def _folder(site: Site, code: Mapping[str, str]) -> Path:
    if code.get("S3Bucket") != CODE_BUCKET:
        raise TemplateError(f"the code {dict(code)} is not in a local folder")
    folder = (site.root / code["S3Key"]).resolve()
    if not folder.is_dir():
        raise TemplateError(f"the code folder {code['S3Key']} does not exist")
    return folder


def _layer(site: Site, logical: str, properties: Properties) -> Created:
    _folder(site, properties["Content"])
    properties["Content"] = {"ZipFile": _empty_zip()}
    properties.setdefault("LayerName", site.name(logical))
    made = site.call("lambda", "publish_layer_version", properties)
    arn = made["LayerVersionArn"]
    return Created("AWS::Lambda::LayerVersion", arn, {"LayerVersionArn": arn})


def _function(site: Site, logical: str, properties: Properties) -> Created:
    folder = _folder(site, properties["Code"])
    properties["Code"] = {"ZipFile": _empty_zip()}
    name = properties.setdefault("FunctionName", site.name(logical))
    reserved = properties.pop("ReservedConcurrentExecutions", None)
    if tags := _tags(properties):
        properties["Tags"] = tags
    site.call("lambda", "create_function", properties)
    if reserved is not None:
        asked = {"FunctionName": name, "ReservedConcurrentExecutions": reserved}
        site.call("lambda", "put_function_concurrency", asked)
    variables = properties.get("Environment", {}).get("Variables", {})
    function = Function(
        account=site.account,
        region=site.region,
        name=name,
        folder=folder,
        handler=properties["Handler"],
        role=properties["Role"],
        environment={key: _text(value) for key, value in variables.items()},
        timeout=int(properties.get("Timeout", 3)),
        memory=int(properties.get("MemorySize", 128)),
        dead_letter_queue=properties.get("DeadLetterConfig", {}).get("TargetArn"),
    )
    site.lambdas.add(function)
    return Created("AWS::Lambda::Function", name, {"Arn": function.arn})


def _event_invoke_config(site: Site, logical: str, properties: Properties) -> Created:
    function = site.lambdas.find(site.arn("lambda", f"function:{properties['FunctionName']}"))
    _validate("lambda", "PutFunctionEventInvokeConfig", properties)
    destinations = properties.get("DestinationConfig", {})
    site.lambdas.asynchronous[function.arn] = AsynchronousConfig(
        maximum_retries=int(properties.get("MaximumRetryAttempts", 2)),
        maximum_age=int(properties.get("MaximumEventAgeInSeconds", 21600)),
        on_success=destinations.get("OnSuccess", {}).get("Destination"),
        on_failure=destinations.get("OnFailure", {}).get("Destination"),
    )
    return Created("AWS::Lambda::EventInvokeConfig", site.name(logical))


def _permission(site: Site, logical: str, properties: Properties) -> Created:
    site.call("lambda", "add_permission", {"StatementId": site.name(logical, 100), **properties})
    return Created("AWS::Lambda::Permission", site.name(logical))


def _event_source_mapping(site: Site, logical: str, properties: Properties) -> Created:
    """Not made in moto, which would call the function itself as soon as something arrives."""
    kind = "AWS::Lambda::EventSourceMapping"
    _validate("lambda", "CreateEventSourceMapping", properties)
    name = properties["FunctionName"]
    function = name if name.startswith("arn:") else site.arn("lambda", f"function:{name}")
    source = properties["EventSourceArn"]
    patterns = tuple(
        json.loads(each["Pattern"])
        for each in properties.get("FilterCriteria", {}).get("Filters", [])
    )
    for pattern in patterns:
        check(pattern)
    window = timedelta(seconds=int(properties.get("MaximumBatchingWindowInSeconds", 0)))
    partial = "ReportBatchItemFailures" in properties.get("FunctionResponseTypes", [])
    common = {
        *("FunctionName", "EventSourceArn", "FilterCriteria", "FunctionResponseTypes", "BatchSize"),
        *("MaximumBatchingWindowInSeconds", "Tags"),
    }
    if source.split(":")[2] == "sqs":
        _rest(kind, properties, *common, "ScalingConfig")
        size = int(properties.get("BatchSize", 10))
        site.queues.add(QueueMapping(source, function, size, window, partial, patterns))
    elif "/stream/" in source:
        handled = {
            *("StartingPosition", "MaximumRetryAttempts", "MaximumRecordAgeInSeconds"),
            *("BisectBatchOnFunctionError", "DestinationConfig"),
        }
        _rest(kind, properties, *common, *handled)
        failures = properties.get("DestinationConfig", {}).get("OnFailure", {})
        site.streams.add(
            StreamMapping(
                stream=source,
                function=function,
                starting_position=properties["StartingPosition"],
                batch_size=int(properties.get("BatchSize", 100)),
                batching_window=window,
                maximum_retries=int(properties.get("MaximumRetryAttempts", -1)),
                maximum_age=int(properties.get("MaximumRecordAgeInSeconds", -1)),
                bisect=properties.get("BisectBatchOnFunctionError") in (True, "true"),
                partial_responses=partial,
                on_failure=failures.get("Destination"),
                patterns=patterns,
            )
        )
    else:
        raise TemplateError(f"{source} is no event source here")
    return Created(kind, site.name(logical))


def _validate(service: str, operation: str, properties: Properties) -> None:
    """Check properties against an API call that is not made. Raises `TemplateError`."""
    if unknown := properties.keys() - _input(service, operation).members.keys():
        raise TemplateError(f"{operation} has no {sorted(unknown)}")


def _input(service: str, operation: str) -> Any:
    model = ServiceModel(Loader().load_service_model(service, "service-2"))
    return model.operation_model(operation).input_shape


def _log_group(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.get("LogGroupName") or site.name(logical, 512)
    key = {"kmsKeyId": properties["KmsKeyId"]} if "KmsKeyId" in properties else {}
    site.call("logs", "create_log_group", {"logGroupName": name, **key})
    if "RetentionInDays" in properties:
        asked = {"logGroupName": name, "retentionInDays": properties["RetentionInDays"]}
        site.call("logs", "put_retention_policy", asked)
    _rest("AWS::Logs::LogGroup", properties, "LogGroupName", "RetentionInDays", "KmsKeyId")
    return Created("AWS::Logs::LogGroup", name, {"Arn": site.arn("logs", f"log-group:{name}:*")})


# --- EventBridge -----------------------------------------------------------------------------


def _event_bus(site: Site, logical: str, properties: Properties) -> Created:
    if tags := _tag_list(properties):
        properties["Tags"] = tags
    made = site.call("events", "create_event_bus", properties)
    name = properties["Name"]
    return Created("AWS::Events::EventBus", name, {"Arn": made["EventBusArn"], "Name": name})


def _event_bus_policy(site: Site, logical: str, properties: Properties) -> Created:
    bus = properties.get("EventBusName", "default")
    kept = site.call("events", "describe_event_bus", {"Name": bus}).get("Policy")
    statements = json.loads(kept)["Statement"] if kept else []
    statement = {"Sid": properties["StatementId"], **properties["Statement"]}
    policy = {"Version": "2012-10-17", "Statement": [*statements, statement]}
    asked = {"EventBusName": bus, "Policy": json.dumps(policy)}
    site.call("events", "put_permission", asked)
    kind = "AWS::Events::EventBusPolicy"
    _rest(kind, properties, "EventBusName", "StatementId", "Statement")
    return Created(kind, site.name(logical))


_TARGETS = {"lambda", "sqs", "sns", "events"}


def _rule(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.pop("Name", None) or site.name(logical)
    targets = properties.pop("Targets", [])
    bus = properties.pop("EventBusName", "default").rpartition("/")[2]
    if "ScheduleExpression" in properties:
        raise TemplateError("use AWS::Scheduler::Schedule: scheduled rules do not fire here")
    pattern = properties.pop("EventPattern")
    check(pattern)
    for target in targets:
        if target["Arn"].split(":")[2] not in _TARGETS:
            raise TemplateError(f"nothing is delivered to {target['Arn']} here")
    asked = {"Name": name, "EventPattern": json.dumps(pattern), "EventBusName": bus, **properties}
    arn = site.call("events", "put_rule", asked)["RuleArn"]
    if targets:
        asked = {"Rule": name, "EventBusName": bus, "Targets": targets}
        site.call("events", "put_targets", asked)
    return Created("AWS::Events::Rule", name, {"Arn": arn})


def _schedule(site: Site, logical: str, properties: Properties) -> Created:
    properties.setdefault("Name", site.name(logical))
    made = site.call("scheduler", "create_schedule", properties)
    return Created("AWS::Scheduler::Schedule", properties["Name"], {"Arn": made["ScheduleArn"]})


# --- CloudWatch ------------------------------------------------------------------------------


def _alarm(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.setdefault("AlarmName", site.name(logical, 255))
    site.call("cloudwatch", "put_metric_alarm", properties)
    return Created("AWS::CloudWatch::Alarm", name, {"Arn": site.arn("cloudwatch", f"alarm:{name}")})


def _dashboard(site: Site, logical: str, properties: Properties) -> Created:
    name = properties.setdefault("DashboardName", site.name(logical, 255))
    site.call("cloudwatch", "put_dashboard", properties)
    return Created("AWS::CloudWatch::Dashboard", name)


# --- ECR, SageMaker --------------------------------------------------------------------------


def _lower_first(properties: Properties) -> Properties:
    """ECR's API spells its parameters with a small letter first."""
    return {f"{name[0].lower()}{name[1:]}": value for name, value in properties.items()}


def _pull_through_cache_rule(site: Site, logical: str, properties: Properties) -> Created:
    site.call("ecr", "create_pull_through_cache_rule", _lower_first(properties))
    return Created("AWS::ECR::PullThroughCacheRule", properties["EcrRepositoryPrefix"])


def _repository(site: Site, logical: str, properties: Properties) -> Created:
    policy = properties.pop("RepositoryPolicyText", None)
    name = properties.setdefault("RepositoryName", site.name(logical).lower())
    if tags := _tag_list(properties):
        properties["Tags"] = tags
    for each in ("EncryptionConfiguration", "ImageScanningConfiguration"):
        if each in properties:
            properties[each] = _lower_first(properties[each])
    asked = _lower_first(properties)
    made = site.call("ecr", "create_repository", asked)["repository"]
    if policy is not None:
        given = {"repositoryName": name, "policyText": _document(policy)}
        site.call("ecr", "set_repository_policy", given)
    attributes = {"Arn": made["repositoryArn"], "RepositoryUri": made["repositoryUri"]}
    return Created("AWS::ECR::Repository", name, attributes)


def _model_package_group(site: Site, logical: str, properties: Properties) -> Created:
    policy = properties.pop("ModelPackageGroupPolicy", None)
    arn = site.call("sagemaker", "create_model_package_group", properties)["ModelPackageGroupArn"]
    if policy is not None:
        named = {"ModelPackageGroupName": properties["ModelPackageGroupName"]}
        given = {**named, "ResourcePolicy": _document(policy)}
        site.call("sagemaker", "put_model_package_group_policy", given)
    return Created("AWS::SageMaker::ModelPackageGroup", arn, {"ModelPackageGroupArn": arn})


TYPES: Mapping[str, Callable[[Site, str, Properties], Created]] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::Dashboard": _dashboard,
    "AWS::DynamoDB::Table": _table,
    "AWS::ECR::PullThroughCacheRule": _pull_through_cache_rule,
    "AWS::ECR::Repository": _repository,
    "AWS::Events::EventBus": _event_bus,
    "AWS::Events::EventBusPolicy": _event_bus_policy,
    "AWS::Events::Rule": _rule,
    "AWS::IAM::ManagedPolicy": _managed_policy,
    "AWS::IAM::Policy": _policy,
    "AWS::IAM::Role": _role,
    "AWS::KMS::Alias": _alias,
    "AWS::KMS::Key": _key,
    "AWS::Lambda::EventInvokeConfig": _event_invoke_config,
    "AWS::Lambda::EventSourceMapping": _event_source_mapping,
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::LayerVersion": _layer,
    "AWS::Lambda::Permission": _permission,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SNS::Subscription": _subscription,
    "AWS::SNS::Topic": _topic,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::SQS::Queue": _queue,
    "AWS::SageMaker::ModelPackageGroup": _model_package_group,
    "AWS::SQS::QueuePolicy": _queue_policy,
    "AWS::Scheduler::Schedule": _schedule,
}
