"""The service model's constraints, as Python checks them."""

from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

from local.simulator import validation


def test_every_pattern_of_the_service_model_can_be_checked() -> None:
    description = Loader().load_service_model("sagemaker", "service-2")
    model = ServiceModel(description, "sagemaker")
    shapes: list[Any] = [model.shape_for(name) for name in model.shape_names]
    patterns = {shape.metadata["pattern"] for shape in shapes if "pattern" in shape.metadata}
    assert len(patterns) > 100
    for pattern in patterns:
        validation.compiled(pattern)


def test_java_classes_mean_what_they_mean_in_java() -> None:
    tag = validation.compiled(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)")
    assert tag.fullmatch("Straße 7 @ naïve/ключ")
    assert not tag.fullmatch("semi;colon")
