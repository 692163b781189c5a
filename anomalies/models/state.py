"""What detection remembers between looks: what was touched, how far it has come, baselines, learned series."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Touch(models.Model):
    """Written in the transaction that books a batch: who and what must be looked at. Deleted by the look itself."""

    at = models.DateTimeField()
    newest = models.DateTimeField(help_text="The newest timestamp among the lines.")
    personas = ArrayField(models.CharField(max_length=100))
    posts = ArrayField(models.CharField(max_length=255), help_text="Posts whose lines are recent.")
    outcomes = ArrayField(models.CharField(max_length=100), default=list, help_text="Personas with new outcomes.")
    unpriced = models.BooleanField(default=False, help_text="Whether lines without a price are among them.")

    def __str__(self) -> str:
        return f"{len(self.personas)} personas at {self.at:%H:%M:%S}"


class Watermark(models.Model):
    """How far a sweep has come: everything before `through` was looked at."""

    name = models.CharField(max_length=60, primary_key=True)
    through = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} through {self.through:%Y-%m-%d %H:%M:%S}"


class Baseline(models.Model):
    """What is normal for a persona, as of its computation; read again after ten minutes."""

    pk = models.CompositePrimaryKey("persona_id", "reading")
    persona_id = models.CharField(max_length=100)
    reading = models.CharField(max_length=40)
    value = models.DecimalField(max_digits=38, decimal_places=12, null=True, help_text="Empty: too little data.")
    samples = models.IntegerField()
    computed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.reading} of {self.persona_id}"


class SeriesState(models.Model):
    """A streaming detector between two windows."""

    pk = models.CompositePrimaryKey("persona_id", "grain")
    persona_id = models.CharField(max_length=100)
    grain = models.CharField(max_length=20)
    state = models.BinaryField()
    through = models.DateTimeField(help_text="The end of the last window that it has seen.")

    def __str__(self) -> str:
        return f"{self.grain} of {self.persona_id}"
