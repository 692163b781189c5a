"""The scheduler of beat."""

from typing import Any

from celery.beat import PersistentScheduler


class FixedScheduler(PersistentScheduler):  # type: ignore[misc]
    """Its entries are those of the settings, and stay the same as long as it runs.

    Celery's compares all of them with how they were before each of its looks at the clock, several times a second:
    two fifths of what beat takes.
    """

    def schedules_equal(self, *_: Any) -> bool:
        return True
