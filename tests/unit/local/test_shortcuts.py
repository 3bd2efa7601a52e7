"""The shortcuts answer what moto and botocore would have answered."""

from typing import Any

import moto.backends
import moto.core.responses
import pytest
from botocore.useragent import UserAgentComponent
from moto.core.serialize import (
    SERIALIZERS,
    ResponseSerializer,
    XFormedAttributePicker,
    get_serializer_class,
)
from moto.core.utils import get_service_model
from moto.dynamodb.responses import DynamoHandler
from moto.sns.models import sns_backends

from local import shortcuts

# What they import is no part of their interface.
RESPONSES: Any = moto.core.responses
ITEM = {
    "pk": {"S": "churn"},
    "facts": {"M": {"rows": {"L": [{"N": "1"}, {"BOOL": True}]}, "none": {"NULL": True}}},
    "bytes": {"B": b"abc"},
    "names": {"SS": ["a", "b"]},
}
METRIC = {"metric_name": "Errors", "namespace": "sageops", "Dimensions": [{"name": "group"}]}


def serialized(service: str, operation: str, answer: object) -> object:
    model = get_service_model(service)
    protocol = next(each for each in model.metadata["protocols"] if each in SERIALIZERS)
    serializer = get_serializer_class(service, protocol)(
        operation_model=model.operation_model(operation),
        value_picker=XFormedAttributePicker(),
    )
    return serializer.serialize(answer)["body"]


@pytest.mark.parametrize(
    ("service", "operation", "answer"),
    [
        ("dynamodb", "GetItem", {"Item": ITEM}),
        ("dynamodb", "Query", {"Items": [ITEM, {}], "Count": 2}),
        # By the names that moto's own objects have, by a shortened one, by none.
        ("cloudwatch", "ListMetrics", {"metrics": [METRIC], "NextToken": None}),
        ("sqs", "ReceiveMessage", {"messages": [{"message_id": "1", "Body": "x", "id": "2"}]}),
        ("events", "ListRules", {"Rules": [{"name": "nightly", "arn": "arn:aws:events"}]}),
        ("iam", "GetRole", {"role": {"name": "churn", "RoleId": "AROA", "path": "/"}}),
    ],
)
def test_a_member_is_found_by_the_same_names(service: str, operation: str, answer: object) -> None:
    without = serialized(service, operation, answer)
    with shortcuts.installed():
        assert serialized(service, operation, answer) == without


def test_what_is_known_is_what_was_found_out() -> None:
    names = [f"Some{letter}Action" for letter in "ABC"]
    asked = (
        lambda: moto.backends.get_backend("dynamodb"),
        lambda: [RESPONSES.camelcase_to_underscores(name) for name in names],
        lambda: RESPONSES.method_names_from_class(DynamoHandler),
        lambda: [
            UserAgentComponent(*part).to_string() for part in (("md", "a b#c"), ("m", "x", "é"))
        ],
        lambda: sns_backends["111111111111"]["eu-west-1"],
    )
    without = [ask() for ask in asked]
    with shortcuts.installed():
        assert [ask() for ask in asked] == without


def test_outside_it_the_libraries_are_their_own() -> None:
    own = ResponseSerializer.get_value
    with shortcuts.installed():
        assert ResponseSerializer.get_value is not own
    assert ResponseSerializer.get_value is own
