"""ECR where moto falls short of it: registries that are named, images without a tag, and pull
through cache rules.

Documentation: ECR API reference, BatchGetImage (`registryId`); ECR user guide, 'Sync an upstream
registry with an Amazon ECR private registry', 'IAM permissions required to sync an upstream
registry' and 'Setting up permissions for cross-account ECR to ECR PTC'.

moto looks in the caller's account, forgets an image whose tag is given to another (PutImage leaves
it there, without the tag), and knows no rules. Here a rule's upstream is ECR of another
account or Region: what is pulled by a tag and is not there is answered from the upstream, and lies
in the registry a little later. What is asked for by its digest is not pulled, and a tag that is
there already is not asked for again: in AWS at most once a day.
"""

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ecr.exceptions import RepositoryNotFoundException
from moto.ecr.models import ECRBackend, ecr_backends
from moto.ecr.responses import ECRResponse

if TYPE_CHECKING:
    from local.principals import Principals

__all__ = ["Rule", "install", "pulled_through"]

# How long it takes until what was pulled through lies in the registry.
_IMPORT = timedelta(seconds=40)
# 'Setting up permissions for cross-account ECR to ECR PTC' has one list of all, for the role.
# [unverified] which of it is asked for on which side: what may be either, on both.
_BOTH = ("ecr:BatchGetImage", "ecr:BatchImportUpstreamImage", "ecr:GetImageCopyStatus")
_READS = (*_BOTH, "ecr:GetDownloadUrlForLayer")
_WRITES = (
    *_BOTH,
    *("ecr:InitiateLayerUpload", "ecr:UploadLayerPart"),
    *("ecr:CompleteLayerUpload", "ecr:PutImage"),
)


@dataclass(frozen=True)
class Rule:
    """`<prefix>/<repository>` of a registry is `<repository>` of the upstream's."""

    prefix: str
    account: str
    region: str
    role: str

    def upstream(self, repository: str) -> str:
        return repository.removeprefix(f"{self.prefix}/")


class UnableToGetUpstreamImage(ServiceException):
    code = "UnableToGetUpstreamImageException"


def install(stack: ExitStack, principals: "Principals | None" = None) -> None:
    """Until the stack is closed, moto's ECR does so. Without `principals` no rule does anything."""
    original = ECRBackend.batch_get_image

    def batch_get_image(
        backend: ECRBackend,
        repository_name: str,
        registry_id: str | None = None,
        image_ids: list[dict[str, str]] | None = None,
    ) -> Any:
        registry = ecr_backends[registry_id or backend.account_id][backend.region_name]
        coming: list[Any] = []
        if principals is not None:
            for each in image_ids or ():
                if (rule := pulled_through(registry, repository_name, each)) is not None:
                    coming += _pull(principals, registry, rule, repository_name, each["imageTag"])
        if coming:
            return {"images": coming, "failures": []}
        return original(registry, repository_name, registry_id, image_ids)

    def create_pull_through_cache_rule(response: ECRResponse) -> ActionResult:
        prefix, url = (
            response._get_param(name) for name in ("ecrRepositoryPrefix", "upstreamRegistryUrl")
        )
        account, _, _, region, *_ = url.split(".")
        rule = Rule(prefix, account, region, response._get_param("customRoleArn"))
        _rules(response.ecr_backend)[prefix] = rule
        said = {"ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": url}
        return ActionResult({**said, "registryId": response.current_account})

    put = ECRBackend.put_image

    def put_image(
        backend: ECRBackend, repository_name: str, image_manifest: str, image_tag: str, *more: Any
    ) -> Any:
        held = backend.repositories[repository_name]
        for each in held.images if held.image_tag_mutability == "MUTABLE" else ():
            if image_tag in each.image_tags and each.image_manifest != image_manifest:
                each.remove_tag(image_tag)
        return put(backend, repository_name, image_manifest, image_tag, *more)

    enter = stack.enter_context
    enter(patch.object(ECRBackend, "batch_get_image", batch_get_image))
    enter(patch.object(ECRBackend, "put_image", put_image))
    name = "create_pull_through_cache_rule"
    enter(patch.object(ECRResponse, name, create_pull_through_cache_rule, create=True))


def pulled_through(
    registry: ECRBackend, repository: str, image_id: Mapping[str, str]
) -> Rule | None:
    """The rule by which a pull of this goes to the upstream; None for what the registry answers."""
    rule = _rules(registry).get(repository.partition("/")[0])
    tag = image_id.get("imageTag")
    if rule is None or tag is None:
        return None
    held = registry.repositories.get(repository)
    return None if held and any(tag in each.image_tags for each in held.images) else rule


def _rules(registry: ECRBackend) -> dict[str, Rule]:
    """With moto's own state, so that they are gone when it is."""
    rules: dict[str, Rule] = registry.__dict__.setdefault("pull_through_cache_rules", {})
    return rules


def _pull(
    principals: "Principals", registry: ECRBackend, rule: Rule, repository: str, tag: str
) -> list[Any]:
    """The upstream's image, which is on its way; none where there is no such image."""
    upstream, name = ecr_backends[rule.account][rule.region], rule.upstream(repository)
    theirs = f"arn:aws:ecr:{rule.region}:{rule.account}:repository/{name}"
    ours = f"arn:aws:ecr:{registry.region_name}:{registry.account_id}:repository/{repository}"
    needed = [
        ("ecr:GetAuthorizationToken", "*"),
        *((action, theirs) for action in _READS),
        *((action, ours) for action in _WRITES),
    ]
    may = principals.authorization
    service = "pullthroughcache.ecr.amazonaws.com"
    if not may.service_may(service, "sts:AssumeRole", rule.role).allowed:
        raise UnableToGetUpstreamImage(f"{rule.role} does not exist, or does not trust {service}")
    for action, resource in needed:
        if not may.permits(rule.role, action, resource).allowed:
            raise UnableToGetUpstreamImage(f"{rule.role} may not {action} on {resource}")
    if name not in upstream.repositories:
        raise RepositoryNotFoundException(repository, registry.account_id)
    images = [each for each in upstream.repositories[name].images if tag in each.image_tags]
    for image in images:
        own = copy.copy(image)
        own.repository_name, own.registry_id = repository, registry.account_id
        own.image_tag, own.image_tags = tag, [tag]
        if repository not in registry.repositories:
            registry.create_repository(
                repository, registry.account_id, {"encryptionType": "AES256"}, None, "MUTABLE", []
            )
        principals.clock.after(_IMPORT, partial(_arrive, registry, own))
    return images


def _arrive(registry: ECRBackend, own: Any) -> None:
    held = registry.repositories[own.repository_name].images
    if all(each.get_image_digest() != own.get_image_digest() for each in held):
        held.append(own)
