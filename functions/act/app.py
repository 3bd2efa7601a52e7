"""What a person wants, from a button of the board or the chat: into the release's spec.

Apart from the board, so that reading and acting are two rights. Who pressed is not in the event:
CloudTrail's data events of this function name the caller beside the request id that is logged and
recorded here.
"""

from html import escape
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from sageops.adapters.environment import environment, now
from sageops.adapters.identity import CONFIG
from sageops.adapters.queue import Queue
from sageops.adapters.store import Table
from sageops.adapters.wishes import wish
from sageops.events import Cause
from sageops.wishes import Change, NotThere, abort, approve, pause, pressed, promote, resume

logger = Logger()
env = environment()
session = boto3.Session()
table = Table(session.client("dynamodb", config=CONFIG), env.table_name)
queue = Queue(session.client("sqs", config=CONFIG), env.queue_url)

_ABOUT = """### SageOps: acting
What the board's buttons call: `action` (approve, pause, promote, resume, abort), `group`,
`version`, `stage`.
"""
_SAID = {
    "approve": "is approved for {stage}",
    "pause": "is paused: nothing new is begun",
    "promote": "goes on in {stage} without waiting any longer",
    "resume": "goes on",
    "abort": "is aborted; what it changed is taken back now",
}


def handler(event: dict[str, Any], context: Any) -> dict[str, str] | str:
    """Take a button's parameters; the answer is what its popup says."""
    if event.get("describe"):
        return {"markdown": _ABOUT}
    release, stage = f"{event.get('group')}/{event.get('version')}", event.get("stage")
    by = pressed(context.aws_request_id)
    try:
        change = _change(event, by)
        cause = Cause(context.aws_request_id, "SageOps Button")
        of_stage = stage if event["action"] in ("approve", "promote") else None
        wish(table, queue, release, change, cause, of_stage)
    except NotThere as error:
        return f"<p>{escape(str(error))}</p>"
    logger.info("wished", release=release, action=event["action"], stage=stage, by=by)
    said = _SAID[event["action"]].format(stage=stage)
    return (
        f"<p>{escape(f'{release} {said}.')} The board shows it at its next refresh.</p>"
        f"<p>The log has it as {escape(by)}: CloudTrail knows who that was.</p>"
    )


def _change(event: dict[str, Any], by: str) -> Change:
    why = str(event.get("why", ""))
    match event.get("action"), event.get("stage"):
        case "approve", str(stage):
            return approve(stage, by, why, now())
        case "promote", str(stage):
            return promote(stage, by, why, now())
        case "pause", _:
            return pause(by, why, now())
        case "resume", _:
            return resume(by, why, now())
        case "abort", _:
            return abort(by, why, now())
        case other:
            raise NotThere(f"There is no such action: {other[0]!r}.")
