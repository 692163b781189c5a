"""That the engine still looks: what the heartbeat tells others."""

from django.db import models


class Progress(models.Model):
    """When something that must never stop was last done."""

    name = models.CharField(max_length=60, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%d %H:%M:%S}"
