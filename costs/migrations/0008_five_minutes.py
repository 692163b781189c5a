"""The pulse of each persona in steps of five minutes, filled from the lines that are there."""

from django.db import migrations, models

import costs.models.fields

FILL = """
INSERT INTO costs_fiveminutecost
    (persona_id, starts_at, amount, adjustments, events, unpriced, deviating)
SELECT COALESCE(persona_id, ''), date_bin('5 minutes', timestamp, TIMESTAMPTZ '2000-01-01 00:00:00Z'),
       COALESCE(sum(cost_amount), 0), COALESCE(sum(cost_amount) FILTER (WHERE entry_type = 'adjustment'), 0),
       count(*) FILTER (WHERE entry_type = 'charge'), sum(unpriced), sum(deviating)
FROM cost_events GROUP BY 1, 2
"""


class Migration(migrations.Migration):
    dependencies = [("costs", "0007_outcomes")]

    operations = [
        migrations.CreateModel(
            name="FiveMinuteCost",
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
                        "persona_id", "starts_at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("persona_id", models.CharField(max_length=100)),
                ("starts_at", models.DateTimeField()),
            ],
            options={"abstract": False},
        ),
        # Room on every page, as for the other counters.
        migrations.RunSQL(
            "ALTER TABLE costs_fiveminutecost SET (fillfactor = 70)",
            "ALTER TABLE costs_fiveminutecost RESET (fillfactor)",
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop, elidable=True),
    ]
