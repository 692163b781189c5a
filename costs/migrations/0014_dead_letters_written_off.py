"""An event that never can be booked is written off with a reason, so that alerts speak of the others again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("costs", "0013_archives"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="deadletter",
            name="costs_deadletter_open",
        ),
        migrations.AddField(
            model_name="deadletter",
            name="written_off_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="written_off_because",
            field=models.TextField(blank=True, db_default=""),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="written_off_by",
            field=models.CharField(blank=True, db_default="", max_length=150),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("replayed_at", None), ("written_off_at", None)),
                fields=["created_at"],
                name="costs_deadletter_to_do",
            ),
        ),
    ]
