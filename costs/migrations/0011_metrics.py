"""What the metrics count: from here on a note for each batch, and one for all that is booked already."""

import django.contrib.postgres.fields
from django.db import migrations, models

import costs.models.fields

# As costs.metric_totals does it line by line.
NOTE = """
INSERT INTO costs_metricnote (moves)
SELECT jsonb_agg(jsonb_build_array(metric, labels, amount::text)) FROM (
    SELECT 'finops_cost_events_total' AS metric, jsonb_build_array(cost_type) AS labels, count(*)::numeric AS amount
    FROM cost_events WHERE entry_type = 'charge' GROUP BY cost_type
    UNION ALL
    SELECT 'finops_cost_adjustments_usd', jsonb_build_array(cost_type), sum(cost_amount)
    FROM cost_events WHERE cost_amount IS NOT NULL AND (entry_type <> 'charge' OR cost_amount < 0) GROUP BY cost_type
    UNION ALL
    SELECT metric, labels, sum(cost_amount) FROM (
        SELECT cost_amount,
            CASE cost_type WHEN 'openai_api' THEN 'openai_api_costs_usd_total'
                WHEN 'kubernetes' THEN 'kubernetes_resource_costs_usd_total'
                WHEN 'vector_db' THEN 'vector_db_operation_costs_usd_total'
                ELSE 'finops_generic_costs_usd_total' END AS metric,
            CASE cost_type
                WHEN 'openai_api' THEN jsonb_build_array(
                    COALESCE(model, ''), COALESCE(persona_id, ''), COALESCE(operation, ''))
                WHEN 'kubernetes' THEN jsonb_build_array(
                    left(COALESCE(cost_metadata->>'service', ''), 100),
                    left(COALESCE(cost_metadata->>'resource_type', ''), 100), COALESCE(operation, ''))
                WHEN 'vector_db' THEN jsonb_build_array(
                    left(COALESCE(cost_metadata->>'collection', ''), 100),
                    COALESCE(persona_id, ''), COALESCE(operation, ''))
                ELSE jsonb_build_array(cost_type, COALESCE(persona_id, '')) END AS labels
        FROM cost_events WHERE entry_type = 'charge' AND cost_amount >= 0
    ) lines GROUP BY metric, labels
) moves
HAVING count(*) > 0
"""


class Migration(migrations.Migration):
    dependencies = [("costs", "0010_inbox_holds")]

    operations = [
        migrations.CreateModel(
            name="MetricNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("moves", models.JSONField()),
            ],
        ),
        migrations.CreateModel(
            name="MetricGauge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("metric", models.CharField(max_length=60)),
                (
                    "labels",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), size=None),
                ),
                ("value", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                ("read_at", models.DateTimeField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("metric", "labels"), name="costs_metricgauge_series")],
            },
        ),
        migrations.CreateModel(
            name="MetricTotal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("metric", models.CharField(max_length=60)),
                (
                    "labels",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=100), size=None),
                ),
                ("value", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("metric", "labels"), name="costs_metrictotal_series")],
            },
        ),
        # Posts lie about in the order of their days; an ordinary index would cost every move of a counter a new entry.
        migrations.RunSQL(
            "CREATE INDEX costs_postcost_touched ON costs_postcost USING brin (last_at) "
            " WITH (pages_per_range = 32, autosummarize = on)",
            "DROP INDEX costs_postcost_touched",
        ),
        migrations.RunSQL(NOTE, migrations.RunSQL.noop, elidable=True),
    ]
