"""Who set which policy and which list of model switches to what, and when."""

from typing import Any

from django.db import models

from costs.models.fields import ExactJSONField


class SettingChangeQuerySet(models.QuerySet["SettingChange"]):
    def with_former(self) -> "SettingChangeQuerySet":
        """With `former`, the content that the change replaced; None: none was recorded, or it had been removed."""
        before = SettingChange.objects.filter(
            kind=models.OuterRef("kind"), name=models.OuterRef("name"), pk__lt=models.OuterRef("pk")
        )
        return self.annotate(former=models.Subquery(before.order_by("-pk").values("content")[:1]))

    def seen_by(self, personas: Any) -> "SettingChangeQuerySet":
        """Those of these personas' policies; None means all, also those of what holds for everybody."""
        return self if personas is None else self.filter(kind=SettingChange.Kind.POLICY, name__in=personas)


class SettingChange(models.Model):
    """A policy, or a model's list of switches, as somebody has set it. Append-only."""

    class Kind(models.TextChoices):
        POLICY = "policy", "breaker policy"
        SWITCHES = "switches", "model switches"

    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(
        max_length=100, blank=True, default="", help_text="The persona (empty: everybody) or the dear model."
    )
    content = ExactJSONField(null=True, blank=True, help_text="All of it as it is from now on; null: it was removed.")
    actor = models.CharField(max_length=200)
    at = models.DateTimeField()

    objects = SettingChangeQuerySet.as_manager()

    class Meta:
        verbose_name = "setting change"
        indexes = [models.Index(fields=["kind", "name", "id"], name="controls_change_of_one")]
        constraints = [
            models.CheckConstraint(condition=~models.Q(actor=""), name="controls_change_has_an_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.name or 'everybody'}"
