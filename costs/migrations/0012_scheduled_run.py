"""When each entry of beat's schedule last ran."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0011_metrics")]

    operations = [
        migrations.CreateModel(
            name="ScheduledRun",
            fields=[
                ("entry", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                ("seconds", models.FloatField(help_text="That the last run took.")),
                ("runs", models.BigIntegerField(help_text="That came to an end, well or not.")),
                ("failures", models.BigIntegerField(default=0)),
                (
                    "error",
                    models.TextField(blank=True, default="", help_text="Of the last run that failed, if ever one did."),
                ),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"verbose_name": "scheduled run"},
        ),
    ]
