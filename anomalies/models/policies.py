"""Which levels a rule has, for everybody and for single personas."""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import models

from anomalies.detectors import DETECTORS, Detector
from anomalies.models.anomalies import rules


class RulePolicy(models.Model):
    """The levels of a rule for one persona, or for all (no persona). An empty level means: never that severity."""

    persona_id = models.CharField("persona", max_length=100, blank=True, help_text="Empty: everybody without an own.")
    rule = models.CharField("type", max_length=40, choices=rules)
    enabled = models.BooleanField(default=True)
    low = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    medium = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    high = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    critical = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    minimum_amount = models.DecimalField(
        max_digits=20, decimal_places=6, null=True, blank=True, help_text="In dollars; empty: as the rule ships."
    )

    class Meta:
        verbose_name_plural = "rule policies"
        constraints = [models.UniqueConstraint(fields=["persona_id", "rule"], name="anomalies_one_policy")]

    def __str__(self) -> str:
        return f"{self.rule} of {self.persona_id or 'everybody'}"

    def clean(self) -> None:
        levels = [level for level in (self.low, self.medium, self.high, self.critical) if level is not None]
        falls = self.rule in DETECTORS and DETECTORS[self.rule].levels.falling
        if levels != sorted(levels, reverse=falls):
            raise ValidationError("The levels must get " + ("lower" if falls else "higher") + " with the severity.")
        if self.rule == "budget_overrun" and levels:
            raise ValidationError("A budget has levels of its own: change them there.")
        if self.minimum_amount is not None and self.minimum_amount < 0:
            raise ValidationError({"minimum_amount": "Must not be negative."})

    @property
    def entry(self) -> Decimal | None:
        """The first level that is set."""
        return next((each for each in (self.low, self.medium, self.high, self.critical) if each is not None), None)

    def applied_to(self, detector: Detector) -> Detector:
        """The detector with these levels; one without any keeps its own."""
        given = {"low": self.low, "medium": self.medium, "high": self.high, "critical": self.critical}
        changed = detector.with_levels(**given) if any(level is not None for level in given.values()) else detector
        return changed if self.minimum_amount is None else changed.with_minimum(self.minimum_amount)
