"""An application that kills its process when a certain event is booked: a poison event that no `except` survives.

A worker takes it with DJANGO_SETTINGS_MODULE=tests.end_to_end.deadly_settings.
"""

import os
import signal
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig

from costs.booking import Line
from costs.signals import lines_recorded

KILLER = "killer"


class Deadly(AppConfig):
    name = "tests.end_to_end.deadly"
    label = "deadly"

    def ready(self) -> None:
        lines_recorded.connect(die_of_the_killer)


def die_of_the_killer(lines: Sequence[Line], **_: Any) -> None:
    if any(line.event_id == KILLER for line in lines):
        os.kill(os.getpid(), signal.SIGKILL)
