"""The names of what we make. Deterministic, so that a repeated step finds its first try."""

import hashlib
import re
from typing import Literal

from msgspec import json

from sageops.model import Artifact, Release
from sageops.policy import Stage, Target

__all__ = [
    "BESIDE",
    "SHADOW",
    "VARIANT",
    "alarm_name",
    "alarm_prefix",
    "artifact_url",
    "at_home",
    "bucket",
    "config_name",
    "copied_image",
    "copies_image",
    "endpoint_of_alarm",
    "execution_role_arn",
    "is_model_bucket",
    "observer_role_arn",
    "partition",
    "served_image",
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
# The start of the names under which target.yaml lets ECR keep copies of the hub's images.
_COPIES = "sageops"
_BY_DIGEST = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.(?P<domain>amazonaws\.com(\.cn)?)"
    r"/(?P<repository>[a-z0-9._/-]+)@(?P<digest>sha256:[0-9a-f]{64})",
    re.ASCII,
)


def config_name(release: Release, artifact: Artifact, stage: Stage) -> str:
    """`<endpoint>-v<version>-<8 hex>`, the name of the model and of the endpoint configuration.

    The digits stand for everything that the configuration is made of, so that another image,
    artefact or instance type is another configuration, and the same ones are the same. At most
    63 characters: the policy bounds the endpoint's name, and a version has up to 7 digits.
    """
    image = served_image(release, stage)
    made_of = (image, release.detail.environment, artifact.sha256, stage.serving)
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


def alarm_prefix(config: str) -> str:
    """How the names of all alarms of ours on a configuration begin."""
    return alarm_name(config, "")


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


def at_home(release: Release, target: Target) -> bool:
    """Whether a target is the account and Region of the registry that the release is from."""
    region, account = release.package_arn.split(":")[3:5]
    return (target.region, target.account) == (region, account)


def copies_image(release: Release, stage: Stage) -> bool:
    """Whether the stage serves from an image that is to be copied into its own account."""
    return stage.target.image == "copy" and not at_home(release, stage.target)


def copied_image(release: Release, target: Target) -> str | None:
    """The same digest in the target's registry: `<registry>/sageops/<repository>@sha256:…`.

    None where there can be no copy: the image is not by its digest, or not in the one registry that
    the rule of target.yaml copies from, that of the hub's account and Region.
    """
    found = _BY_DIGEST.fullmatch(release.detail.image)
    region, account = release.package_arn.split(":")[3:5]
    if found is None or (found["region"], found["account"]) != (region, account):
        return None
    registry = f"{target.account}.dkr.ecr.{target.region}.{found['domain']}"
    return f"{registry}/{_COPIES}/{found['repository']}@{found['digest']}"


def served_image(release: Release, stage: Stage) -> str:
    """The image that a stage's models are made of: that of the package, or the account's copy."""
    copied = copied_image(release, stage.target) if copies_image(release, stage) else None
    return copied or release.detail.image


def training_token(group: str, wanted: str) -> str:
    """StartPipelineExecution's ClientRequestToken (32 to 128 characters) for one night."""
    return hashlib.sha256(f"{group} {wanted}".encode()).hexdigest()
