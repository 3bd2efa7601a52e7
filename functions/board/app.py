"""The board: a CloudWatch custom widget that shows every group, what is live and what moves."""

from typing import Any

import boto3
from aws_lambda_powertools import Logger
from sageops.adapters.environment import environment
from sageops.adapters.identity import CONFIG
from sageops.adapters.store import Table
from sageops.board import Row, page, rows

logger = Logger()
env = environment()
session = boto3.Session()
table = Table(session.client("dynamodb", config=CONFIG), env.table_name)

_ABOUT = """### SageOps
Every model group: what is live in which stage, what is moving, and why it waits.

Parameters: `group` (optional) shows that group alone.
"""


def handler(event: dict[str, Any], context: Any) -> dict[str, str] | str:
    """Answer CloudWatch: the widget's documentation, or its HTML."""
    if event.get("describe"):
        return {"markdown": _ABOUT}
    wanted = event.get("group")
    found: list[Row] = []
    for group in table.groups():
        if wanted in (None, group):
            found.extend(rows(group, table.head(group), table.releases(group)))
    logger.info("shown", groups=len({row.group for row in found}))
    return page(found)
