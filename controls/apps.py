from django.apps import AppConfig

from costs.signals import lines_recorded


class ControlsConfig(AppConfig):
    name = "controls"
    verbose_name = "Controls"

    def ready(self) -> None:
        # It reads models, which exist only now.
        from controls import spending

        lines_recorded.connect(spending.count, dispatch_uid="controls.spending")
