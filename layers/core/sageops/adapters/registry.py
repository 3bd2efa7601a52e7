"""The hub's SageMaker: the model registry and the training pipelines."""

import hashlib
import itertools
import sys
from typing import Any

import msgspec

from sageops.adapters.artifacts import read
from sageops.adapters.trouble import troubles
from sageops.errors import TroubleError
from sageops.lifecycle import is_word
from sageops.model import (
    Done,
    LabelPackage,
    LifeCycle,
    Metric,
    PackageDetail,
    PackageSeen,
    Started,
    StartPipeline,
    TrainingSeen,
    Trouble,
)

__all__ = ["Registry"]

_ROLE_FIX = "Add the action to the reconcile function's role (template.yaml)."
# ListModelPackages.MaxResults, at most.
_PAGE = 100
# An evaluation report, in bytes, and what is kept of it with the release: it is somebody's file.
_LARGEST_REPORT = 1 << 20
_MOST_FIGURES = 50
_LONGEST_NAME = 100
# ModelLifeCycle.StageDescription: at most 1024 characters.
_DESCRIPTION = 1024


class Registry:
    """Reads packages, labels them, and starts pipelines, all in the hub account."""

    def __init__(self, sagemaker: Any, s3: Any, account: str, own: str = "") -> None:
        """`own`: the name of the session in which SageOps itself writes labels."""
        self._sagemaker = sagemaker
        self._s3 = s3
        self._account = account
        self._own = own

    def packages(self, group: str) -> tuple[PackageSeen, ...]:
        """Every version of the group, the newest first (ListModelPackages)."""
        with troubles("sagemaker:ListModelPackages", self._account, _ROLE_FIX):
            pages = self._sagemaker.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=group,
                SortBy="CreationTime",
                SortOrder="Descending",
                MaxResults=_PAGE,
            )
            return tuple(
                _seen(each)
                for page in pages
                for each in page["ModelPackageSummaryList"]
                if "ModelPackageVersion" in each
            )

    def package(self, arn: str) -> PackageDetail:
        """One version, with the figures of its evaluation report (DescribeModelPackage)."""
        answer = self.describe(arn)
        # A model that somebody only logged may have none, or one without an image.
        containers = answer.get("InferenceSpecification", {}).get("Containers", [])
        container = containers[0] if containers else {}
        report = answer.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
        return PackageDetail(
            image=_by_digest(container.get("Image", ""), container.get("ImageDigest", "")),
            model_data_url=_model_data_url(container),
            environment=container.get("Environment", {}),
            metrics=self._metrics(report.get("S3Uri", "")),
            modified_by=self._who_modified(answer),
            containers=len(containers),
            marketplace=any("ProductId" in each for each in containers),
            registered_by=_person(answer.get("CreatedBy") or {}),
            modified_at=answer.get("LastModifiedTime") or answer["CreationTime"],
            life_cycle=_life_cycle(answer),
        )

    def _who_modified(self, package: dict[str, Any]) -> str:
        """Nobody known, where a label of ours was written over who it was."""
        found = _person(package.get("LastModifiedBy") or package.get("CreatedBy") or {})
        return found if found != self._own else "unknown"

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
        """Show the release's stage on the package (ModelLifeCycle). Approval is never touched.

        A write under a condition, as far as the API has one: read just before, and not written over
        what somebody has said in the meantime, which is trouble that passes. The token keeps the
        client's own retry, which may come a minute later, from writing a second time.
        """
        now = self.describe(action.package_arn)
        shown, call = action.shown, "sagemaker:UpdateModelPackage"
        if action.over is not None and _has_word_since(now, action.over):
            said = "somebody has changed the package in this moment."
            fix = "What they said is heard first."
            raise TroubleError(Trouble("transient", self._account, call, said, fix))
        with troubles(call, self._account, _ROLE_FIX):
            self._sagemaker.update_model_package(
                ModelPackageArn=action.package_arn,
                ModelLifeCycle={
                    "Stage": shown.stage,
                    "StageStatus": shown.status,
                    "StageDescription": _one_line(shown.description or "Set by SageOps."),
                },
                ClientToken=_token(action, now),
            )
        return Done()

    def _metrics(self, url: str) -> tuple[Metric, ...]:
        """The numbers of an evaluation report: `{"metrics": {"accuracy": {"value": 0.97}}}`, or
        any group of that form (the model quality report of SageMaker Model Monitor)."""
        if not url:
            return ()
        # Figures are for people to read: a release does not stop for want of them.
        try:
            report = msgspec.json.decode(read(self._s3, url, self._account, _LARGEST_REPORT))
        except (msgspec.DecodeError, RecursionError):
            return ()
        except TroubleError as error:
            if error.trouble.kind == "transient":
                raise
            return ()
        groups = report.values() if isinstance(report, dict) else ()
        figures = (each for group in groups if isinstance(group, dict) for each in group.items())
        found = (
            Metric(name[:_LONGEST_NAME], float(figure["value"]))
            for name, figure in figures
            if isinstance(figure, dict) and _is_figure(figure.get("value"))
        )
        return tuple(itertools.islice(found, _MOST_FIGURES))


def _is_figure(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max


def _seen(document: dict[str, Any]) -> PackageSeen:
    """A summary of ListModelPackages, or the same of DescribeModelPackage."""
    return PackageSeen(
        document["ModelPackageVersion"],
        document["ModelPackageArn"],
        document.get("ModelApprovalStatus", "PendingManualApproval"),
        _life_cycle(document),
    )


def _model_data_url(container: dict[str, Any]) -> str:
    """The one archive of a container; empty where there is none: no model, or one in many files."""
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    is_archive = (source.get("S3DataType"), source.get("CompressionType")) == ("S3Object", "Gzip")
    return str(container.get("ModelDataUrl") or (source["S3Uri"] if is_archive else ""))


def _life_cycle(document: dict[str, Any]) -> LifeCycle | None:
    found = document.get("ModelLifeCycle")
    if not found:
        return None
    return LifeCycle(found["Stage"], found["StageStatus"], found.get("StageDescription", ""))


def _has_word_since(document: dict[str, Any], seen: PackageSeen) -> bool:
    """Whether somebody has approved or rejected the package or a stage of it since it was seen."""
    now = _seen(document)
    is_news = now.life_cycle != seen.life_cycle and is_word(now.life_cycle)
    return is_news or now.approval != seen.approval


def _token(action: LabelPackage, package: dict[str, Any]) -> str:
    """Another one for each state of the package: what is shown again later is written again."""
    modified_at = package.get("LastModifiedTime") or package["CreationTime"]
    written = f"{action.package_arn} {modified_at.isoformat()} {action.shown}"
    return hashlib.sha256(written.encode()).hexdigest()[:36]


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
