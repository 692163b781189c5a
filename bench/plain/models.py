"""The ledger's columns as an ordinary Django table."""

# ruff: noqa: DJ001 (the ledger's columns, NULL where it has NULL)

from typing import ClassVar

from django.db import models


class PlainCost(models.Model):
    event_id = models.CharField(max_length=255)
    source = models.CharField(max_length=100)
    post_id = models.CharField(max_length=255, null=True)
    cost_type = models.CharField(max_length=100)
    cost_amount = models.DecimalField(max_digits=21, decimal_places=12, null=True)
    cost_metadata = models.JSONField(default=dict)
    persona_id = models.CharField(max_length=100, null=True)
    operation = models.CharField(max_length=100, null=True)
    provider = models.CharField(max_length=100, null=True)
    model = models.CharField(max_length=100, null=True)
    timestamp = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    entry_type = models.CharField(max_length=20)
    adjusts = models.BigIntegerField(null=True)
    evidence = models.CharField(max_length=20)
    quantities = models.JSONField(null=True)
    service_tier = models.CharField(max_length=40, null=True)
    usage = models.JSONField(null=True)
    computed_amount = models.DecimalField(max_digits=21, decimal_places=12, null=True)
    price_sheet_id = models.UUIDField(null=True)
    unpriced = models.SmallIntegerField()
    deviating = models.SmallIntegerField()
    correlation_id = models.CharField(max_length=255, null=True)
    request_id = models.CharField(max_length=255, null=True)
    hold_id = models.CharField(max_length=100, null=True)

    objects: ClassVar[models.Manager["PlainCost"]] = models.Manager()

    class Meta:
        app_label = "plain"
        constraints = [models.UniqueConstraint(fields=["source", "event_id"], name="plain_once")]
        indexes = [
            models.Index(fields=["post_id", "timestamp"], name="plain_post"),
            models.Index(fields=["persona_id", "timestamp"], name="plain_persona"),
            models.Index(fields=["timestamp"], name="plain_timestamp"),
        ]

    def __str__(self) -> str:
        return self.event_id
