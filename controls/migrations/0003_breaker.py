"""The circuit breaker: where it stands for each persona, its policies, its transitions (append-only), overrides."""

import datetime
from decimal import Decimal

import django.core.validators
import django.db.models.expressions
from django.db import migrations, models

import costs.models.fields

# The function is that of the ledger.
APPEND_ONLY = """
CREATE TRIGGER controls_controltransition_append_only BEFORE UPDATE OR DELETE ON controls_controltransition
    FOR EACH ROW EXECUTE FUNCTION costs_refuse_change();
CREATE TRIGGER controls_controltransition_no_truncate BEFORE TRUNCATE ON controls_controltransition
    FOR EACH STATEMENT EXECUTE FUNCTION costs_refuse_change();
"""
FREE = """
DROP TRIGGER controls_controltransition_append_only ON controls_controltransition;
DROP TRIGGER controls_controltransition_no_truncate ON controls_controltransition;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("controls", "0002_holds"),
    ]

    operations = [
        migrations.CreateModel(
            name="Control",
            fields=[
                (
                    "persona_id",
                    models.CharField(max_length=100, primary_key=True, serialize=False, verbose_name="persona"),
                ),
                (
                    "level",
                    models.CharField(
                        choices=[
                            ("closed", "Closed"),
                            ("throttle", "Throttle"),
                            ("switch", "Switch"),
                            ("half_open", "Half Open"),
                            ("pause", "Pause"),
                        ],
                        default="closed",
                        max_length=10,
                    ),
                ),
                ("is_observing", models.BooleanField(default=False)),
                ("per_minute", models.PositiveIntegerField(blank=True, null=True)),
                ("next_free_at", models.DateTimeField(blank=True, null=True)),
                ("trigger", models.CharField(blank=True, default="", max_length=100)),
                ("severity", models.CharField(blank=True, default="", max_length=10)),
                ("excess", models.DecimalField(blank=True, decimal_places=6, max_digits=30, null=True)),
                ("reason", models.TextField(blank=True, default="")),
                ("since", models.DateTimeField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("calm_since", models.DateTimeField(blank=True, null=True)),
                ("version", models.PositiveIntegerField(default=0)),
                (
                    "wanted_level",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("closed", "Closed"),
                            ("throttle", "Throttle"),
                            ("switch", "Switch"),
                            ("half_open", "Half Open"),
                            ("pause", "Pause"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                ("wanted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "wanted",
                    costs.models.fields.ExactJSONField(
                        blank=True, decoder=costs.models.fields.ExactDecoder, default=dict
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("level", "closed"), _negated=True),
                        fields=["level"],
                        name="controls_control_active",
                    ),
                    models.Index(
                        condition=models.Q(("wanted_level", ""), _negated=True),
                        fields=["wanted_at"],
                        name="controls_control_wanted",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("level", "closed"), ("expires_at__gt", models.F("since")), _connector="OR"),
                        name="controls_control_expires",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("per_minute", None), ("per_minute__gt", 0), _connector="OR"),
                        name="controls_control_rate_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ControlTransition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("persona_id", models.CharField(max_length=100, verbose_name="persona")),
                ("version", models.PositiveIntegerField()),
                (
                    "from_level",
                    models.CharField(
                        choices=[
                            ("closed", "Closed"),
                            ("throttle", "Throttle"),
                            ("switch", "Switch"),
                            ("half_open", "Half Open"),
                            ("pause", "Pause"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "to_level",
                    models.CharField(
                        choices=[
                            ("closed", "Closed"),
                            ("throttle", "Throttle"),
                            ("switch", "Switch"),
                            ("half_open", "Half Open"),
                            ("pause", "Pause"),
                        ],
                        max_length=10,
                    ),
                ),
                ("per_minute", models.PositiveIntegerField(blank=True, null=True)),
                ("trigger", models.CharField(blank=True, default="", max_length=100)),
                ("severity", models.CharField(blank=True, default="", max_length=10)),
                ("reason", models.TextField()),
                (
                    "evidence",
                    costs.models.fields.ExactJSONField(decoder=costs.models.fields.ExactDecoder, default=dict),
                ),
                ("actor", models.CharField(max_length=200)),
                ("is_observing", models.BooleanField(default=False)),
                ("observed_at", models.DateTimeField(help_text="When the reading was taken.")),
                ("at", models.DateTimeField(help_text="From when on decisions obeyed it.")),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "transition",
                "indexes": [
                    models.Index(fields=["at"], name="controls_transition_by_time"),
                    models.Index(fields=["to_level", "at"], name="controls_transition_paused"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("persona_id", "version"), name="controls_transition_numbered"),
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="controls_transition_has_an_actor"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Override",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "persona_id",
                    models.CharField(
                        blank=True, default="", help_text="Empty: everybody.", max_length=100, verbose_name="persona"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("force_open", "force open: nothing is let through"),
                            ("force_closed", "force closed: everything is let through"),
                            ("disabled", "disabled: everything is let through, and the breaker does not watch"),
                        ],
                        max_length=12,
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                ("actor", models.CharField(max_length=200)),
                ("starts_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_by", models.CharField(blank=True, default="", max_length=200)),
            ],
            options={
                "indexes": [models.Index(fields=["persona_id", "expires_at"], name="controls_override_active")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("expires_at__gt", models.F("starts_at")),
                            (
                                "expires_at__lte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("starts_at"), "+", models.Value(datetime.timedelta(days=1))
                                ),
                            ),
                        ),
                        name="controls_override_expires",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("actor", ""), _negated=True), models.Q(("reason", ""), _negated=True)
                        ),
                        name="controls_override_is_accounted_for",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Policy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "persona_id",
                    models.CharField(blank=True, default="", max_length=100, unique=True, verbose_name="persona"),
                ),
                (
                    "is_observing",
                    models.BooleanField(
                        default=False,
                        help_text="Record what would have been done and saved, and do nothing.",
                        verbose_name="only observe",
                    ),
                ),
                ("throttle_requests", models.BooleanField(default=True)),
                ("disable_expensive_models", models.BooleanField(default=True)),
                ("pause_persona", models.BooleanField(default=True)),
                ("alert_human_operator", models.BooleanField(default=True)),
                (
                    "spike_from",
                    models.DecimalField(
                        decimal_places=2, default=Decimal("3"), help_text="Times the baseline.", max_digits=9
                    ),
                ),
                (
                    "budget_from",
                    models.DecimalField(
                        decimal_places=2, default=Decimal("90"), help_text="Per cent used.", max_digits=6
                    ),
                ),
                (
                    "roi_from",
                    models.DecimalField(
                        decimal_places=2, default=Decimal("-60"), help_text="Per cent; below zero.", max_digits=6
                    ),
                ),
                ("on_critical", models.BooleanField(default=True, verbose_name="on critical anomalies")),
                ("minimum_events", models.PositiveIntegerField(default=20)),
                (
                    "minimum_amount",
                    costs.models.fields.MoneyField(
                        decimal_places=12, default=Decimal("0.05"), help_text="US dollars.", max_digits=21
                    ),
                ),
                (
                    "leave",
                    models.DecimalField(
                        decimal_places=2,
                        default=Decimal("0.7"),
                        help_text="Calm is below this share of the threshold.",
                        max_digits=3,
                    ),
                ),
                (
                    "calm_seconds",
                    models.PositiveIntegerField(
                        default=90,
                        help_text="Three windows of 30 seconds: calm for so long.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "stay_seconds",
                    models.PositiveIntegerField(
                        default=60,
                        help_text="The shortest stay on a level.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "expiry_seconds",
                    models.PositiveIntegerField(
                        default=3600,
                        help_text="A level that nothing renews ends after so long.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "pause_seconds",
                    models.PositiveIntegerField(default=3600, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                (
                    "medium_per_minute",
                    models.PositiveIntegerField(default=50, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                (
                    "high_per_minute",
                    models.PositiveIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                (
                    "critical_per_minute",
                    models.PositiveIntegerField(default=10, validators=[django.core.validators.MinValueValidator(1)]),
                ),
            ],
            options={
                "verbose_name": "breaker policy",
                "verbose_name_plural": "breaker policies",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("spike_from__gt", 1),
                            ("budget_from__gt", 0),
                            ("roi_from__lt", 0),
                            ("leave__gt", 0),
                            ("leave__lt", 1),
                            ("minimum_amount__gte", 0),
                        ),
                        name="controls_policy_makes_sense",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("critical_per_minute__gt", 0), ("high_per_minute__gt", 0), ("medium_per_minute__gt", 0)
                        ),
                        name="controls_policy_lets_some_through",
                    ),
                ],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, FREE),
    ]
