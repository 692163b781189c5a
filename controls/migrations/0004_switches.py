"""Which cheaper models may stand in for a dear one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("controls", "0003_breaker"),
    ]

    operations = [
        migrations.CreateModel(
            name="Switch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(help_text="The dear model, as producers name it.", max_length=100)),
                ("position", models.PositiveSmallIntegerField(default=1)),
                ("target", models.CharField(max_length=100)),
                (
                    "retired_on",
                    models.DateField(
                        blank=True,
                        help_text="From this day on (UTC) the provider has it no more; empty: what is known.",
                        null=True,
                    ),
                ),
                (
                    "context_tokens",
                    models.PositiveIntegerField(
                        blank=True, help_text="Input and output together; empty: as the price list has it.", null=True
                    ),
                ),
            ],
            options={
                "verbose_name": "model switch",
                "verbose_name_plural": "model switches",
                "constraints": [
                    models.UniqueConstraint(fields=("model", "target"), name="controls_switch_once"),
                    models.CheckConstraint(
                        condition=models.Q(("model", models.F("target")), _negated=True),
                        name="controls_switch_to_another",
                    ),
                ],
            },
        ),
    ]
