"""Pushing a policy: a new version of it, and whose resources it names."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace
from sageops.adapters.registry import Registry
from sageops.adapters.store import PolicyVersion
from sageops.errors import Conflict
from sageops.events import Cause, Resource
from sageops.model import GroupSpec
from sageops.policy import Policy

from cli.hub import Hub

__all__ = ["Pushed", "TakenElsewhere", "push", "resources"]


class TakenElsewhere(Exception):
    """A resource that the policy names belongs to another group, or somebody pushed meanwhile."""


@dataclass(frozen=True)
class Pushed:
    """What came of it. `number` is the version in force, new or not; `history` are versions that
    were approved before and will not be released of themselves."""

    number: int
    new: bool
    history: tuple[int, ...]


def push(hub: Hub, text: str, policy: Policy, by: str, now: datetime) -> Pushed:
    """Make the policy the one in force. Pushing what is in force already changes nothing.

    On the first push, what is in the registry becomes history: only what is approved from now on
    is released. Raises `TakenElsewhere`.
    """
    group = policy.group
    old = hub.table.group_spec(group)
    if old is None:
        seen = Registry(hub.sagemaker, None, hub.account).packages(group)
        approved = frozenset(each.version for each in seen if each.approval == "Approved")
        spec = GroupSpec(1, frozenset(each.version for each in seen), approved)
    else:
        current = hub.table.policy(group, old.policy_version)
        if current is not None and current.policy == policy:
            return Pushed(old.policy_version, False, ())
        spec = replace(old, policy_version=old.policy_version + 1)
    pushed = PolicyVersion(spec.policy_version, text, policy, by, now)
    try:
        hub.table.push_policy(pushed, spec, tuple(resources(policy, hub.account, hub.region)))
    except Conflict as error:
        raise TakenElsewhere(_who_has_it(hub, policy)) from error
    hub.queue.send(group, Cause("command", "SageOps Policy Pushed"))
    history = tuple(sorted(spec.approved_before)) if old is None else ()
    return Pushed(spec.policy_version, True, history)


def resources(policy: Policy, account: str, region: str) -> Iterator[Resource]:
    """Everything whose events concern the group. `account` and `region` are the hub's."""
    yield Resource("group", account, region, policy.group)
    if policy.training is not None:
        yield Resource("pipeline", account, region, policy.training.pipeline)
    for stage in policy.stages:
        target = stage.target
        yield Resource("endpoint", target.account, target.region, target.endpoint)
        for name in stage.checks.alarms.names:
            yield Resource("alarm", target.account, target.region, name)


def _who_has_it(hub: Hub, policy: Policy) -> str:
    for resource in resources(policy, hub.account, hub.region):
        owner = hub.table.group_of(resource)
        if owner not in (None, policy.group):
            return (
                f"The {resource.kind} {resource.name} in account {resource.account} belongs to "
                f"group {owner}: name another in this policy."
            )
    return "Somebody pushed a policy of this group at the same time: look at it and push again."
