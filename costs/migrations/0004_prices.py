"""Contracts, corrections and rates."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0003_counters")]

    operations = [
        migrations.CreateModel(
            name="PriceRate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("contract", "contract (overrides every list price)"),
                            ("correction", "correction (a list price the library has wrong at that date)"),
                            ("rate", "rate (infrastructure)"),
                        ],
                        max_length=20,
                    ),
                ),
                ("cost_type", models.CharField(blank=True, help_text="Empty: any.", max_length=100)),
                ("provider", models.CharField(blank=True, help_text="Empty: any.", max_length=100)),
                ("model", models.CharField(blank=True, help_text="Empty: any.", max_length=100)),
                (
                    "service_tier",
                    models.CharField(
                        blank=True, help_text="Empty: the standard tier; or batch, flex, …", max_length=40
                    ),
                ),
                (
                    "bucket",
                    models.CharField(help_text="What is priced: input_tokens, cpu_core_hours, …", max_length=50),
                ),
                ("unit_price", models.DecimalField(decimal_places=12, help_text="US dollars.", max_digits=21)),
                (
                    "per",
                    models.PositiveIntegerField(default=1, help_text="For how many units: 1, or 1,000,000 for tokens."),
                ),
                ("effective_from", models.DateTimeField()),
                (
                    "effective_to",
                    models.DateTimeField(blank=True, help_text="The first moment it no longer holds.", null=True),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True, help_text="Where this price stands: contract, page, mail.", max_length=255
                    ),
                ),
                ("changed_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name": "price",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("unit_price__gte", 0), ("unit_price__lt", 1000000)),
                        name="costs_rate_bounded",
                    ),
                    models.CheckConstraint(condition=models.Q(("per__gt", 0)), name="costs_rate_per_positive"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("effective_to", None), ("effective_to__gt", models.F("effective_from")), _connector="OR"
                        ),
                        name="costs_rate_period",
                    ),
                ],
            },
        )
    ]
