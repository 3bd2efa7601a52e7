"""For `make mutate` alone, which copies it beside the tests.

mutmut tries its mutants in forks of one process. What that process keeps, a mutant would find ready
made, and the run that asks which test reaches what would see the first test alone reach it. So
every test begins with nothing kept.
"""

import importlib
import pkgutil

import pytest
import sageops

_MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(sageops.__path__, "sageops.")
    if not found.name.startswith("sageops.adapters")
]


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    for module in _MODULES:
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
