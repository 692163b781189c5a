"""Who set which policy and which list of model switches to what: append-only."""

from django.db import migrations, models

import costs.models.fields

# The function is that of the ledger.
APPEND_ONLY = """
CREATE TRIGGER controls_settingchange_append_only BEFORE UPDATE OR DELETE ON controls_settingchange
    FOR EACH ROW EXECUTE FUNCTION costs_refuse_change();
CREATE TRIGGER controls_settingchange_no_truncate BEFORE TRUNCATE ON controls_settingchange
    FOR EACH STATEMENT EXECUTE FUNCTION costs_refuse_change();
"""
FREE = """
DROP TRIGGER controls_settingchange_append_only ON controls_settingchange;
DROP TRIGGER controls_settingchange_no_truncate ON controls_settingchange;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("controls", "0006_decide"),
    ]

    operations = [
        migrations.CreateModel(
            name="SettingChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("policy", "breaker policy"), ("switches", "model switches")], max_length=10
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="The persona (empty: everybody) or the dear model.",
                        max_length=100,
                    ),
                ),
                (
                    "content",
                    costs.models.fields.ExactJSONField(
                        blank=True,
                        decoder=costs.models.fields.ExactDecoder,
                        help_text="All of it as it is from now on; null: it was removed.",
                        null=True,
                    ),
                ),
                ("actor", models.CharField(max_length=200)),
                ("at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "setting change",
                "indexes": [models.Index(fields=["kind", "name", "id"], name="controls_change_of_one")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="controls_change_has_an_actor"
                    )
                ],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, FREE),
    ]
