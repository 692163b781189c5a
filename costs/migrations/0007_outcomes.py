"""What posts brought: append-only, with its sums by hour and by post."""

from decimal import Decimal

from django.db import migrations, models

import costs.models.fields
import costs.models.outcomes

APPEND_ONLY = """
CREATE TRIGGER costs_outcome_append_only BEFORE UPDATE OR DELETE ON costs_outcome
    FOR EACH ROW EXECUTE FUNCTION costs_refuse_change();
CREATE TRIGGER costs_outcome_no_truncate BEFORE TRUNCATE ON costs_outcome
    FOR EACH STATEMENT EXECUTE FUNCTION costs_refuse_change();
"""
CHANGEABLE = """
DROP TRIGGER costs_outcome_append_only ON costs_outcome;
DROP TRIGGER costs_outcome_no_truncate ON costs_outcome;
"""
COUNTERS = ("costs_hourlyoutcome", "costs_postoutcome")


class Migration(migrations.Migration):
    dependencies = [("costs", "0006_api_keys")]

    operations = [
        migrations.CreateModel(
            name="Outcome",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(max_length=100)),
                ("event_id", models.CharField(max_length=255)),
                (
                    "digest",
                    models.BinaryField(
                        help_text="Of what the caller sent: the same id with another body is a conflict."
                    ),
                ),
                ("timestamp", models.DateTimeField(help_text="When it happened.")),
                ("created_at", models.DateTimeField(help_text="When it was accepted.")),
                ("post_id", models.CharField(blank=True, max_length=255)),
                ("persona_id", models.CharField(blank=True, max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[("follow", "Follow"), ("engagement", "Engagement"), ("revenue", "Revenue")],
                        max_length=20,
                    ),
                ),
                (
                    "quantity",
                    costs.models.outcomes.QuantityField(
                        decimal_places=12,
                        help_text="How many; negative where they were taken back.",
                        max_digits=38,
                        null=True,
                    ),
                ),
                (
                    "amount",
                    costs.models.fields.SumField(
                        decimal_places=12, help_text="US dollars; negative for a refund.", max_digits=38, null=True
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("quantity__gt", Decimal("-1000000000000")), ("quantity__lt", Decimal("1000000000000"))
                        ),
                        name="costs_outcome_quantity",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", Decimal("-1000000000")), ("amount__lt", Decimal("1000000000"))
                        ),
                        name="costs_outcome_amount",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind__in", ("follow", "engagement")), ("quantity__isnull", False)),
                            models.Q(("amount__isnull", False), ("kind", "revenue")),
                            _connector="OR",
                        ),
                        name="costs_outcome_says_how_much",
                    ),
                    models.UniqueConstraint(fields=("event_id", "source"), name="costs_outcome_once"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("post_id", ""), _negated=True),
                        fields=["post_id"],
                        name="costs_outcome_post",
                    ),
                    models.Index(fields=["persona_id", "timestamp"], name="costs_outcome_persona"),
                ],
            },
        ),
        migrations.CreateModel(
            name="HourlyOutcome",
            fields=[
                ("quantity", costs.models.outcomes.QuantityField(decimal_places=12, max_digits=38)),
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                ("outcomes", models.BigIntegerField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "persona_id", "hour", "kind", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("persona_id", models.CharField(max_length=100)),
                ("hour", models.DateTimeField()),
                ("kind", models.CharField(max_length=20)),
            ],
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="PostOutcome",
            fields=[
                ("quantity", costs.models.outcomes.QuantityField(decimal_places=12, max_digits=38)),
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                ("outcomes", models.BigIntegerField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "post_id", "persona_id", "kind", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("post_id", models.CharField(max_length=255)),
                ("persona_id", models.CharField(max_length=100)),
                ("kind", models.CharField(max_length=20)),
            ],
            options={"abstract": False},
        ),
        migrations.RunSQL(APPEND_ONLY, CHANGEABLE),
        # Room on every page: an update of a sum then stays on it and touches no index.
        *(
            migrations.RunSQL(f"ALTER TABLE {table} SET (fillfactor = 70)", f"ALTER TABLE {table} RESET (fillfactor)")
            for table in COUNTERS
        ),
    ]
