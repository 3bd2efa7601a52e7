"""Model groups that were made with their template, for the tests that are about its policies."""

from dataclasses import replace
from typing import Any

from local.company import ACCOUNTS, HUB, PRODUCTION, READERS, REGION, ROOT, STAGING, Company
from local.simulator.site import Document
from tests.functional.world import World, stage

__all__ = ["copying", "made_by_template"]


def made_by_template(world: World, name: str, *stages: Document, **policy: Any) -> Company:
    """A group and its repository from `group.yaml`, both of that name, under a policy of these
    stages; without any, it has no policy yet."""
    it = replace(world.company, group=name)
    given = {
        "GroupName": name,
        "RepositoryName": name,
        "TargetAccounts": f"{STAGING},{PRODUCTION}",
        "ReaderRoleArns": READERS,
    }
    it.cloud.deploy(ROOT / "group.yaml", HUB, f"group-{name}", given)
    if stages:
        world.push(it, *stages, **policy)
        it.wait(seconds=1)
    return it


def copying(group: str, name: str, **changes: Any) -> Document:
    """A stage whose account serves from an image of its own."""
    target = {"account": ACCOUNTS[name], "region": REGION, "endpoint": f"{group}-{name}"}
    return stage(name, **changes) | {"target": target | {"image": "copy"}}
