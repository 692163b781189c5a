"""Find what was accepted for a hold and is not booked yet."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("costs", "0009_unpriced_hours"),
    ]

    operations = [
        migrations.AddField(
            model_name="inboxrow",
            name="hold_ids",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=100), db_default=[], size=None
            ),
        ),
        migrations.AddIndex(
            model_name="inboxrow",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("hold_ids", []), _negated=True), fields=["hold_ids"], name="costs_inbox_holds"
            ),
        ),
    ]
