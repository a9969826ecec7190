"""How much is tried: little on every change, much with the release profile."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

TIMES = {"release": 60, "tenth": 6}.get(settings.get_current_profile_name(), 1)
IS_RELEASE = TIMES > 1


def fuzz(cases: int) -> settings:
    """So many cases on every change, sixty times as many for a release, six times for a tenth."""
    return settings(
        max_examples=cases * TIMES,
        deadline=None,
        database=None,
        derandomize=not IS_RELEASE,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
