"""The names of what we make. Deterministic, so that a repeated step finds its first try."""

import hashlib
from typing import Literal

from msgspec import json

from sageops.model import Artifact, Release
from sageops.policy import Stage, Target

__all__ = [
    "BESIDE",
    "SHADOW",
    "VARIANT",
    "alarm_name",
    "artifact_url",
    "bucket",
    "config_name",
    "endpoint_of_alarm",
    "execution_role_arn",
    "is_model_bucket",
    "observer_role_arn",
    "partition",
    "target_role",
    "target_role_arn",
    "training_token",
    "trial_name",
    "version_of",
]

_ALARM_PREFIX = "sageops"
# One production variant, always of this name: guardrails refuse an update that renames variants.
VARIANT: Literal["main"] = "main"
# What stands beside it while two versions are compared on one endpoint.
BESIDE: Literal["next"] = "next"
SHADOW: Literal["shadow"] = "shadow"


def config_name(release: Release, artifact: Artifact, stage: Stage) -> str:
    """`<endpoint>-v<version>-<8 hex>`, the name of the model and of the endpoint configuration.

    The digits stand for everything that the configuration is made of, so that another image,
    artefact or instance type is another configuration, and the same ones are the same. At most
    63 characters: the policy bounds the endpoint's name, and a version has up to 7 digits.
    """
    made_of = (release.detail.image, release.detail.environment, artifact.sha256, stage.serving)
    digest = hashlib.sha256(json.encode(made_of, order="sorted")).hexdigest()
    return f"{stage.target.endpoint}-v{release.version}-{digest[:8]}"


def trial_name(config: str, present: str, beside: str) -> str:
    """The name of the configuration in which `present` and the one called `config` stand beside
    each other: of the same form, other digits."""
    digest = hashlib.sha256(f"{config} {present} {beside}".encode()).hexdigest()
    return f"{config.rpartition('-')[0]}-{digest[:8]}"


def version_of(config: str) -> int | None:
    """The version in the name of a configuration of ours; None for somebody else's."""
    _, _, rest = config.rpartition("-v")
    version, _, digest = rest.partition("-")
    return int(version) if version.isdecimal() and len(digest) == 8 else None


def alarm_name(config: str, kind: str) -> str:
    """`sageops/<endpoint configuration>/<errors|latency|stop>`"""
    return f"{_ALARM_PREFIX}/{config}/{kind}"


def endpoint_of_alarm(name: str) -> str | None:
    """The endpoint that an alarm of ours watches; None for somebody else's alarm."""
    prefix, _, rest = name.partition("/")
    config = rest.rpartition("/")[0]
    endpoint = config.rpartition("-v")[0]
    return endpoint if prefix == _ALARM_PREFIX and endpoint else None


def bucket(target: Target) -> str:
    """The bucket of artefacts that target.yaml makes in the target's account and Region."""
    return f"sageops-artifacts-{target.account}-{target.region}"


def is_model_bucket(name: str, account: str) -> bool:
    """Whether a bucket is one that template.yaml makes in the hub's account, the only kind that
    artefacts are taken from."""
    return name.startswith(f"sageops-models-{account}-")


def target_role(target: Target) -> str:
    """The name of the role that target.yaml makes for the hub, one for each account and Region."""
    return f"sageops-target-{target.region}"


def target_role_arn(target: Target) -> str:
    """The role that the hub assumes in a target account."""
    return f"arn:{partition(target)}:iam::{target.account}:role/{target_role(target)}"


def observer_role_arn(target: Target) -> str:
    """The role that what people look at reads a target account's metrics with."""
    role = f"sageops-observer-{target.region}"
    return f"arn:{partition(target)}:iam::{target.account}:role/{role}"


def execution_role_arn(target: Target) -> str:
    """The role that a model runs as in a target account."""
    role = f"sageops-model-execution-{target.region}"
    return f"arn:{partition(target)}:iam::{target.account}:role/{role}"


def partition(target: Target) -> str:
    """The first part of every ARN in the target's Region."""
    match target.region.partition("-")[0]:
        case "cn":
            return "aws-cn"
        case "us" if target.region.startswith("us-gov-"):
            return "aws-us-gov"
        case _:
            return "aws"


def artifact_url(release: Release, artifact: Artifact, target: Target) -> str:
    """Where a target keeps its own copy of a release's artefact."""
    key = f"{release.group}/{release.version}/{artifact.sha256[:16]}/model.tar.gz"
    return f"s3://{bucket(target)}/{key}"


def training_token(group: str, wanted: str) -> str:
    """StartPipelineExecution's ClientRequestToken (32 to 128 characters) for one night."""
    return hashlib.sha256(f"{group} {wanted}".encode()).hexdigest()
