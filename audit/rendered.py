"""The templates as AWS would have them: translated, and the roles' policies with real ARNs."""

import json
from collections.abc import Iterator
from pathlib import Path

from local.company import HUB, STAGING, Company, deployed
from local.deployment import translated

__all__ = ["ROOT", "TEMPLATES", "render"]

ROOT = Path(__file__).parent.parent
TEMPLATES = ("template.yaml", "target.yaml", "group.yaml")
_STACKS = {(HUB, "sageops"): "template.yaml", (STAGING, "sageops-target"): "target.yaml"}


def render(templates: Path, roles: Path) -> None:
    """Write the templates without anything of SAM's (`template.json`), and every role's policy as
    it is deployed into the embedded cloud (`template.yaml IntakeRole.json`)."""
    with deployed() as it:
        for name in TEMPLATES:
            text = json.dumps(translated(ROOT / name), indent=1)
            (templates / name).with_suffix(".json").write_text(text)
        for name, document in _policies(it):
            (roles / f"{name}.json").write_text(document)


def _policies(it: Company) -> Iterator[tuple[str, str]]:
    for (account, stack), name in _STACKS.items():
        iam = it.cloud.client("iam", account)
        for logical, made in it.cloud.stacks[account, stack].resources.items():
            if made.type != "AWS::IAM::Role":
                continue
            [policy] = iam.list_role_policies(RoleName=made.ref)["PolicyNames"]
            held = iam.get_role_policy(RoleName=made.ref, PolicyName=policy)
            yield f"{name} {logical}", json.dumps(held["PolicyDocument"], indent=1)
