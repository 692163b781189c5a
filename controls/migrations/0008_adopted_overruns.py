"""Periods of budgets that took over a hold without what had come beyond it: a price that came later was refused."""

from django.db import migrations

# At least that of the holds that name the period; those that are forgotten already count on.
COUNT = """
UPDATE controls_budgetperiod AS p SET overrun = held.overrun
FROM (
    SELECT t.budget_id, t.starts_at, sum(h.overrun) AS overrun
    FROM controls_hold h, unnest(h.budget_ids, h.period_starts) AS t(budget_id, starts_at)
    WHERE h.overrun > 0 GROUP BY t.budget_id, t.starts_at
) AS held
WHERE p.budget_id = held.budget_id AND p.starts_at = held.starts_at AND p.overrun < held.overrun
"""


class Migration(migrations.Migration):
    dependencies = [("controls", "0007_setting_changes")]

    operations = [
        migrations.RunSQL(COUNT, migrations.RunSQL.noop, elidable=True),
    ]
