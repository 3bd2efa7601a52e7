"""What CloudWatch takes out of a log."""

import json
from datetime import UTC, datetime

from local.emf import Observation, observations

_WHEN = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)


def _line(**members: object) -> str:
    metadata = {
        "Timestamp": int(_WHEN.timestamp() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": "SageOps",
                "Dimensions": [["service"], []],
                "Metrics": [{"Name": "Steps", "Unit": "Count"}],
            }
        ],
    }
    return json.dumps({"_aws": metadata, **members})


def test_each_dimension_set_is_a_metric() -> None:
    found = list(observations(_line(service="sageops", Steps=[1.0, 2])))
    assert found == [
        Observation(
            "SageOps", "Steps", frozenset({("service", "sageops")}), (1.0, 2.0), _WHEN, False
        ),
        Observation("SageOps", "Steps", frozenset(), (1.0, 2.0), _WHEN, False),
    ]


def test_other_lines_are_passed_over() -> None:
    log = "\n".join(
        ["text", '{"level": "INFO"}', "[1]", '{"_aws": 1}', _line(service="s", Steps=1)]
    )
    assert len(list(observations(log))) == 2
