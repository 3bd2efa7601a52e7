"""SageOps: a level-triggered release controller for SageMaker model groups."""
