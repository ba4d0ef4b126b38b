"""What all suites share: how hard hypothesis tries."""

import os

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = [HealthCheck.too_slow]

settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=_SLOW_IS_FINE, derandomize=bool(os.environ.get("CI")))
settings.register_profile("long", max_examples=2_000, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
