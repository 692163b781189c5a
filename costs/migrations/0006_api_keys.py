"""Who may call."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0005_default_rates")]

    operations = [
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                (
                    "prefix",
                    models.CharField(
                        editable=False, help_text="The first characters, to recognise a key.", max_length=12
                    ),
                ),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "source",
                    models.CharField(
                        default="default",
                        help_text="The namespace of this caller's event ids: two sources may use the same id.",
                        max_length=100,
                    ),
                ),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("events:write", "Events Write"),
                                ("decisions:write", "Decisions Write"),
                                ("costs:read", "Costs Read"),
                                ("controls:write", "Controls Write"),
                                ("admin", "Admin"),
                            ],
                            max_length=30,
                        ),
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "personas",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100),
                        blank=True,
                        default=list,
                        help_text="Bound to these personas, the key sees and writes only them. Empty: all personas.",
                        size=None,
                    ),
                ),
                (
                    "rate_limit",
                    models.PositiveIntegerField(
                        blank=True, help_text="Empty: no limit.", null=True, verbose_name="requests per minute"
                    ),
                ),
                ("next_free_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "verbose_name": "API key",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("source", ""), _negated=True), name="costs_apikey_has_a_source"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("personas", []), models.Q(("source", "default"), _negated=True), _connector="OR"
                        ),
                        name="costs_apikey_bound_has_its_own_source",
                        violation_error_message="A key that is bound to personas needs a source of its own.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("rate_limit", None), ("rate_limit__gt", 0), _connector="OR"),
                        name="costs_apikey_rate_limit_positive",
                    ),
                ],
            },
        )
    ]
