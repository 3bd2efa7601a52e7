"""Security's tests share the functional tests' company; fuzzing shares the unit tests' profile."""

from hypothesis import HealthCheck, settings

from tests.functional.conftest import group, it, world

__all__ = ["group", "it", "world"]

settings.register_profile(
    "sageops", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("sageops")
