"""A channel whose receiver is in trouble rests, longer each time."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0002_default_routes")]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="failures",
            field=models.PositiveIntegerField(default=0, editable=False, help_text="In a row; a success ends it."),
        ),
        migrations.AlterField(
            model_name="channel",
            name="paused_until",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Its receiver asked us to wait until then, or failed.",
                null=True,
            ),
        ),
    ]
