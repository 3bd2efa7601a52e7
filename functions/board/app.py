"""The board: a CloudWatch custom widget that shows every group, what is live and what moves.

It changes nothing: its buttons call the function `act`, which IAM may deny to who may look.
"""

from typing import Any, Literal

import boto3
import msgspec
from aws_lambda_powertools import Logger
from sageops.adapters.environment import environment, now
from sageops.adapters.identity import CONFIG, Targets
from sageops.adapters.observations import observe
from sageops.adapters.probe import probe
from sageops.adapters.store import Table
from sageops.board import Moving, Row, Setting, page, rows
from sageops.comparison import judged_by, progress, verdict
from sageops.model import Release
from sageops.moves import MOVING, current_run
from sageops.names import observer_role_arn

logger = Logger()
env = environment()
session = boto3.Session()
table = Table(session.client("dynamodb", config=CONFIG), env.table_name)
targets = Targets(session, env.external_id, now, observer_role_arn)

_ABOUT = """### SageOps
Every model group: what is live in which stage, what is moving, how much of the traffic it has, the
evidence against it, and why it waits. The buttons call the function `act`; who may not invoke that
may look and not act.

Parameters: `group` (optional) shows that group alone.
"""


def handler(event: dict[str, Any], context: Any) -> Any:
    """Answer CloudWatch: the widget's documentation, or its HTML. Answer the command: `probe` a
    target, or the figures of a group's rollouts (`"format": "progress"`)."""
    if event.get("describe"):
        return {"markdown": _ABOUT}
    if "probe" in event:
        return probe(targets, event["probe"])
    wanted = event.get("group")
    found: list[Row] = []
    moving: dict[str, Moving] = {}
    for group in table.groups():
        if wanted in (None, group):
            releases = table.releases(group)
            found.extend(rows(group, table.head(group), releases))
            moving |= {each.name: seen for each in releases if (seen := _moving(each)) is not None}
    if event.get("format") == "progress":
        return msgspec.to_builtins(
            [progress(seen.version, seen.compared, seen.verdict) for seen in moving.values()]
        )
    logger.info("shown", groups=len({row.group for row in found}), moving=len(moving))
    setting = Setting(env.aws_region, _theme(event), env.act_function_arn, env.report_bucket)
    return page(found, setting, moving)


def _theme(event: dict[str, Any]) -> Literal["light", "dark"]:
    return "dark" if event.get("widgetContext", {}).get("theme") == "dark" else "light"


def _moving(release: Release) -> Moving | None:
    """The figures of a rollout under way; None for a release that moves no traffic."""
    run = current_run(release)
    if run.asked_at is None or run.step not in (*MOVING, "checking", "baking"):
        return None
    pushed = table.policy(release.group, release.policy_version)
    if pushed is None:
        return None
    begun = observe(targets, release, pushed.policy, now(), run.stage)
    if not begun:
        return None
    compared = begun[-1]
    wanted = judged_by(compared, pushed.policy.stage(run.stage))
    if wanted is None or run.step not in MOVING:
        # After the rollout all of the traffic is the new version's: nothing is compared any more.
        return Moving(release.version, compared)
    return Moving(release.version, compared, verdict(compared, wanted))
