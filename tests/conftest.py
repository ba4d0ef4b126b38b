"""What all suites share: how hard hypothesis tries. The default looks at the same examples every time; `HYPOTHESIS_PROFILE=long` looks for more."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ("backends",)

_LARGE_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("quick", max_examples=10, deadline=None, suppress_health_check=_LARGE_IS_FINE, derandomize=True)
settings.register_profile("long", max_examples=2_000, deadline=None, suppress_health_check=_LARGE_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
