"""Find the hours that hold unpriced usage without reading the others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0008_five_minutes")]

    operations = [
        migrations.AddIndex(
            model_name="hourlycost",
            index=models.Index(
                condition=models.Q(("unpriced", 0), _negated=True), fields=["hour"], name="costs_hours_unpriced"
            ),
        ),
    ]
