"""Budgets, their periods, who changed them and what they had spent minute by minute. Revisions are append-only."""

from decimal import Decimal

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import controls.models.budgets
import costs.models.fields

# The function is that of the ledger.
APPEND_ONLY = """
CREATE TRIGGER controls_budgetrevision_append_only BEFORE UPDATE OR DELETE ON controls_budgetrevision
    FOR EACH ROW EXECUTE FUNCTION costs_refuse_change();
CREATE TRIGGER controls_budgetrevision_no_truncate BEFORE TRUNCATE ON controls_budgetrevision
    FOR EACH STATEMENT EXECUTE FUNCTION costs_refuse_change();
"""
FREE = """
DROP TRIGGER controls_budgetrevision_append_only ON controls_budgetrevision;
DROP TRIGGER controls_budgetrevision_no_truncate ON controls_budgetrevision;
"""


class Migration(migrations.Migration):
    dependencies = [("costs", "0006_api_keys")]

    operations = [
        migrations.CreateModel(
            name="Budget",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                (
                    "persona_id",
                    models.CharField(
                        blank=True, default="", help_text="Empty: all.", max_length=100, verbose_name="persona"
                    ),
                ),
                ("model", models.CharField(blank=True, default="", help_text="Empty: all.", max_length=100)),
                ("cost_type", models.CharField(blank=True, default="", help_text="Empty: all.", max_length=100)),
                (
                    "period",
                    models.CharField(
                        choices=[("daily", "daily"), ("weekly", "weekly"), ("monthly", "monthly")], max_length=10
                    ),
                ),
                (
                    "timezone",
                    models.CharField(
                        default="UTC",
                        help_text="An IANA name: where its days, weeks and months begin.",
                        max_length=64,
                        verbose_name="time zone",
                    ),
                ),
                (
                    "limit",
                    costs.models.fields.MoneyField(
                        decimal_places=12, help_text="US dollars for each period.", max_digits=21
                    ),
                ),
                (
                    "hard",
                    models.BooleanField(
                        default=False,
                        help_text="Decisions refuse what would overspend it; else it only warns.",
                    ),
                ),
                (
                    "warn_levels",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(
                            validators=[
                                django.core.validators.MinValueValidator(1),
                                django.core.validators.MaxValueValidator(100),
                            ]
                        ),
                        default=controls.models.budgets.default_levels,
                        help_text="Up to 3 percentages, ascending, with commas between: medium, high, critical.",
                        size=3,
                    ),
                ),
                ("revision", models.PositiveIntegerField(default=1, editable=False)),
                ("created_at", models.DateTimeField(editable=False)),
                ("ended_at", models.DateTimeField(editable=False, null=True)),
                ("counts_from", models.DateTimeField(editable=False)),
                ("counts_until", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["persona_id", "counts_until"], name="controls_budget_counting")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("limit__gt", 0), ("limit__lt", Decimal("1000000000"))),
                        name="controls_budget_limit_bounded",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("period__in", ("daily", "weekly", "monthly"))),
                        name="controls_budget_period_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("warn_levels__len__gte", 1), ("warn_levels__len__lte", 3)),
                        name="controls_budget_has_levels",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("counts_until", None), ("ended_at", None)),
                            models.Q(
                                ("counts_until__gt", models.F("ended_at")), ("ended_at__gte", models.F("created_at"))
                            ),
                            _connector="OR",
                        ),
                        name="controls_budget_ends_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BudgetPeriod",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "budget_id", "starts_at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("spent", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                (
                    "budget",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="periods",
                        to="controls.budget",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("spent__gt", Decimal("-10000000000000000000000000")),
                            ("spent__lt", Decimal("10000000000000000000000000")),
                        ),
                        name="controls_period_spent_bounded",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="controls_period_has_length"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BudgetRevision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                (
                    "change",
                    models.CharField(
                        choices=[("made", "Made"), ("revised", "Revised"), ("ended", "Ended")], max_length=10
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("limit", costs.models.fields.MoneyField(decimal_places=12, max_digits=21)),
                ("hard", models.BooleanField()),
                (
                    "warn_levels",
                    django.contrib.postgres.fields.ArrayField(base_field=models.PositiveSmallIntegerField(), size=3),
                ),
                ("actor", models.CharField(max_length=200)),
                ("at", models.DateTimeField()),
                (
                    "budget",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="revisions",
                        to="controls.budget",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("budget", "number"), name="controls_revision_numbered"),
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="controls_revision_has_an_actor"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BudgetSample",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "budget_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                ("starts_at", models.DateTimeField(help_text="The start of that period.")),
                ("spent", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                (
                    "budget",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="samples",
                        to="controls.budget",
                    ),
                ),
            ],
            options={
                "indexes": [
                    django.contrib.postgres.indexes.BrinIndex(
                        autosummarize=True, fields=["at"], name="controls_sample_by_time"
                    )
                ],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, FREE),
    ]
