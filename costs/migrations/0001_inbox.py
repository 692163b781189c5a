"""What was accepted: the keys of all events for ever, the inbox, the dead letters."""

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="EventKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "source", "event_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("source", models.CharField(max_length=100)),
                ("event_id", models.CharField(max_length=255)),
                (
                    "digest",
                    models.BinaryField(
                        help_text="Of what the caller sent: the same id with another body is a conflict."
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="InboxRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(max_length=100)),
                ("payload", models.TextField()),
                ("event_count", models.PositiveIntegerField()),
                (
                    "post_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=255), default=list, size=None
                    ),
                ),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(
                        db_default=0, help_text="Counted before the work, so a crash counts."
                    ),
                ),
                ("errors", models.PositiveSmallIntegerField(db_default=0)),
                ("leased_until", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.TextField(blank=True, db_default="")),
            ],
            options={
                "verbose_name": "inbox row",
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(max_length=100)),
                ("event_id", models.CharField(max_length=255)),
                ("post_id", models.CharField(blank=True, db_index=True, default="", max_length=255)),
                ("persona_id", models.CharField(blank=True, default="", max_length=100)),
                ("payload", models.TextField()),
                ("reason", models.TextField()),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
                ("replayed_at", models.DateTimeField(blank=True, null=True)),
                ("replayed_by", models.CharField(blank=True, default="", max_length=150)),
            ],
            options={
                "verbose_name": "dead letter",
                "indexes": [
                    models.Index(
                        condition=models.Q(("replayed_at", None)), fields=["created_at"], name="costs_deadletter_open"
                    )
                ],
            },
        ),
    ]
