"""The sums that the drain keeps beside the ledger."""

from django.db import migrations, models

import costs.models.fields


class Migration(migrations.Migration):
    dependencies = [("costs", "0002_ledger")]

    operations = [
        migrations.CreateModel(
            name="PostCost",
            fields=[
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                (
                    "adjustments",
                    costs.models.fields.SumField(
                        decimal_places=12, help_text="The part of the amount that adjustments brought.", max_digits=38
                    ),
                ),
                ("events", models.BigIntegerField(help_text="Charges, priced or not.")),
                ("unpriced", models.BigIntegerField(help_text="Charges that have no price yet.")),
                (
                    "deviating",
                    models.BigIntegerField(
                        help_text="Charges whose given amount is more than 1 % off the computed one."
                    ),
                ),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "post_id",
                        "persona_id",
                        "cost_type",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("post_id", models.CharField(max_length=255)),
                ("persona_id", models.CharField(max_length=100)),
                ("cost_type", models.CharField(max_length=100)),
                ("last_at", models.DateTimeField(help_text="The newest timestamp among its lines.")),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="HourlyCost",
            fields=[
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                (
                    "adjustments",
                    costs.models.fields.SumField(
                        decimal_places=12, help_text="The part of the amount that adjustments brought.", max_digits=38
                    ),
                ),
                ("events", models.BigIntegerField(help_text="Charges, priced or not.")),
                ("unpriced", models.BigIntegerField(help_text="Charges that have no price yet.")),
                (
                    "deviating",
                    models.BigIntegerField(
                        help_text="Charges whose given amount is more than 1 % off the computed one."
                    ),
                ),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "hour",
                        "persona_id",
                        "provider",
                        "cost_type",
                        "model",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("persona_id", models.CharField(max_length=100)),
                ("provider", models.CharField(max_length=100)),
                ("cost_type", models.CharField(max_length=100)),
                ("model", models.CharField(max_length=100)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="HourlyOperation",
            fields=[
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                (
                    "adjustments",
                    costs.models.fields.SumField(
                        decimal_places=12, help_text="The part of the amount that adjustments brought.", max_digits=38
                    ),
                ),
                ("events", models.BigIntegerField(help_text="Charges, priced or not.")),
                ("unpriced", models.BigIntegerField(help_text="Charges that have no price yet.")),
                (
                    "deviating",
                    models.BigIntegerField(
                        help_text="Charges whose given amount is more than 1 % off the computed one."
                    ),
                ),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "hour", "persona_id", "operation", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("persona_id", models.CharField(max_length=100)),
                ("operation", models.CharField(max_length=100)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="DailyCost",
            fields=[
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                (
                    "adjustments",
                    costs.models.fields.SumField(
                        decimal_places=12, help_text="The part of the amount that adjustments brought.", max_digits=38
                    ),
                ),
                ("events", models.BigIntegerField(help_text="Charges, priced or not.")),
                ("unpriced", models.BigIntegerField(help_text="Charges that have no price yet.")),
                (
                    "deviating",
                    models.BigIntegerField(
                        help_text="Charges whose given amount is more than 1 % off the computed one."
                    ),
                ),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day",
                        "persona_id",
                        "provider",
                        "cost_type",
                        "model",
                        "operation",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("day", models.DateField()),
                ("persona_id", models.CharField(max_length=100)),
                ("provider", models.CharField(max_length=100)),
                ("cost_type", models.CharField(max_length=100)),
                ("model", models.CharField(max_length=100)),
                ("operation", models.CharField(max_length=100)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="KnownOperation",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "persona_id", "operation", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("persona_id", models.CharField(max_length=100)),
                ("operation", models.CharField(max_length=100)),
            ],
        ),
        # Room on every page: an update of a sum then stays on it and touches no index.
        *(
            migrations.RunSQL(f"ALTER TABLE {table} SET (fillfactor = 70)", f"ALTER TABLE {table} RESET (fillfactor)")
            for table in ("costs_postcost", "costs_hourlycost", "costs_hourlyoperation", "costs_dailycost")
        ),
    ]
