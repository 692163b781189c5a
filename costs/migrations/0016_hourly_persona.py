"""What each persona cost by the hour, added up by Postgres itself from what its operations cost.

Pods of the version before move the finer counter, and with it this one.
"""

from django.db import migrations, models

import costs.models.fields

FUNCTION = """
CREATE FUNCTION costs_hourlypersona_roll_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO costs_hourlypersona AS h (hour, persona_id, amount, adjustments, events, unpriced, deviating)
        SELECT hour, persona_id, sum(amount), sum(adjustments), sum(events), sum(unpriced), sum(deviating)
        FROM came GROUP BY hour, persona_id ORDER BY hour, persona_id
        ON CONFLICT (hour, persona_id) DO UPDATE SET
            amount = h.amount + EXCLUDED.amount, adjustments = h.adjustments + EXCLUDED.adjustments,
            events = h.events + EXCLUDED.events, unpriced = h.unpriced + EXCLUDED.unpriced,
            deviating = h.deviating + EXCLUDED.deviating;
    ELSE
        INSERT INTO costs_hourlypersona AS h (hour, persona_id, amount, adjustments, events, unpriced, deviating)
        SELECT hour, persona_id, sum(amount), sum(adjustments), sum(events), sum(unpriced), sum(deviating)
        FROM (SELECT hour, persona_id, amount, adjustments, events, unpriced, deviating FROM came
              UNION ALL
              SELECT hour, persona_id, -amount, -adjustments, -events, -unpriced, -deviating FROM went) AS moved
        GROUP BY hour, persona_id ORDER BY hour, persona_id
        ON CONFLICT (hour, persona_id) DO UPDATE SET
            amount = h.amount + EXCLUDED.amount, adjustments = h.adjustments + EXCLUDED.adjustments,
            events = h.events + EXCLUDED.events, unpriced = h.unpriced + EXCLUDED.unpriced,
            deviating = h.deviating + EXCLUDED.deviating;
    END IF;
    RETURN NULL;
END
$$
"""
TRIGGERS = """
CREATE TRIGGER roll_up_came AFTER INSERT ON costs_hourlyoperation REFERENCING NEW TABLE AS came
FOR EACH STATEMENT EXECUTE FUNCTION costs_hourlypersona_roll_up();
CREATE TRIGGER roll_up_moved AFTER UPDATE ON costs_hourlyoperation REFERENCING OLD TABLE AS went NEW TABLE AS came
FOR EACH STATEMENT EXECUTE FUNCTION costs_hourlypersona_roll_up();
"""
# The lock that the triggers have taken lasts until the commit: nothing moves between them and this.
FILL = """
INSERT INTO costs_hourlypersona (hour, persona_id, amount, adjustments, events, unpriced, deviating)
SELECT hour, persona_id, sum(amount), sum(adjustments), sum(events), sum(unpriced), sum(deviating)
FROM costs_hourlyoperation GROUP BY hour, persona_id
"""
DROP = """
DROP TRIGGER roll_up_came ON costs_hourlyoperation;
DROP TRIGGER roll_up_moved ON costs_hourlyoperation;
DROP FUNCTION costs_hourlypersona_roll_up();
"""


class Migration(migrations.Migration):
    dependencies = [("costs", "0015_accept_one")]

    operations = [
        migrations.CreateModel(
            name="HourlyPersona",
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
                        "hour", "persona_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("persona_id", models.CharField(max_length=100)),
            ],
            options={"abstract": False},
        ),
        # Room on every page, as for the other counters.
        migrations.RunSQL(
            "ALTER TABLE costs_hourlypersona SET (fillfactor = 70)",
            "ALTER TABLE costs_hourlypersona RESET (fillfactor)",
        ),
        migrations.RunSQL([FUNCTION, TRIGGERS, FILL], DROP),
    ]
