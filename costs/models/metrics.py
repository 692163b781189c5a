"""What the metrics count, and the figures that take too long to read at every scrape."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models

from costs.models.fields import SumField


class MetricTotal(models.Model):
    """One series of a counter. Its name and labels are given once and kept for ever."""

    metric = models.CharField(max_length=60)
    labels = ArrayField(models.CharField(max_length=100))
    value = SumField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["metric", "labels"], name="costs_metrictotal_series")]

    def __str__(self) -> str:
        return f"{self.metric}{self.labels}"

    @staticmethod
    def add(amounts: Mapping[tuple[str, tuple[str, ...]], Decimal]) -> None:
        rows = [(metric, list(labels), amount) for (metric, labels), amount in sorted(amounts.items())]
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO costs_metrictotal AS t (metric, labels, value) VALUES (%s, %s::text[], %s)"
                " ON CONFLICT (metric, labels) DO UPDATE SET value = t.value + EXCLUDED.value",
                rows,
            )


class MetricNote(models.Model):
    """What one batch of lines adds to the totals: [[metric, [label, …], "amount"], …]."""

    moves: Any = models.JSONField()

    def __str__(self) -> str:
        return f"note {self.pk}"


class MetricGauge(models.Model):
    """A figure that was read a moment ago; `read_at` says when."""

    metric = models.CharField(max_length=60)
    labels = ArrayField(models.CharField(max_length=255))
    value = SumField()
    read_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["metric", "labels"], name="costs_metricgauge_series")]

    def __str__(self) -> str:
        return f"{self.metric}{self.labels}"
