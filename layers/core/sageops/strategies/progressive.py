"""Two variants on one endpoint, and the new one's share grows step by step, by our own clock.

Needs no guardrail of SageMaker's: every step is a change of weights (page 'Test models in
production'), is judged by the evidence, and is reversed at once.
"""

from sageops.policy import Progressive

__all__ = ["following"]


def following(rollout: Progressive, share: int) -> int | None:
    """The share of the requests, in percent, that comes after this one; None after the last."""
    return next((step for step in rollout.steps if step > share), None)
