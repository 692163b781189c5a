"""What detection finds, by which levels, and what it remembers between two looks."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import anomalies.models.anomalies
import costs.models.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Baseline",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "persona_id", "reading", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("persona_id", models.CharField(max_length=100)),
                ("reading", models.CharField(max_length=40)),
                (
                    "value",
                    models.DecimalField(
                        decimal_places=12, help_text="Empty: too little data.", max_digits=38, null=True
                    ),
                ),
                ("samples", models.IntegerField()),
                ("computed_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="SeriesState",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "persona_id", "grain", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("persona_id", models.CharField(max_length=100)),
                ("grain", models.CharField(max_length=20)),
                ("state", models.BinaryField()),
                ("through", models.DateTimeField(help_text="The end of the last window that it has seen.")),
            ],
        ),
        migrations.CreateModel(
            name="Touch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("newest", models.DateTimeField(help_text="The newest timestamp among the lines.")),
                (
                    "personas",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=100), size=None),
                ),
                (
                    "posts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255),
                        help_text="Posts whose lines are recent.",
                        size=None,
                    ),
                ),
                (
                    "outcomes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100),
                        default=list,
                        help_text="Personas with new outcomes.",
                        size=None,
                    ),
                ),
                (
                    "unpriced",
                    models.BooleanField(default=False, help_text="Whether lines without a price are among them."),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Watermark",
            fields=[
                ("name", models.CharField(max_length=60, primary_key=True, serialize=False)),
                ("through", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Anomaly",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "rule",
                    models.CharField(choices=anomalies.models.anomalies.rules, max_length=40, verbose_name="type"),
                ),
                ("scope_key", models.CharField(help_text="What it is about, as one text.", max_length=700)),
                ("scope", models.JSONField(help_text="What it is about: persona, post, budget, …")),
                ("persona_id", models.CharField(blank=True, max_length=100, verbose_name="persona")),
                ("post_id", models.CharField(blank=True, max_length=255, verbose_name="post")),
                ("severity", models.CharField(choices=anomalies.models.anomalies.severities, max_length=10)),
                ("current", models.DecimalField(decimal_places=12, help_text="At its worst.", max_digits=38)),
                (
                    "latest",
                    models.DecimalField(decimal_places=12, help_text="At the last look.", max_digits=38, null=True),
                ),
                ("baseline", models.DecimalField(decimal_places=12, max_digits=38, null=True)),
                ("multiplier", models.DecimalField(decimal_places=6, max_digits=38, null=True)),
                (
                    "score",
                    models.DecimalField(
                        decimal_places=6, help_text="What was compared with the rule's levels.", max_digits=38
                    ),
                ),
                (
                    "evidence",
                    costs.models.fields.ExactJSONField(
                        decoder=costs.models.fields.ExactDecoder,
                        default=dict,
                        help_text="The window, what was compared, and what drove it.",
                    ),
                ),
                ("opened_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField(help_text="When it was last found, not calm.")),
                ("calm_since", models.DateTimeField(blank=True, null=True)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("resolution", models.CharField(blank=True, max_length=200)),
                ("false_positive_by", models.CharField(blank=True, max_length=150)),
            ],
            options={
                "verbose_name_plural": "anomalies",
                "indexes": [
                    models.Index(fields=["persona_id", "-opened_at"], name="anomalies_persona"),
                    models.Index(fields=["-opened_at"], name="anomalies_opened"),
                    models.Index(
                        condition=models.Q(("post_id", ""), _negated=True), fields=["post_id"], name="anomalies_post"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("resolved_at", None)),
                        fields=("rule", "scope_key"),
                        name="anomalies_one_open",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RulePolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "persona_id",
                    models.CharField(
                        blank=True, help_text="Empty: everybody without an own.", max_length=100, verbose_name="persona"
                    ),
                ),
                (
                    "rule",
                    models.CharField(choices=anomalies.models.anomalies.rules, max_length=40, verbose_name="type"),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("low", models.DecimalField(blank=True, decimal_places=6, max_digits=20, null=True)),
                ("medium", models.DecimalField(blank=True, decimal_places=6, max_digits=20, null=True)),
                ("high", models.DecimalField(blank=True, decimal_places=6, max_digits=20, null=True)),
                ("critical", models.DecimalField(blank=True, decimal_places=6, max_digits=20, null=True)),
                (
                    "minimum_amount",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="In dollars; empty: as the rule ships.",
                        max_digits=20,
                        null=True,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "rule policies",
                "constraints": [models.UniqueConstraint(fields=("persona_id", "rule"), name="anomalies_one_policy")],
            },
        ),
        migrations.CreateModel(
            name="Transition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("change", models.CharField(choices=anomalies.models.anomalies.changes, max_length=20)),
                ("severity", models.CharField(max_length=10)),
                ("current", models.DecimalField(decimal_places=12, max_digits=38)),
                ("actor", models.CharField(default="engine", max_length=150)),
                ("reason", models.CharField(blank=True, max_length=300)),
                (
                    "anomaly",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="transitions", to="anomalies.anomaly"
                    ),
                ),
            ],
            options={
                "ordering": ["at", "pk"],
            },
        ),
        migrations.CreateModel(
            name="Tolerance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("persona_id", models.CharField(blank=True, max_length=100, verbose_name="persona")),
                (
                    "rule",
                    models.CharField(choices=anomalies.models.anomalies.rules, max_length=40, verbose_name="type"),
                ),
                ("scope_key", models.CharField(max_length=700)),
                (
                    "up_to",
                    models.DecimalField(
                        decimal_places=6, help_text="As the rule measures: what is normal.", max_digits=38
                    ),
                ),
                ("until", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=150)),
                (
                    "anomaly",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to="anomalies.anomaly"),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("rule", "scope_key"), name="anomalies_one_tolerance")],
            },
        ),
    ]
