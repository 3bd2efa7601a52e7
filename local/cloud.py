"""The embedded cloud: AWS in one process on a virtual clock, as far as this product touches it.

`with Cloud(start=…) as cloud:` opens it; the README beside this file says what is simulated, after
which document, and what is not.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import patch

import time_machine
from botocore.exceptions import ClientError
from botocore.loaders import create_loader
from moto import mock_aws
from moto.awslambda.models import LambdaBackend
from moto.dynamodb.models.table import StreamShard
from moto.events.models import EventsBackend
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, s3_backends
from moto.scheduler.models import EventBridgeSchedulerBackend
from moto.sns.models import Topic
from moto.sqs.models import Queue, SQSBackend

from local import authorization, images, moto_plugin, objects, shortcuts, tables
from local.alarms import Alarm, Alarms, Verdict, as_event_detail, as_notification, state_detail
from local.clock import Clock
from local.cloudwatch import CloudWatch
from local.containers import LocalContainers
from local.delivery import Delivery, Lost
from local.deployment import Stack, deploy
from local.emf import Observation
from local.events import Envelope, Events
from local.inbox import Message
from local.lambdas import Function, FunctionError, Invocation, Lambdas
from local.metrics import Metric, Metrics
from local.principals import Principals
from local.queues import Queues
from local.resources import Site
from local.schedules import Schedules
from local.simulator.service import Simulator
from local.simulator.site import Containers, Document, ServiceError
from local.streams import Streams

__all__ = ["Cloud"]

_ENVIRONMENT = {
    # moto knows no host names that begin with an account.
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Nobody's own settings or credentials.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_FOREIGN = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    # A playground's, in the terminal that the next one is started from.
    "AWS_ENDPOINT_URL",
)


_ONE_LOADER = cache(create_loader)


class Cloud:
    """Everything that a test or a demo opens; implements `local.simulator.site.Outside`.

    `containers` default to local processes. Only one may be open at a time: the clock, moto and
    the environment belong to the process.
    """

    clock: Clock
    simulator: Simulator
    authorization: authorization.Authorization
    lambdas: Lambdas
    events: Events
    queues: Queues
    streams: Streams
    schedules: Schedules
    alarms: Alarms
    metrics: Metrics

    def __init__(
        self,
        start: datetime,
        hub: str = "111111111111",
        region: str = "eu-west-1",
        containers: Containers | None = None,
    ) -> None:
        """`start` is the virtual time at first (aware); `hub` the account that calls default to."""
        self.hub = hub
        self.region = region
        self.inbox: list[Message] = []
        self.stacks: dict[tuple[str, str], Stack] = {}
        self._start = start
        self._containers = containers
        self._open = ExitStack()

    def __enter__(self) -> "Cloud":
        with ExitStack() as stack:
            self._enter(stack)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def _enter(self, stack: ExitStack) -> None:
        enter = stack.enter_context
        enter(patch.dict(os.environ, {**_ENVIRONMENT, "AWS_DEFAULT_REGION": self.region}))
        for name in _FOREIGN:
            os.environ.pop(name, None)
        # Every session, of a person or a function, would read the same service models again.
        enter(patch("botocore.session.create_loader", _ONE_LOADER))
        # Before moto starts, so that everything it makes is stamped with virtual time.
        traveller = enter(time_machine.travel(self._start, tick=False))
        self.clock = Clock(self._start, on_move=traveller.move_to)
        enter(mock_aws())
        enter(shortcuts.installed())
        self.authorization = enter(authorization.install(group_policy=self._group_policy))
        self._principals = Principals(self.clock, self.region, self.authorization)
        self._delivery = Delivery(self.clock, self._principals)
        self.metrics = Metrics()
        self._cloudwatch = CloudWatch(self.clock, self.metrics, self._transition)
        self.lambdas = Lambdas(self.clock, self._principals, self._measured, self._delivery)
        self.events = Events(self.clock, self._principals, self._delivery, self.lambdas)
        self.queues = Queues(
            self.clock, self._principals, self.lambdas, measured=self._queue_measured
        )
        self.streams = Streams(self.clock, self._principals, self._delivery, self.lambdas)
        self.schedules = Schedules(self.clock, self._principals, self._delivery)
        self.alarms = Alarms(self.clock, self.metrics, self._cloudwatch.alarms, self._transition)
        containers = self._containers
        if containers is None:
            containers = enter(LocalContainers())
        self.simulator = Simulator(self.clock, self, containers)
        enter(_installed(self.simulator))
        self._cloudwatch.install(stack)
        tables.install(stack)
        objects.install(stack)
        images.install(stack, self._principals)
        for owner, method, replacement in self._hooks():
            enter(patch.object(owner, method, replacement))
        self.alarms.start()

    # --- what tests and demos use ------------------------------------------------------------

    @property
    def invocations(self) -> list[Invocation]:
        """Every call of a function so far."""
        return self.lambdas.invocations

    @property
    def lost(self) -> list[Lost]:
        """What reached nobody and no dead-letter queue."""
        return self._delivery.lost

    def client(self, service: str, account: str | None = None, region: str | None = None) -> Any:
        """An administrator's boto3 client in `account` (default: the hub)."""
        return self._principals.administrator(service, account or self.hub, region)

    def deploy(
        self, template: Path, account: str, stack_name: str, parameters: Mapping[str, str]
    ) -> dict[str, str]:
        """Create a stack; its outputs. Raises `local.cloudformation.TemplateError`."""

        def site(name: str, root: Path) -> Site:
            return Site(
                account=account,
                region=self.region,
                stack=name,
                root=root,
                principals=self._principals,
                lambdas=self.lambdas,
                queues=self.queues,
                streams=self.streams,
            )

        stack = deploy(template, parameters, site, stack_name)
        self.stacks[account, stack_name] = stack
        return dict(stack.outputs)

    def publish_raw(self, account: str, envelope: Envelope, bus: str = "default") -> None:
        """Put any envelope, however wrong, on a bus of `account`."""
        self.events.publish_raw(account, self.region, envelope, bus)

    def deny(self, role: str, action: str, resource: str = "*") -> AbstractContextManager[None]:
        """Within it, the role (ARN) lacks a permission (see `Authorization.revoke`)."""
        return self.authorization.revoke(role, action, resource)

    def _group_policy(self, arn: str) -> str | None:
        return self.simulator.group_policy(arn)

    # --- Outside: what SageMaker touches of the rest -------------------------------------------

    def publish(
        self, account: str, region: str, detail_type: str, detail: Document, resources: list[str]
    ) -> None:
        """Put an event with source `aws.sagemaker` on the account's default bus."""
        self.events.publish(account, region, "aws.sagemaker", detail_type, detail, resources)

    def put_metric(  # noqa: PLR0913  # as in `Outside`
        self,
        account: str,
        region: str,
        name: str,
        dimensions: Mapping[str, str],
        values: list[float],
        namespace: str = "AWS/SageMaker",
    ) -> None:
        """Add observations to a metric, stamped with the present minute."""
        metric = Metric(account, region, namespace, name, frozenset(dimensions.items()))
        self.metrics.add(metric, self.clock.now, values)

    def alarm_state(self, account: str, region: str, name: str) -> str | None:
        """`OK`, `ALARM`, `INSUFFICIENT_DATA`; None when there is no such alarm."""
        return self._cloudwatch.state(account, region, name)

    def read(self, account: str, uri: str) -> bytes:
        """An object of one of the account's own buckets. Raises `ServiceError`.

        SageMaker reads with the role that it was given; objects of other accounts' buckets, which
        their policies might open to it, are refused here.
        """
        bucket, key = _object(uri)
        if bucket not in s3_backends[account]["aws"].buckets:
            raise ServiceError("ValidationException", f"{account} has no bucket {bucket}")
        try:
            answer = self.client("s3", account).get_object(Bucket=bucket, Key=key)
            body: bytes = answer["Body"].read()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise ServiceError("ValidationException", f"Could not read {uri}: {code}") from error
        return body

    def write(self, account: str, uri: str, body: bytes) -> None:
        """Write an object into one of the account's buckets. Raises `ServiceError`."""
        bucket, key = _object(uri)
        try:
            self.client("s3", account).put_object(Bucket=bucket, Key=key, Body=body)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise ServiceError("ValidationException", f"Could not write {uri}: {code}") from error

    # --- wiring ------------------------------------------------------------------------------

    def _hooks(self) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
        """Where moto would deliver, or keep still: what it does instead of its own method.

        Each takes moto's object as its first argument.
        """
        add_message, receive, publish = Queue.add_message, SQSBackend.receive_message, Topic.publish
        add_record = StreamShard.add
        create = EventBridgeSchedulerBackend.create_schedule
        update = EventBridgeSchedulerBackend.update_schedule

        def message_added(queue: Queue, message: Any) -> None:
            add_message(queue, message)
            self.queues.wake(queue.queue_arn)

        def received(  # noqa: PLR0913  # moto's signature
            backend: SQSBackend,
            queue_name: str,
            count: int,
            wait_seconds_timeout: int,
            visibility_timeout: int,
            message_attribute_names: list[str] | None = None,
        ) -> Any:
            # Virtual time would stand still while moto waits for a message.
            return receive(
                backend, queue_name, count, 0, visibility_timeout, message_attribute_names
            )

        def record_added(shard: StreamShard, old: Any, new: Any) -> None:
            add_record(shard, old, new)
            self.streams.wake(shard.table.table_arn)

        def published(topic: Topic, message: str, *given: Any, **named: Any) -> str:
            identifier = publish(topic, message, *given, **named)
            self._told(topic, message, *given, **named)
            return identifier

        def schedule_changed(original: Callable[..., Any]) -> Callable[..., Any]:
            def changed(backend: EventBridgeSchedulerBackend, **given: Any) -> Any:
                schedule = original(backend, **given)
                self.schedules.watch(
                    backend.account_id, backend.region_name, schedule.group_name, schedule.name
                )
                return schedule

            return changed

        def events_put(backend: EventsBackend, events: list[dict[str, Any]]) -> Any:
            return self.events.put(backend.account_id, backend.region_name, events)

        yield Queue, "add_message", message_added
        yield SQSBackend, "receive_message", received
        yield StreamShard, "add", record_added
        yield Topic, "publish", published
        yield EventBridgeSchedulerBackend, "create_schedule", schedule_changed(create)
        yield EventBridgeSchedulerBackend, "update_schedule", schedule_changed(update)
        yield EventsBackend, "put_events", events_put
        # moto takes a bucket policy's statements without their conditions; `authorization` reads
        # them whole.
        yield FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL
        yield LambdaBackend, "invoke", self._invoker()
        yield LambdaBackend, "send_sns_message", self._topic_invoker()

    def _invoker(self) -> Callable[..., Any]:
        def invoke(
            backend: LambdaBackend,
            function_name: str,
            qualifier: str | None,
            body: Any,
            headers: Any,
            response_headers: Any,
        ) -> str | bytes | None:
            """botocore `Invoke`; moto would start a container."""
            arn = backend.get_function(function_name, qualifier).function_arn
            event = json.loads(body) if body else {}
            kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
            if kind == "DryRun":
                return b""
            if kind == "Event":
                self.lambdas.invoke_later(arn, event)
                return b""
            try:
                payload = self.lambdas.invoke(arn, event)
            except FunctionError as error:
                response_headers["x-amz-function-error"] = "Unhandled"
                payload = error.payload
            return json.dumps(payload).encode()

        return invoke

    def _topic_invoker(self) -> Callable[..., Any]:
        def send_sns_message(
            backend: LambdaBackend,
            function_name: str,
            message: str,
            subject: str | None = None,
            qualifier: str | None = None,
        ) -> None:
            record = {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "Sns": {"Type": "Notification", "Subject": subject, "Message": message},
            }
            arn = backend.get_function(function_name, qualifier).function_arn
            self.lambdas.invoke_later(arn, {"Records": [record]})

        return send_sns_message

    def _told(
        self,
        topic: Topic,
        message: str,
        subject: str | None = None,
        message_attributes: Mapping[str, Mapping[str, str]] | None = None,
        **_: Any,
    ) -> None:
        attributes = {k: str(v.get("Value")) for k, v in (message_attributes or {}).items()}
        self.inbox.append(Message(topic.arn, subject, message, attributes, self.clock.now))

    def _measured(self, function: Function, seen: Observation) -> None:
        metric = Metric(
            function.account, function.region, seen.namespace, seen.name, seen.dimensions
        )
        self.metrics.add(metric, seen.when, seen.values, seen.high_resolution)

    def _queue_measured(self, queue: str, name: str, value: float) -> None:
        region, account, queue_name = queue.split(":")[3:6]
        metric = Metric(account, region, "AWS/SQS", name, frozenset({("QueueName", queue_name)}))
        self.metrics.add(metric, self.clock.now, [value])

    def _transition(self, alarm: Alarm, verdict: Verdict) -> None:
        """An alarm changes state: keep it, say so on the account's bus, and tell its topics."""
        before, since = self._cloudwatch.previous(alarm)
        self._cloudwatch.record(alarm, verdict)
        detail = as_event_detail(alarm, verdict, state_detail(before, since), self.clock.now)
        self.events.publish(
            alarm.account,
            alarm.region,
            "aws.cloudwatch",
            "CloudWatch Alarm State Change",
            detail,
            [alarm.arn],
        )
        for action in self._cloudwatch.actions(alarm, verdict.state):
            if action.split(":")[2] != "sns":
                raise NotImplementedError(f"{alarm.name}: the action {action}")
            subject, body = as_notification(alarm, verdict, before.state, self.clock.now)
            sns = self.client("sns", action.split(":")[4], action.split(":")[3])
            sns.publish(TopicArn=action, Subject=subject, Message=body)


@contextmanager
def _installed(simulator: Simulator) -> Iterator[None]:
    moto_plugin.install(simulator)
    try:
        yield
    finally:
        moto_plugin.uninstall()


def _object(uri: str) -> tuple[str, str]:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key:
        raise ServiceError("ValidationException", f"{uri} is no S3 object")
    return bucket, key
