"""Months that are in files, and the sums that stay of them."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import costs.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("costs", "0012_scheduled_run"),
    ]

    operations = [
        migrations.CreateModel(
            name="ArchivedPartition",
            fields=[
                (
                    "month",
                    models.DateField(
                        help_text="The first day of the UTC month of booking.", primary_key=True, serialize=False
                    ),
                ),
                (
                    "file",
                    models.CharField(help_text="The name of the Parquet file, wherever it is kept.", max_length=255),
                ),
                ("file_bytes", models.BigIntegerField()),
                ("file_sha256", models.CharField(max_length=64)),
                ("lines", models.BigIntegerField()),
                ("charges", models.BigIntegerField()),
                (
                    "total",
                    costs.models.fields.SumField(
                        decimal_places=12, help_text="US dollars of all its lines.", max_digits=38
                    ),
                ),
                ("first_at", models.DateTimeField(help_text="The earliest timestamp among its lines.", null=True)),
                ("last_at", models.DateTimeField(help_text="The latest timestamp among its lines.", null=True)),
                (
                    "sources",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100), default=list, size=None
                    ),
                ),
                ("archived_at", models.DateTimeField()),
                (
                    "dropped_at",
                    models.DateTimeField(
                        help_text="Empty: its table is still there, apart from the ledger.", null=True
                    ),
                ),
            ],
            options={
                "verbose_name": "archived month",
                "ordering": ["month"],
            },
        ),
        migrations.CreateModel(
            name="ArchivedPost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("post_id", models.CharField(max_length=255)),
                ("persona_id", models.CharField(max_length=100)),
                ("evidence", models.CharField(max_length=20)),
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                ("lines", models.BigIntegerField()),
                ("events", models.BigIntegerField(help_text="Charges.")),
                ("factors", models.BigIntegerField(help_text="How many factors describe the charges, together.")),
                ("high", models.BigIntegerField(help_text="Charges of high confidence.")),
                (
                    "archive",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="posts", to="costs.archivedpartition"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["post_id"], name="costs_archivedpost_post")],
            },
        ),
        migrations.CreateModel(
            name="ArchivedSum",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("counter", models.CharField(help_text="The counter's table.", max_length=40)),
                ("at", models.DateTimeField(null=True)),
                ("post_id", models.CharField(max_length=255)),
                ("persona_id", models.CharField(max_length=100)),
                ("provider", models.CharField(max_length=100)),
                ("cost_type", models.CharField(max_length=100)),
                ("model", models.CharField(max_length=100)),
                ("operation", models.CharField(max_length=100)),
                ("amount", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                ("adjustments", costs.models.fields.SumField(decimal_places=12, max_digits=38)),
                ("events", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("deviating", models.BigIntegerField()),
                (
                    "archive",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="sums", to="costs.archivedpartition"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["counter", "at"], name="costs_archivedsum_at")],
            },
        ),
    ]
