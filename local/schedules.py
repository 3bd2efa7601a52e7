"""EventBridge Scheduler: schedules that templates and callers made in moto, really firing.

Documentation: EventBridge Scheduler user guide, "Managing a schedule", "Adding context attributes",
"Configuring a dead-letter queue", "Set up the execution role". Flexible windows are OFF only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError
from moto.scheduler.models import scheduler_backends

from local.clock import Clock
from local.delivery import Delivery, queue_url
from local.principals import NotAssumable, Principals
from local.recurrence import next_fire

__all__ = ["Schedules", "next_fire"]

_SERVICE = "scheduler.amazonaws.com"
_DEFAULT_ATTEMPTS = 185
_DEFAULT_AGE = 86400
# Exponential with jitter in AWS; the steps are not published [unverified].
_LONGEST_WAIT = timedelta(minutes=10)


@dataclass(frozen=True)
class _Execution:
    """One firing: its target as it was then, and the input with the attributes filled in."""

    account: str
    region: str
    schedule: str
    group: str
    target: Mapping[str, Any]
    scheduled: datetime
    id: str

    def input(self, attempt: int) -> str:
        text = str(self.target.get("Input") or "{}")
        for name, value in {
            "schedule-arn": self.schedule,
            "scheduled-time": self.scheduled.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "execution-id": self.id,
            "attempt-number": str(attempt),
        }.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return text


@dataclass
class Schedules:
    """Every account's schedules."""

    clock: Clock
    principals: Principals
    delivery: Delivery
    # A schedule that was changed since is not fired by what was planned before.
    _generation: dict[str, int] = field(default_factory=dict)

    def watch(self, account: str, region: str, group: str, name: str) -> None:
        """A schedule was made or changed: plan its next firing.

        Raises `local.recurrence.InvalidExpression`; `NotImplementedError` for a flexible window.
        """
        schedule = scheduler_backends[account][region].get_schedule(group, name)
        if schedule.flexible_time_window["Mode"] != "OFF":
            raise NotImplementedError(f"{schedule.arn}: a flexible time window")
        generation = self._generation[schedule.arn] = self._generation.get(schedule.arn, 0) + 1
        self._plan(account, region, group, name, generation)

    def _plan(self, account: str, region: str, group: str, name: str, generation: int) -> None:
        schedule = scheduler_backends[account][region].get_schedule(group, name)
        created = datetime.fromtimestamp(schedule.creation_date, UTC)
        when = next_fire(
            schedule.schedule_expression,
            self.clock.now,
            schedule.schedule_expression_timezone,
            _moment(schedule.start_date) or created,
        )
        end = _moment(schedule.end_date)
        if when is not None and (end is None or when <= end):
            self.clock.at(when, lambda: self._fire(account, region, group, name, generation, when))

    def _fire(  # noqa: PLR0913  # which schedule, as of when
        self, account: str, region: str, group: str, name: str, generation: int, when: datetime
    ) -> None:
        schedules = scheduler_backends[account][region].schedule_groups[group].schedules
        schedule = schedules.get(name)
        if schedule is None or self._generation[schedule.arn] != generation:
            return
        start = _moment(schedule.start_date)
        if schedule.state == "ENABLED" and (start is None or start <= when):
            execution = _Execution(
                account, region, schedule.arn, group, dict(schedule.target), when, uuid4().hex[:16]
            )
            self._attempt(execution, 1)
        self._plan(account, region, group, name, generation)

    def _attempt(self, execution: _Execution, attempt: int) -> None:
        try:
            self._invoke(execution, attempt)
        except (ClientError, NotAssumable) as error:
            policy = execution.target.get("RetryPolicy", {})
            wait = min(timedelta(seconds=2**attempt), _LONGEST_WAIT)
            lifetime = policy.get("MaximumEventAgeInSeconds", _DEFAULT_AGE)
            late = self.clock.now + wait - execution.scheduled > timedelta(seconds=lifetime)
            if attempt > policy.get("MaximumRetryAttempts", _DEFAULT_ATTEMPTS) or late:
                self._dead_letter(execution, error, attempt, late)
            else:
                self.clock.after(wait, lambda: self._attempt(execution, attempt + 1))

    def _invoke(self, execution: _Execution, attempt: int) -> None:
        arn, text = execution.target["Arn"], execution.input(attempt)
        client = self._client(execution, arn.split(":")[2])
        match arn.split(":")[2]:
            case "lambda":
                client.invoke(FunctionName=arn, InvocationType="Event", Payload=text)
            case "sqs":
                client.send_message(QueueUrl=queue_url(arn), MessageBody=text)
            case "sns":
                client.publish(TopicArn=arn, Message=text)
            case _:
                raise NotImplementedError(f"{execution.schedule}: the target {arn}")

    def _dead_letter(
        self, execution: _Execution, error: Exception, attempts: int, late: bool
    ) -> None:
        """Scheduler writes dead letters with the schedule's role, not by the queue's policy."""
        queue = execution.target.get("DeadLetterConfig", {}).get("Arn")
        if queue is None:
            self.delivery.lose(execution.input(attempts), f"{execution.schedule}: {error}")
            return
        condition = "MaximumEventAgeInSeconds" if late else "MaximumRetryAttempts"
        attributes = {
            "SCHEDULE_ARN": execution.schedule,
            "TARGET_ARN": execution.target["Arn"],
            "ERROR_CODE": _code(error),
            "ERROR_MESSAGE": str(error),
            "EXHAUSTED_RETRY_CONDITION": condition,
            "RETRY_ATTEMPTS": str(attempts - 1),
        }
        try:
            self._client(execution, "sqs").send_message(
                QueueUrl=queue_url(queue),
                MessageBody=execution.input(attempts),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                },
            )
        except (ClientError, NotAssumable) as refused:
            self.delivery.lose(execution.input(attempts), f"{execution.schedule}: {refused}")

    def _client(self, execution: _Execution, service: str) -> Any:
        role = execution.target["RoleArn"]
        # The trust policy may name the schedule's group, as the documentation advises.
        group = execution.schedule.replace(":schedule/", ":schedule-group/").rpartition("/")[0]
        return self.principals.role(service, role, _SERVICE, "scheduler", group)


def _moment(timestamp: Any) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(float(timestamp), UTC)


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return "AWS.Scheduler.InternalServerError"
