"""Bring the training pipeline to an account: its sources into S3, its definition to SageMaker."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.definition import definition

__all__ = ["sources", "upsert"]

_FOLDER = Path(__file__).parent


def sources() -> dict[str, bytes]:
    """What the jobs run, by object name. The same sources give the same bytes."""
    return {
        "sourcedir.tar.gz": _archive("train.py", "inference.py"),
        "data.py": (_FOLDER / "data.py").read_bytes(),
        "evaluate.py": (_FOLDER / "evaluate.py").read_bytes(),
    }


def upsert(  # noqa: PLR0913 - two clients, and what the pipeline is made of
    sagemaker: Any,
    s3: Any,
    *,
    name: str,
    group: str,
    role_arn: str,
    image_uri: str,
    bucket: str,
    defaults: Mapping[str, str | int | float] | None = None,
) -> str:
    """Create the pipeline `name`, or update it; its ARN.

    `sagemaker` and `s3` are boto3 clients of the pipeline's account. Sources are stored under
    their own digest (`<name>/sources/<digest>/`), so an execution under way keeps the ones it
    began with. `defaults` as in `pipelines.definition.definition`. Raises botocore's ClientError.
    """
    files = sources()
    digest = hashlib.sha256(b"".join(files[each] for each in sorted(files))).hexdigest()[:12]
    for each, content in files.items():
        s3.put_object(Bucket=bucket, Key=f"{name}/sources/{digest}/{each}", Body=content)
    document = definition(
        group=group,
        role_arn=role_arn,
        image_uri=image_uri,
        sources_uri=f"s3://{bucket}/{name}/sources/{digest}",
        output_uri=f"s3://{bucket}/{name}",
        defaults=defaults,
    )
    request = {
        "PipelineName": name,
        "PipelineDefinition": json.dumps(document),
        "RoleArn": role_arn,
    }
    try:
        sagemaker.describe_pipeline(PipelineName=name)
    except sagemaker.exceptions.ResourceNotFound:
        answer = sagemaker.create_pipeline(**request)
    else:
        answer = sagemaker.update_pipeline(**request)
    arn: str = answer["PipelineArn"]
    return arn


def _archive(*names: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in names:
            archive.add(_FOLDER / name, name, filter=_anonymous)
    return gzip.compress(content.getvalue(), mtime=0)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs between two checkouts of the same sources."""
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o644
    return entry
