"""Which cheaper models may stand in for a dear one."""

from datetime import date

from django.db import models

from controls.retirements import RETIRED_ON


class SwitchQuerySet(models.QuerySet["Switch"]):
    def of(self, model: str) -> "SwitchQuerySet":
        return self.filter(model=model).order_by("position", "pk")


class Switch(models.Model):
    """One target of one model; of several the first one that serves is used, in the order of their positions."""

    model = models.CharField(max_length=100, help_text="The dear model, as producers name it.")
    position = models.PositiveSmallIntegerField(default=1)
    target = models.CharField(max_length=100)
    retired_on = models.DateField(
        null=True, blank=True, help_text="From this day on (UTC) the provider has it no more; empty: what is known."
    )
    context_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="Input and output together; empty: as the price list has it."
    )

    objects = SwitchQuerySet.as_manager()

    class Meta:
        verbose_name = "model switch"
        verbose_name_plural = "model switches"
        constraints = [
            models.UniqueConstraint(fields=["model", "target"], name="controls_switch_once"),
            models.CheckConstraint(condition=~models.Q(model=models.F("target")), name="controls_switch_to_another"),
        ]

    def __str__(self) -> str:
        return f"{self.model} to {self.target}"

    @property
    def retires_on(self) -> date | None:
        """The row's own day, else the one that is known of the model."""
        return self.retired_on or RETIRED_ON.get(self.target.lower())

    def is_alive(self, day: date) -> bool:
        return self.retires_on is None or day < self.retires_on
