from django.apps import AppConfig


class AnomaliesConfig(AppConfig):
    name = "anomalies"

    def ready(self) -> None:
        from anomalies import touched
        from costs import signals

        signals.lines_recorded.connect(touched.note_lines)
        signals.events_recorded.connect(touched.wake)
        signals.outcomes_recorded.connect(touched.note_outcomes)
