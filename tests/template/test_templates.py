"""What both templates promise, read from what CloudFormation would be given."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.patterns import check, matches
from tests.template.stacks import (
    ROOT,
    Template,
    as_list,
    logical,
    may,
    of_type,
    resolved,
    role_of,
    source,
    statements,
    translated,
)

TEMPLATES = ("template.yaml", "target.yaml")
GROUP = "group.yaml"
FUNCTIONS = ("Act", "Board", "Intake", "Notify", "Reconcile", "Report", "Sweep")

# Every resource with a wildcard, and why it needs one: template, role, Sid.
WILDCARDS = {
    "template.yaml ReconcileRole EnterTargetAccounts": "the accounts are in aws:ResourceAccount",
    "template.yaml ReconcileRole ReadAndMarkPackages": "groups come by policy, not by stack",
    "template.yaml ReconcileRole StartTraining": "policies name the pipelines",
    "template.yaml ReconcileRole FollowTraining": "policies name the pipelines",
    "template.yaml ReconcileRole ReadModels": "every object of one bucket",
    "template.yaml ReconcileRole PinLargeModels": "uploads under one prefix",
    "template.yaml ReconcileRole TellImages": "images lie in other accounts and Regions, too",
    "template.yaml ReconcileRole FindTags": "packages name the repositories",
    "template.yaml ReconcileRole NeverApprove": "a refusal, of whatever package it is",
    "template.yaml ReconcileRole NeverOpenGates": "a refusal, of whatever package it is",
    "template.yaml NotifyRole FindStream": "ListStreams knows no single stream",
    "template.yaml BoardRole LookIntoTargetAccounts": "the accounts are in aws:ResourceAccount",
    "template.yaml ReportRole LookIntoTargetAccounts": "the accounts are in aws:ResourceAccount",
    "template.yaml ReportRole WriteReports": "every object of one bucket",
    "target.yaml TargetRole ReadServing": "policies name the endpoints",
    "target.yaml TargetRole ReadConfigs": "others' configurations are taken over",
    "target.yaml TargetRole ShiftTraffic": "policies name the endpoints",
    "target.yaml TargetRole MakeModels": "only names of our form",
    "target.yaml TargetRole MakeConfigs": "only names of our form",
    "target.yaml TargetRole MakeAndUpdateEndpoints": "policies name the endpoints",
    "target.yaml TargetRole ServeAndRemoveEndpoints": "policies name the endpoints",
    "target.yaml TargetRole TagWhatWeMake": "policies name the endpoints",
    "target.yaml TargetRole MakeAlarms": "only names of our form",
    "target.yaml TargetRole ReadAlarms": "policies name alarms",
    "target.yaml TargetRole ReadMetrics": "GetMetricData takes no other",
    "target.yaml ObserverRole SeeMetrics": "GetMetricData takes no other",
    "target.yaml TargetRole PublishVerdicts": "PutMetricData takes no other; see its namespace",
    "target.yaml TargetRole ReadHubModels": "every object of one bucket",
    "target.yaml TargetRole KeepArtifacts": "every object of one bucket",
    "target.yaml TargetRole GoOnCopying": "every object of one bucket",
    "target.yaml TargetRole RegisterCopies": "policies name the groups",
    "target.yaml TargetRole PullIntoCopies": "packages name the repositories; one prefix",
    "target.yaml TargetRole SeeCopies": "packages name the repositories; one prefix",
    "target.yaml TargetRole NeverApprove": "a refusal, of whatever package it is",
    "target.yaml ImageRole LogInToRegistries": "GetAuthorizationToken takes no other",
    "target.yaml ImageRole ReadHubImages": "packages name the repositories, of the hub alone",
    "target.yaml ImageRole WriteCopies": "packages name the repositories; one prefix",
    "target.yaml ExecutionRole ReadArtifacts": "every object of one bucket",
    "target.yaml ExecutionRole LogInToRegistry": "GetAuthorizationToken takes no other",
    "target.yaml ExecutionRole PullImages": "prebuilt images lie in other accounts in each Region",
    "target.yaml ExecutionRole WriteLogs": "SageMaker names the log groups after the endpoints",
    "target.yaml ExecutionRole PublishMetrics": "PutMetricData takes no other; see its namespace",
    "target.yaml ExecutionRole WatchRollbackAlarms": "policies name alarms",
}
ANYWHERE = {
    "template.yaml ReconcileRole NeverApprove",
    "template.yaml ReconcileRole NeverOpenGates",
    "target.yaml TargetRole NeverApprove",
    "target.yaml TargetRole ReadMetrics",
    "target.yaml ObserverRole SeeMetrics",
    "target.yaml TargetRole PublishVerdicts",
    "target.yaml ExecutionRole LogInToRegistry",
    "target.yaml ExecutionRole PublishMetrics",
    "target.yaml ImageRole LogInToRegistries",
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command of this environment, in the repository."""
    environment = {**os.environ, "AWS_DEFAULT_REGION": "eu-west-1", "SAM_CLI_TELEMETRY": "0"}
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run(
        [program, *command[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def all_statements() -> list[tuple[str, dict[str, Any]]]:
    """Every statement of every role of both stacks, with `<template> <role> <Sid>`."""
    return [
        (f"{name} {role} {statement.get('Sid')}", statement)
        for name in TEMPLATES
        for role in of_type(translated(name), "AWS::IAM::Role")
        for statement in statements(translated(name), role)
    ]


_OUR_ROLES = r"role/sageops-(target|forward|images|model-execution)-"
_RESOURCE_POLICIES = (
    *("KeyPolicy", "PolicyDocument", "AssumeRolePolicyDocument"),
    *("RepositoryPolicyText", "ModelPackageGroupPolicy"),
)


def given(value: Any) -> Any:
    """What stands there if its condition holds."""
    return value["Fn::If"][1] if isinstance(value, dict) and "Fn::If" in value else value


def resource_statements(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """Every statement that lets others at a resource: of keys, queues, topics, buckets, buses,
    roles, repositories and groups, with its Sid."""
    found: list[tuple[str, dict[str, Any]]] = []
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        for name in _RESOURCE_POLICIES:
            document = given(properties.get(name, {})) if isinstance(properties, dict) else {}
            each_ = [given(each) for each in document.get("Statement", [])]
            found += [(each.get("Sid", ""), each) for each in each_]
        if resource["Type"] == "AWS::Events::EventBusPolicy":
            found.append((properties["StatementId"], properties["Statement"]))
    return found


def text_of(resource: Any) -> str:
    return resource if isinstance(resource, str) else json.dumps(resource)


class TestLinters:
    @pytest.mark.parametrize("template", (*TEMPLATES, GROUP, "stacks/operations.yaml"))
    def test_cfn_lint_finds_nothing(self, template: str) -> None:
        linted = run("cfn-lint", template)
        assert (linted.returncode, linted.stdout) == (0, "")

    @pytest.mark.parametrize("template", (*TEMPLATES, GROUP))
    def test_sam_validate_finds_nothing(self, template: str) -> None:
        validated = run("sam", "validate", "--lint", "--template", template)
        assert validated.returncode == 0, validated.stdout + validated.stderr
        assert "is a valid SAM Template" in validated.stdout


class TestInterface:
    """The names that the command, the demo and the other stack rely on."""

    def test_hub(self) -> None:
        hub = source("template.yaml")
        assert set(hub["Parameters"]) == {
            "TargetAccounts",
            "ExternalId",
            "OrganizationId",
            "ReaderRoleArns",
            "NightlySchedule",
            "TimeZone",
            "NotificationEmail",
            "ChatNotifications",
        }
        assert set(hub["Outputs"]) == {
            "TableName",
            "QueueUrl",
            "DeadLetterQueueUrl",
            "UndeliveredQueueUrl",
            "UntoldQueueUrl",
            "BusArn",
            "ReconcileRoleArn",
            "ObserverRoleArns",
            "ActionTopicArn",
            "AlertTopicArn",
            "InfoTopicArn",
            "ModelBucketName",
            "ModelKeyArn",
            "BoardFunctionName",
            "ActFunctionName",
            "ReportFunctionName",
            "ReportBucketName",
            "DashboardName",
            "OperationsTopicArn",
        }

    def test_target(self) -> None:
        target = source("target.yaml")
        assert set(target["Parameters"]) == {
            "HubAccountId",
            "HubBusArn",
            "HubReconcileRoleArn",
            "HubModelBucketName",
            "HubModelKeyArn",
            "HubObserverRoleArns",
            "ExternalId",
            "OrganizationId",
            "CopyImages",
        }
        assert set(target["Outputs"]) == {
            "TargetRoleArn",
            "ExecutionRoleArn",
            "ArtifactBucketName",
            "ArtifactKeyArn",
        }

    def test_only_a_given_address_is_subscribed(self) -> None:
        subscriptions = [
            resource
            for resource in translated("template.yaml")["Resources"].values()
            if resource["Type"] == "AWS::SNS::Subscription"
        ]
        assert len(subscriptions) == 3  # and one of the alarms, in stacks/operations.yaml
        assert {each["Condition"] for each in subscriptions} == {"HasNotificationEmail"}


class TestRoles:
    def test_no_managed_policies(self) -> None:
        """Also none of those that SAM attaches by itself to a role that it makes."""
        for name in TEMPLATES:
            for role, properties in of_type(translated(name), "AWS::IAM::Role").items():
                assert "ManagedPolicyArns" not in properties, f"{name} {role}"

    def test_each_function_has_a_role_of_its_own(self) -> None:
        hub = translated("template.yaml")
        functions = of_type(hub, "AWS::Lambda::Function")
        roles = [role_of(hub, function) for function in functions]
        assert sorted(functions) == sorted(FUNCTIONS)
        assert roles == [f"{function}Role" for function in functions]

    def test_each_statement_has_a_name_that_is_its_own(self) -> None:
        names = [name for name, _ in all_statements()]
        assert not [name for name in names if name.endswith("None")]
        assert len(names) == len(set(names))

    def test_no_wildcard_action(self) -> None:
        wild = [
            name
            for name, statement in all_statements()
            if any("*" in action for action in as_list(statement["Action"]))
        ]
        assert wild == []

    def test_each_wildcard_resource_has_a_reason(self) -> None:
        wild = {
            name
            for name, statement in all_statements()
            if any(set("*?") & set(text_of(each)) for each in as_list(statement["Resource"]))
        }
        assert wild == set(WILDCARDS)

    def test_few_statements_reach_everything(self) -> None:
        everywhere = {
            name for name, statement in all_statements() if "*" in as_list(statement["Resource"])
        }
        assert everywhere == ANYWHERE

    def test_the_hub_enters_target_accounts_only(self) -> None:
        entering = dict(all_statements())["template.yaml ReconcileRole EnterTargetAccounts"]
        assert entering["Condition"] == {
            "StringEquals": {"aws:ResourceAccount": {"Ref": "TargetAccounts"}}
        }

    def test_the_target_role_lets_in_only_who_says_for_whose_sake(self) -> None:
        trust = source("target.yaml")["Resources"]["TargetRole"]["Properties"][
            "AssumeRolePolicyDocument"
        ]["Statement"]
        assert all(each["Principal"] == {"AWS": {"Ref": "HubReconcileRoleArn"}} for each in trust)
        [entering] = [each for each in trust if "sts:AssumeRole" in as_list(each["Action"])]
        assert entering["Condition"]["StringEquals"]["sts:ExternalId"] == {"Ref": "ExternalId"}
        assert set(entering["Condition"]["StringLike"]) == {
            "sts:SourceIdentity",
            "aws:RequestTag/sageops:release",
            "aws:RequestTag/sageops:stage",
            "aws:RequestTag/sageops:approver",
        }

    def test_no_trust_in_a_whole_account(self) -> None:
        """Nor in everybody: an account, `:root` or `*` may do nothing by itself. A key's own
        account decides about it, or nobody could; a refusal may be everybody's; whatever else an
        account is named for is bound to a role of it by its name."""
        found = []
        for name in (*TEMPLATES, GROUP):
            for sid, statement in resource_statements(translated(name)):
                text = json.dumps(statement["Principal"])
                if statement["Effect"] == "Deny" or sid == "AccountDecides":
                    continue
                if "root" in text or "*" in text or "TargetAccounts" in text:
                    role = statement.get("Condition", {}).get("ArnLike", {}).get("aws:PrincipalArn")
                    if not role or not re.search(_OUR_ROLES, str(role)):
                        found.append(f"{name} {sid}")
        assert found == []

    def test_the_control_plane_is_denied_to_approve(self) -> None:
        touching = {
            (name.split()[0], name.split()[1])
            for name, statement in all_statements()
            if any(
                action.startswith(("sagemaker:Create", "sagemaker:Update"))
                for action in as_list(statement["Action"])
            )
        }
        denied = {
            (name.split()[0], name.split()[1])
            for name, statement in all_statements()
            if statement["Effect"] == "Deny"
            and set(as_list(statement["Action"]))
            == {"sagemaker:CreateModelPackage", "sagemaker:UpdateModelPackage"}
            and statement["Resource"] == "*"
            and statement["Condition"]
            == {"StringEquals": {"sagemaker:ModelApprovalStatus": "Approved"}}
        }
        assert (
            touching
            == denied
            == {
                ("template.yaml", "ReconcileRole"),
                ("target.yaml", "TargetRole"),
            }
        )

    def test_who_looks_into_a_target_account_may_read_metrics_and_nothing_else(self) -> None:
        target = source("target.yaml")["Resources"]["ObserverRole"]["Properties"]
        [entering, saying] = target["AssumeRolePolicyDocument"]["Statement"]
        assert entering["Condition"] == {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}
        for each in (entering, saying):
            assert each["Principal"] == {"AWS": {"Ref": "HubObserverRoleArns"}}
        allowed = [each["Action"] for each in statements(translated("target.yaml"), "ObserverRole")]
        assert allowed == ["cloudwatch:GetMetricData"]
        hub = dict(all_statements())
        for role in ("BoardRole", "ReportRole"):
            statement = hub[f"template.yaml {role} LookIntoTargetAccounts"]
            assert statement["Resource"]["Fn::Sub"].endswith(":role/sageops-observer-*")
            assert statement["Condition"] == {
                "StringEquals": {"aws:ResourceAccount": {"Ref": "TargetAccounts"}}
            }

    def test_models_get_no_role_but_theirs(self) -> None:
        passing = [
            statement
            for _, statement in all_statements()
            if "iam:PassRole" in as_list(statement["Action"])
        ]
        assert [each["Resource"] for each in passing] == [{"Fn::GetAtt": ["ExecutionRole", "Arn"]}]
        assert [each["Condition"] for each in passing] == [
            {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        ]

    def test_guardrails_can_read_their_alarms(self) -> None:
        """Without it SageMaker never rolls back (page 'Auto-Rollback Configuration')."""
        actions = {
            action
            for statement in statements(translated("target.yaml"), "ExecutionRole")
            for action in as_list(statement["Action"])
        }
        assert "cloudwatch:DescribeAlarms" in actions

    def test_only_reconcile_touches_sagemaker_and_the_board_only_reads(self) -> None:
        hub = translated("template.yaml")
        services = {
            role: {
                action.partition(":")[0]
                for statement in statements(hub, role)
                for action in as_list(statement["Action"])
            }
            for role in of_type(hub, "AWS::IAM::Role")
        }
        assert [role for role, used in services.items() if "sagemaker" in used] == ["ReconcileRole"]
        entering = [role for role, used in services.items() if "sts" in used]
        assert entering == ["ReconcileRole", "BoardRole", "ReportRole"]
        assert services["BoardRole"] == {"logs", "dynamodb", "kms", "sts"}
        assert not may(hub, "BoardRole", "dynamodb:PutItem", {"Fn::GetAtt": ["Table", "Arn"]})
        assert not may(hub, "BoardRole", "dynamodb:Scan", {"Fn::GetAtt": ["Table", "Arn"]})


class TestFunctions:
    def test_all_run_on_the_same_runtime_with_the_core_layer(self) -> None:
        for properties in of_type(translated("template.yaml"), "AWS::Lambda::Function").values():
            assert properties["Runtime"] == "python3.13"
            assert properties["Architectures"] == ["arm64"]
            assert [logical(layer)[:9] for layer in properties["Layers"]] == ["CoreLayer"]

    def test_logs_are_kept_for_a_time_and_not_for_ever(self) -> None:
        hub = translated("template.yaml")
        groups = of_type(hub, "AWS::Logs::LogGroup")
        for function, properties in of_type(hub, "AWS::Lambda::Function").items():
            group = logical(properties["LoggingConfig"]["LogGroup"])
            assert groups[group]["RetentionInDays"] == 90
            arn = {"Fn::GetAtt": [group, "Arn"]}
            assert may(hub, role_of(hub, function), "logs:PutLogEvents", arn)

    def test_a_message_stays_hidden_while_it_may_be_worked_on(self) -> None:
        """Six times the function's timeout: Lambda guide, 'Creating an event source for SQS'."""
        hub = translated("template.yaml")
        sources = of_type(hub, "AWS::Lambda::EventSourceMapping").values()
        queued = [each for each in sources if "ScalingConfig" in each]
        assert [logical(each["FunctionName"]) for each in queued] == ["Reconcile"]
        for each in queued:
            queue = hub["Resources"][logical(each["EventSourceArn"])]["Properties"]
            function = hub["Resources"][logical(each["FunctionName"])]["Properties"]
            assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
            assert each["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            assert each["ScalingConfig"]["MaximumConcurrency"] >= 2  # the least that Lambda takes

    def test_notify_reads_new_log_entries_only(self) -> None:
        hub = translated("template.yaml")
        [reading] = [
            each
            for each in of_type(hub, "AWS::Lambda::EventSourceMapping").values()
            if logical(each["FunctionName"]) == "Notify"
        ]
        [criterion] = reading["FilterCriteria"]["Filters"]
        pattern = json.loads(criterion["Pattern"])

        def record(event: str, key: str) -> dict[str, Any]:
            keys = {"pk": {"S": "GROUP#churn"}, "sk": {"S": key}}
            return {"eventName": event, "dynamodb": {"Keys": keys}}

        assert matches(pattern, record("INSERT", "LOG#000012"))
        assert not matches(pattern, record("MODIFY", "LOG#000012"))
        assert not matches(pattern, record("REMOVE", "LOG#000012"))
        assert not matches(pattern, record("INSERT", "HEAD"))
        table = hub["Resources"]["Table"]["Properties"]
        assert table["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}


class TestNothingIsLost:
    """What could not be delivered lands in a queue that its sender may really write to."""

    def test_rules(self) -> None:
        hub = translated("template.yaml")
        for rule, properties in of_type(hub, "AWS::Events::Rule").items():
            for target in properties["Targets"]:
                queue = logical(target["DeadLetterConfig"]["Arn"])
                assert self.accepts(hub, queue, {"Fn::GetAtt": [rule, "Arn"]}), rule

    @staticmethod
    def accepts(hub: Template, queue: str, rule: Any) -> bool:
        """A rule's `DeadLetterConfig` gives no permission; the queue's policy must."""
        return any(
            {"Ref": queue} in policy["Queues"]
            and statement["Effect"] == "Allow"
            and statement["Principal"] == {"Service": "events.amazonaws.com"}
            and statement["Action"] == "sqs:SendMessage"
            and statement["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}
            and rule in as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
            for policy in of_type(hub, "AWS::SQS::QueuePolicy").values()
            for statement in policy["PolicyDocument"]["Statement"]
        )

    def test_schedules(self) -> None:
        """Scheduler writes with its own role ('Configuring a dead-letter queue for a schedule')."""
        hub = translated("template.yaml")
        schedules = of_type(hub, "AWS::Scheduler::Schedule")
        assert len(schedules) == 2
        for properties in schedules.values():
            target = properties["Target"]
            role = logical(target["RoleArn"])
            assert may(hub, role, "sqs:SendMessage", target["DeadLetterConfig"]["Arn"])
            assert may(hub, role, "lambda:InvokeFunction", target["Arn"])

    def test_functions_that_are_called_asynchronously(self) -> None:
        hub = translated("template.yaml")
        configs = of_type(hub, "AWS::Lambda::EventInvokeConfig").values()
        asynchronous = sorted(logical(each["FunctionName"]) for each in configs)
        assert asynchronous == ["Intake", "Report", "Sweep"]
        for each in configs:
            role = role_of(hub, logical(each["FunctionName"]))
            queue = each["DestinationConfig"]["OnFailure"]["Destination"]
            assert may(hub, role, "sqs:SendMessage", queue)

    def test_the_stream(self) -> None:
        hub = translated("template.yaml")
        [reading] = [
            each
            for each in of_type(hub, "AWS::Lambda::EventSourceMapping").values()
            if logical(each["FunctionName"]) == "Notify"
        ]
        queue = reading["DestinationConfig"]["OnFailure"]["Destination"]
        assert may(hub, "NotifyRole", "sqs:SendMessage", queue)
        assert reading["BisectBatchOnFunctionError"] is True
        assert reading["MaximumRetryAttempts"] > 0

    def test_the_queue(self) -> None:
        redrive = translated("template.yaml")["Resources"]["Queue"]["Properties"]["RedrivePolicy"]
        assert logical(redrive["deadLetterTargetArn"]) == "DeadLetterQueue"
        assert redrive["maxReceiveCount"] == 5

    def test_state_and_models_outlive_the_stack(self) -> None:
        kept = {
            name
            for template in TEMPLATES
            for name, resource in source(template)["Resources"].items()
            if resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy") == "Retain"
        }
        assert kept == {
            *("Table", "StateKey", "ModelBucket", "ModelKey", "ReportBucket", "ReportKey"),
            *("ArtifactBucket", "ArtifactKey"),
        }
        group = source(GROUP)["Resources"]
        assert {each["DeletionPolicy"] for each in group.values()} == {"Retain"}
        assert {each["UpdateReplacePolicy"] for each in group.values()} == {"Retain"}


class TestEncryption:
    def test_queues(self) -> None:
        hub = translated("template.yaml")
        queues = of_type(hub, "AWS::SQS::Queue")
        assert {logical(each["KmsMasterKeyId"]) for each in queues.values()} == {"StateKey"}
        assert self.only_through_tls(hub, "AWS::SQS::QueuePolicy", "Queues") == set(queues)

    def test_topics(self) -> None:
        hub = translated("template.yaml")
        topics = of_type(hub, "AWS::SNS::Topic")
        assert set(topics) == {"ActionTopic", "AlertTopic", "InfoTopic", "ChatTopic"}
        assert {logical(each["KmsMasterKeyId"]) for each in topics.values()} == {"StateKey"}
        assert self.only_through_tls(hub, "AWS::SNS::TopicPolicy", "Topics") == set(topics)

    def test_tables_and_logs(self) -> None:
        hub = translated("template.yaml")
        for table in of_type(hub, "AWS::DynamoDB::Table").values():
            assert table["SSESpecification"] == {
                "SSEEnabled": True,
                "SSEType": "KMS",
                "KMSMasterKeyId": {"Fn::GetAtt": ["StateKey", "Arn"]},
            }
        for group in of_type(hub, "AWS::Logs::LogGroup").values():
            assert group["KmsKeyId"] == {"Fn::GetAtt": ["StateKey", "Arn"]}

    @pytest.mark.parametrize("name", (*TEMPLATES, GROUP))
    def test_every_key_is_renewed(self, name: str) -> None:
        for key in of_type(translated(name), "AWS::KMS::Key").values():
            assert key["EnableKeyRotation"] is True

    @pytest.mark.parametrize("name", TEMPLATES)
    def test_buckets(self, name: str) -> None:
        template = translated(name)
        buckets = of_type(template, "AWS::S3::Bucket")
        assert len(buckets) == {"template.yaml": 2, "target.yaml": 1}[name]
        assert self.only_through_tls(template, "AWS::S3::BucketPolicy", "Bucket") == set(buckets)
        for properties in buckets.values():
            assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
            assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
            [rule] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            key = logical(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"])
            assert template["Resources"][key]["Properties"]["EnableKeyRotation"] is True

    @staticmethod
    def only_through_tls(template: Template, kind: str, subject: str) -> set[str]:
        """The resources whose policy refuses everybody without TLS."""
        return {
            logical(each)
            for policy in of_type(template, kind).values()
            for each in as_list(policy[subject])
            for statement in map(given, policy["PolicyDocument"]["Statement"])
            if statement["Effect"] == "Deny"
            and statement["Principal"] == "*"
            and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        }


class TestNothingSecret:
    def test_no_variable_of_a_function_is_a_secret(self) -> None:
        """Names, addresses and the external id, which opens nothing (docs/decisions.md)."""
        hub = translated("template.yaml")
        hidden = {name for name, each in hub["Parameters"].items() if each.get("NoEcho")}
        variables = [
            (name, json.dumps(value))
            for properties in of_type(hub, "AWS::Lambda::Function").values()
            for name, value in properties["Environment"]["Variables"].items()
        ]
        assert variables
        secret = re.compile(r"secret|password|token|credential|api_?key|private", re.IGNORECASE)
        assert not [name for name, _ in variables if secret.search(name)]
        assert not [name for name, value in variables if "{{resolve:" in value]
        assert not [
            name for name, value in variables if any(f'"{each}"' in value for each in hidden)
        ]

    @pytest.mark.parametrize(
        "lock",
        sorted(
            str(path.relative_to(ROOT))
            for path in (
                *(ROOT / "requirements").glob("*.txt"),
                ROOT / "layers/core/requirements.txt",
            )
        ),
    )
    def test_every_dependency_is_locked_with_a_hash(self, lock: str) -> None:
        text = (ROOT / lock).read_text().replace("\\\n", " ")
        pinned = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert pinned
        assert not [line for line in pinned if "==" not in line or "--hash=sha256:" not in line]

    def test_locks_are_installed_with_their_hashes(self) -> None:
        for name in ("Makefile", "layers/core/Makefile"):
            lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
            installing = [each for each in lines if " install " in each and "requirement" in each]
            assert installing, name
            assert not [each for each in installing if "--require-hashes" not in each]


class TestAcrossAccounts:
    def test_models_are_read_by_the_role_and_nobody_else(self) -> None:
        hub = translated("template.yaml")["Resources"]
        policies = [
            hub["ModelBucketPolicy"]["Properties"]["PolicyDocument"],
            hub["ModelKey"]["Properties"]["KeyPolicy"],
        ]
        let_in = [
            statement
            for policy in policies
            for statement in map(given, policy["Statement"])
            if statement["Principal"] == {"AWS": {"Ref": "TargetAccounts"}}
        ]
        assert {action for each in let_in for action in as_list(each["Action"])} == {
            "s3:GetObject",
            "s3:ListBucket",
            "kms:Decrypt",
        }
        for each in let_in:
            role = each["Condition"]["ArnLike"]["aws:PrincipalArn"]["Fn::Sub"]
            assert role == "arn:${AWS::Partition}:iam::*:role/sageops-target-*"

    def test_readers_are_roles_by_their_names_that_only_read(self) -> None:
        """The other mode: nobody at all, unless a stack's parameter names somebody."""
        found = {
            sid: (name, as_list(statement["Action"]))
            for name in (*TEMPLATES, GROUP)
            for sid, statement in resource_statements(translated(name))
            if statement["Principal"] == {"AWS": {"Ref": "ReaderRoleArns"}}
        }
        assert set(found) == {"ReadersRead", "ReadersDecrypt", "ReadersPull"}
        for name in ("template.yaml", GROUP):
            readers = source(name)["Parameters"]["ReaderRoleArns"]
            assert (readers["Type"], readers["Default"]) == ("CommaDelimitedList", "")
            text = json.dumps(translated(name))
            assert text.count('{"Ref": "ReaderRoleArns"}') == 3  # the condition's own, and two
        changing = re.compile(r":(Put|Create|Update|Delete|Complete|Initiate|Upload)")
        assert not [
            each for _, actions in found.values() for each in actions if changing.search(each)
        ]

    def test_images_of_a_group_are_for_the_roles_that_serve_and_copy_them(self) -> None:
        images = source(GROUP)["Resources"]["Images"]["Properties"]
        assert images["ImageTagMutability"] == "IMMUTABLE"
        taken = {
            each["Sid"]: set(each["Action"])
            for each in map(given, images["RepositoryPolicyText"]["Statement"])
        }
        pulls = {
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
        }
        target = translated("target.yaml")
        copies = next(s for s in statements(target, "ImageRole") if s["Sid"] == "ReadHubImages")
        assert taken == {
            "ModelsPull": pulls,
            "RegistriesCopy": set(copies["Action"]),
            "ReadersPull": pulls,
        }
        assert copies["Resource"]["Fn::Sub"][0].endswith(":${HubAccountId}:repository/*")

    def test_what_ecr_writes_is_under_the_rules_own_prefix(self) -> None:
        """The rule, its role and the target role agree on it with `names.copied_image`."""
        target = source("target.yaml")["Resources"]
        rule = target["ImageCopies"]["Properties"]
        assert rule["EcrRepositoryPrefix"] == "sageops"
        assert rule["UpstreamRegistryUrl"]["Fn::Sub"][0].startswith("${HubAccountId}.dkr.ecr.")
        written = [
            statement["Resource"]["Fn::Sub"]
            for role in ("TargetRole", "ImageRole")
            for statement in statements(translated("target.yaml"), role)
            if statement["Sid"] in ("PullIntoCopies", "SeeCopies", "WriteCopies")
        ]
        assert len(written) == 3
        for each in written:
            assert each.endswith("${AWS::Region}:${AWS::AccountId}:repository/sageops/*")

    def test_the_bus_takes_what_target_accounts_forward_and_no_more(self) -> None:
        policy = translated("template.yaml")["Resources"]["BusPolicy"]["Properties"]["Statement"]
        taken = policy["Condition"]["ForAllValues:StringEquals"]
        forwarded = [
            properties["EventPattern"]
            for properties in of_type(translated("target.yaml"), "AWS::Events::Rule").values()
        ]
        assert policy["Principal"] == {"AWS": {"Ref": "TargetAccounts"}}
        assert set(taken["events:source"]) == {s for each in forwarded for s in each["source"]}
        assert set(taken["events:detail-type"]) == {
            detail_type for each in forwarded for detail_type in each["detail-type"]
        }

    def test_the_hub_forwards_its_own_like_a_target_account(self) -> None:
        hub, target = (
            translated("template.yaml"),
            of_type(translated("target.yaml"), "AWS::Events::Rule"),
        )
        for name, properties in target.items():
            own = hub["Resources"][name]["Properties"]
            assert own["EventPattern"] == properties["EventPattern"]
            assert logical(own["Targets"][0]["Arn"]) == "Bus"

    @pytest.mark.parametrize("name", TEMPLATES)
    def test_event_patterns_are_well_formed(self, name: str) -> None:
        for properties in of_type(translated(name), "AWS::Events::Rule").values():
            check(resolved(name, properties["EventPattern"]))
