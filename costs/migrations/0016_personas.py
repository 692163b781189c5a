"""What each persona cost by the hour and by the day, added up by Postgres itself as the finer sums move.

Pods of the version before move the operations' counter, and with it these.
"""

from django.db import migrations, models

import costs.models.fields

# The roll-up, the finer counter, the time of the former and how it is found in the latter.
HOURLY = ("costs_hourlypersona", "costs_hourlyoperation", "hour", "hour")
DAILY = ("costs_dailypersona", "costs_hourlypersona", "day", "(hour AT TIME ZONE 'UTC')::date")

FUNCTION = """
CREATE FUNCTION {table}_roll_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {table} AS r ({time}, persona_id, amount, adjustments, events, unpriced, deviating)
        SELECT {found}, persona_id, sum(amount), sum(adjustments), sum(events), sum(unpriced), sum(deviating)
        FROM came GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT ({time}, persona_id) DO UPDATE SET
            amount = r.amount + EXCLUDED.amount, adjustments = r.adjustments + EXCLUDED.adjustments,
            events = r.events + EXCLUDED.events, unpriced = r.unpriced + EXCLUDED.unpriced,
            deviating = r.deviating + EXCLUDED.deviating;
    ELSE
        INSERT INTO {table} AS r ({time}, persona_id, amount, adjustments, events, unpriced, deviating)
        SELECT {found}, persona_id, sum(amount), sum(adjustments), sum(events), sum(unpriced), sum(deviating)
        FROM (SELECT hour, persona_id, amount, adjustments, events, unpriced, deviating FROM came
              UNION ALL
              SELECT hour, persona_id, -amount, -adjustments, -events, -unpriced, -deviating FROM went) AS moved
        GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT ({time}, persona_id) DO UPDATE SET
            amount = r.amount + EXCLUDED.amount, adjustments = r.adjustments + EXCLUDED.adjustments,
            events = r.events + EXCLUDED.events, unpriced = r.unpriced + EXCLUDED.unpriced,
            deviating = r.deviating + EXCLUDED.deviating;
    END IF;
    RETURN NULL;
END
$$
"""
TRIGGERS = """
CREATE TRIGGER roll_up_came AFTER INSERT ON {finer} REFERENCING NEW TABLE AS came
FOR EACH STATEMENT EXECUTE FUNCTION {table}_roll_up();
CREATE TRIGGER roll_up_moved AFTER UPDATE ON {finer} REFERENCING OLD TABLE AS went NEW TABLE AS came
FOR EACH STATEMENT EXECUTE FUNCTION {table}_roll_up();
"""
# The lock that the triggers have taken lasts until the commit: nothing moves between them and this.
FILL = """
INSERT INTO {table} ({time}, persona_id, amount, adjustments, events, unpriced, deviating)
SELECT {found}, persona_id, sum(amount), sum(adjustments), sum(events), sum(unpriced), sum(deviating)
FROM {finer} GROUP BY 1, 2
"""
DROP = """
DROP TRIGGER roll_up_came ON {finer};
DROP TRIGGER roll_up_moved ON {finer};
DROP FUNCTION {table}_roll_up();
"""


def _roll_up(table: str, finer: str, time: str, found: str) -> migrations.RunSQL:
    names = {"table": table, "finer": finer, "time": time, "found": found}
    # Room on every page, as for the other counters.
    room = f"ALTER TABLE {table} SET (fillfactor = 70)"
    return migrations.RunSQL([room, *(sql.format(**names) for sql in (FUNCTION, TRIGGERS, FILL))], DROP.format(**names))


def _fields(name: str, time: models.Field) -> list[tuple[str, models.Field]]:
    key = models.CompositePrimaryKey(name, "persona_id", blank=True, editable=False, primary_key=True, serialize=False)
    return [
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
            models.BigIntegerField(help_text="Charges whose given amount is more than 1 % off the computed one."),
        ),
        ("pk", key),
        (name, time),
        ("persona_id", models.CharField(max_length=100)),
    ]


class Migration(migrations.Migration):
    dependencies = [("costs", "0015_accept_one")]

    operations = [
        migrations.CreateModel("HourlyPersona", _fields("hour", models.DateTimeField()), options={"abstract": False}),
        migrations.CreateModel("DailyPersona", _fields("day", models.DateField()), options={"abstract": False}),
        _roll_up(*HOURLY),
        _roll_up(*DAILY),
        # On the way back it comes first: whoever books takes the finer counter before its roll-ups.
        migrations.RunSQL(migrations.RunSQL.noop, "LOCK TABLE costs_hourlyoperation IN ACCESS EXCLUSIVE MODE"),
    ]
