from django.apps import AppConfig

from controls import spending
from costs.signals import lines_recorded


class ControlsConfig(AppConfig):
    name = "controls"
    verbose_name = "Controls"

    def ready(self) -> None:
        lines_recorded.connect(spending.count, dispatch_uid="controls.spending")
