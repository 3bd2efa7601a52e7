"""ECR where moto falls short of it: a repository is looked for in the registry that is named.

Documentation: ECR API reference, BatchGetImage (`registryId`). moto looks in the caller's account.
"""

from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from moto.ecr.models import ECRBackend, ecr_backends

__all__ = ["install"]


def install(stack: ExitStack) -> None:
    """Until the stack is closed, moto's ECR does so."""
    original = ECRBackend.batch_get_image

    def batch_get_image(
        backend: ECRBackend, repository_name: str, registry_id: str | None = None, *ids: Any
    ) -> Any:
        registry = ecr_backends[registry_id or backend.account_id][backend.region_name]
        return original(registry, repository_name, registry_id, *ids)

    stack.enter_context(patch.object(ECRBackend, "batch_get_image", batch_get_image))
