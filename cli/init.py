"""`sageops init`: a policy file to begin with, commented, and good as it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import yaml
from sageops.policy import check

from cli.policy_file import Unreadable

__all__ = ["Draft", "Place", "drafted", "place", "write"]


@dataclass(frozen=True)
class Place:
    """A stage to be, and the account that it is in."""

    stage: str
    account: str


@dataclass(frozen=True)
class Draft:
    """What a policy cannot be written without. `instances` are the last stage's."""

    group: str
    region: str
    places: Sequence[Place]
    instance_type: str = "ml.m5.large"
    instances: int = 2


def place(text: str) -> Place:
    """`production=333333333333`. Raises `Unreadable`."""
    stage, equals, account = text.partition("=")
    if not (stage and equals and account):
        raise Unreadable(f"{text!r} is not STAGE=ACCOUNT, as in production=333333333333.")
    return Place(stage.strip(), account.strip())


def drafted(draft: Draft) -> str:
    """The policy as YAML, without anything that `policy lint` has something to say of. Raises
    `Unreadable` with all that is wrong with the answers."""
    *early, last = draft.places
    text = "".join(
        [
            _HEAD.format(group=draft.group),
            *(_stage(draft, each, is_last=False) for each in early),
            _stage(draft, last, is_last=True),
        ]
    )
    try:
        _, problems = check(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise Unreadable(f"Nothing is written, since this would not be YAML: {error}") from error
    if problems:
        told = "\n".join(f"  {each.where or 'the whole file'}: {each.message}" for each in problems)
        raise Unreadable(f"Nothing is written, since this would not be a policy:\n{told}")
    return text


def write(file: Path, text: str) -> None:
    """Write a new file, and never over one. Raises `Unreadable`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise Unreadable(
            f"{file} is there already, and stays as it is. Change it, or choose another --folder."
        ) from error
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror or error}") from error


def _stage(draft: Draft, at: Place, *, is_last: bool) -> str:
    instances = draft.instances if is_last else 1
    return _STAGE.format(
        name=at.stage,
        account=at.account,
        region=draft.region,
        endpoint=f"{draft.group}-{at.stage}",
        instance_type=draft.instance_type,
        instances=instances,
        rollout=_canary(instances) if is_last and instances > 1 else _ALL_AT_ONCE,
        bake=15 if is_last else 5,
        gate=_MANUAL if is_last else _AUTO,
    )


def _canary(instances: int) -> str:
    return _CANARY.format(percent=max(10, ceil(100 / instances)))


_HEAD = """\
# What the owners of the model group `{group}` want.
#   sageops policy lint FILE   says all that is wrong with it
#   sageops policy diff FILE   says what pushing it would change
#   sageops policy push FILE   makes it the one in force; releases under way keep theirs
#   sageops policy schema      is for editors
group: {group}

# The pipeline that trains the group's models, in the hub's account: started every night.
# training:
#   pipeline: {group}-training
#   schedule: nightly

# Who may say yes: two different people for version and gate, and nobody for what they registered.
# approval:
#   different_people: true
#   not_the_registrar: true

# How long models, configurations and alarms of ended releases are kept.
# retire_after_days: 30

# One after the other. What has baked in one stage comes to the next, as the same bytes.
stages:
"""

_STAGE = """\
  - name: {name}
    target:
      # target.yaml is deployed there, in this Region.
      account: "{account}"
      region: {region}
      # Made by the first release; every later one updates it.
      endpoint: {endpoint}
    serving:
      instance_type: {instance_type}
      instance_count: {instances}
    rollout:
{rollout}    checks:
      # Requests of which you know the answer, asked before a version bakes. `expect` is a regular
      # expression.
      # smoke:
      #   - body: '{{"instances": [[1.0, 2.0]]}}'
      #     expect: '"predictions"'
      #     latency_ms: 1000
      # What takes a version back, while it is rolled out, bakes and is live.
      alarms:
        error_percent: 1
        min_requests: 20
      # How long it must do well before it counts as live.
      bake_minutes: {bake}
{gate}
"""

_ALL_AT_ONCE = """\
      strategy: all_at_once
"""
_CANARY = """\
      strategy: canary
      # This share of the instances first, watched for a while; then the rest.
      canary_percent: {percent}
      canary_minutes: 15
      bake_minutes: 10
"""
_AUTO = """\
    # It begins as soon as a version is approved in the registry.
    gate: auto
"""
_MANUAL = """\
    # It begins when a person says so: sageops approve, the board, or the package in Studio.
    gate: manual
"""
