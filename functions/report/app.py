"""Writes a release's report when it ends: one HTML file, and the same as JSON beside it."""

from typing import Any

import boto3
import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from sageops.adapters.environment import environment, now
from sageops.adapters.identity import CONFIG, Targets
from sageops.adapters.observations import observe
from sageops.adapters.store import Table
from sageops.links import report_key
from sageops.model import ReleaseSpec
from sageops.names import observer_role_arn
from sageops.report import Pushed, Report, lead_time, page, report

logger = Logger()
metrics = Metrics()
env = environment()
session = boto3.Session()
table = Table(session.client("dynamodb", config=CONFIG), env.table_name)
s3 = session.client("s3", config=CONFIG)
targets = Targets(session, env.external_id, now, observer_role_arn)

# What showed that a release must go back, by the reason of its stop.
_VERDICTS = {
    "Regressed": "Regressed",
    "AlarmFired": "Alarm",
    "AlarmAfterLive": "Alarm",
    "SmokeFailed": "Smoke",
}


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Take the bus's word that a release ended, or `{"group": …, "version": …}` of a person who
    wants to read of it now. Writing a report again replaces it; the bucket keeps the old one."""
    asked = event.get("detail", event)
    group, version = str(asked["group"]), int(asked["version"])
    found = _report(group, version)
    if found is None:
        logger.warning("no such release", group=group, version=version)
        metrics.add_metric("ReportsOfStrangers", MetricUnit.Count, 1)
        return {"problem": f"There is no release {group}/{version}."}
    keys = {kind: report_key(group, version, kind) for kind in ("html", "json")}
    _put(keys["json"], msgspec.json.encode(found), "application/json")
    _put(keys["html"], page(found).encode(), "text/html; charset=utf-8")
    metrics.add_metric("Reports", MetricUnit.Count, 1)
    if "detail" in event:
        _count(event["detail"], found)
    logger.info("written", group=group, version=version, key=keys["html"])
    return {"bucket": env.report_bucket, **keys}


def _report(group: str, version: int) -> Report | None:
    release = table.release(group, version)
    if release is None:
        return None
    kept = table.policy(group, release.policy_version)
    return report(
        release,
        table.wish(group, version) or ReleaseSpec(),
        table.log(group),
        observe(targets, release, kept.policy, now()) if kept is not None else (),
        Pushed(kept.policy, kept.text, kept.by) if kept is not None else None,
        region=env.aws_region,
        now=now(),
    )


def _put(key: str, body: bytes, content_type: str) -> None:
    s3.put_object(Bucket=env.report_bucket, Key=key, Body=body, ContentType=content_type)


def _count(entry: dict[str, Any], found: Report) -> None:
    """For the dashboard: how releases end, why they were taken back, how long they took."""
    what = entry["what"]
    metrics.add_metric(f"Releases{what}", MetricUnit.Count, 1)
    verdict = _VERDICTS.get(entry["facts"].get("reason", ""))
    if verdict is not None:
        metrics.add_metric(f"Verdicts{verdict}", MetricUnit.Count, 1)
    took = lead_time(found)
    if what == "Live" and took is not None:
        metrics.add_metric("LeadTimeMinutes", MetricUnit.Count, took.total_seconds() / 60)
