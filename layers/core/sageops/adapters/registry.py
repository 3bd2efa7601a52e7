"""The hub's SageMaker: the model registry and the training pipelines."""

from typing import Any

import msgspec

from sageops.adapters.artifacts import read
from sageops.adapters.trouble import troubles
from sageops.errors import TroubleError
from sageops.model import (
    Done,
    LabelPackage,
    Metric,
    PackageDetail,
    PackageSeen,
    Started,
    StartPipeline,
    TrainingSeen,
)

__all__ = ["Registry"]

_ROLE_FIX = "Add the action to the reconcile function's role (template.yaml)."
# ModelLifeCycle.StageDescription: at most 1024 characters.
_DESCRIPTION = 1024


class Registry:
    """Reads packages, labels them, and starts pipelines, all in the hub account."""

    def __init__(self, sagemaker: Any, s3: Any, account: str) -> None:
        self._sagemaker = sagemaker
        self._s3 = s3
        self._account = account

    def packages(self, group: str) -> tuple[PackageSeen, ...]:
        """Every version of the group, the newest first (ListModelPackages)."""
        with troubles("sagemaker:ListModelPackages", self._account, _ROLE_FIX):
            pages = self._sagemaker.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
            )
            return tuple(
                PackageSeen(
                    each["ModelPackageVersion"],
                    each["ModelPackageArn"],
                    each["ModelApprovalStatus"],
                )
                for page in pages
                for each in page["ModelPackageSummaryList"]
            )

    def package(self, arn: str) -> PackageDetail:
        """One version, with the figures of its evaluation report (DescribeModelPackage)."""
        answer = self.describe(arn)
        containers = answer["InferenceSpecification"]["Containers"]
        container = containers[0]
        report = answer.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
        return PackageDetail(
            image=_by_digest(container["Image"], container.get("ImageDigest", "")),
            model_data_url=container.get("ModelDataUrl", ""),
            environment=container.get("Environment", {}),
            metrics=self._metrics(report.get("S3Uri", "")),
            modified_by=_person(answer.get("LastModifiedBy") or answer.get("CreatedBy") or {}),
            containers=len(containers),
            marketplace=any("ProductId" in each for each in containers),
            registered_by=_person(answer.get("CreatedBy") or {}),
        )

    def describe(self, arn: str) -> dict[str, Any]:
        """All that the registry says of one version (DescribeModelPackage)."""
        with troubles("sagemaker:DescribeModelPackage", self._account, _ROLE_FIX):
            answer: dict[str, Any] = self._sagemaker.describe_model_package(ModelPackageName=arn)
        return answer

    def training(self, execution_arn: str) -> TrainingSeen:
        """A pipeline execution's status (DescribePipelineExecution)."""
        with troubles("sagemaker:DescribePipelineExecution", self._account, _ROLE_FIX):
            answer = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution_arn)
        return TrainingSeen(answer["PipelineExecutionStatus"], answer.get("FailureReason", ""))

    def start(self, action: StartPipeline) -> Started:
        """Start a pipeline; the same token finds the same execution."""
        fix = f"Create the pipeline {action.pipeline}, or correct the policy's training.pipeline."
        with troubles("sagemaker:StartPipelineExecution", self._account, fix):
            answer = self._sagemaker.start_pipeline_execution(
                PipelineName=action.pipeline, ClientRequestToken=action.token
            )
        return Started(answer["PipelineExecutionArn"])

    def label(self, action: LabelPackage) -> Done:
        """Show the release's stage on the package (ModelLifeCycle). Approval is never touched."""
        with troubles("sagemaker:UpdateModelPackage", self._account, _ROLE_FIX):
            self._sagemaker.update_model_package(
                ModelPackageArn=action.package_arn,
                ModelLifeCycle={
                    "Stage": action.stage,
                    "StageStatus": action.status,
                    "StageDescription": _one_line(action.description or "Set by SageOps."),
                },
            )
        return Done()

    def _metrics(self, url: str) -> tuple[Metric, ...]:
        """The numbers of an evaluation report: `{"metrics": {"accuracy": {"value": 0.97}}}`, or
        any group of that form (the model quality report of SageMaker Model Monitor)."""
        if not url:
            return ()
        # Figures are for people to read: a release does not stop for want of them.
        try:
            report = msgspec.json.decode(read(self._s3, url, self._account))
        except msgspec.DecodeError:
            return ()
        except TroubleError as error:
            if error.trouble.kind == "transient":
                raise
            return ()
        groups = report.values() if isinstance(report, dict) else ()
        return tuple(
            Metric(name, float(figure["value"]))
            for group in groups
            if isinstance(group, dict)
            for name, figure in group.items()
            if isinstance(figure, dict) and isinstance(figure.get("value"), int | float)
        )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_DESCRIPTION]


def _by_digest(image: str, digest: str) -> str:
    """The image by its digest, so that a tag moved later changes nothing."""
    if not digest or "@" in image:
        return image
    repository, slash, name = image.rpartition("/")
    return f"{repository}{slash}{name.partition(':')[0]}@{digest}"


def _person(who: dict[str, Any]) -> str:
    """A UserContext's shortest name: the Studio profile, else the session of the IAM identity."""
    profile = who.get("UserProfileName")
    arn = who.get("IamIdentity", {}).get("Arn", "")
    return str(profile or arn.rpartition("/")[2] or arn or "unknown")
