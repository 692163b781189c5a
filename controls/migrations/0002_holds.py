"""What decisions leave behind: holds, refusals, what budgets hold for them; temporary increases of budgets."""

import datetime
from decimal import Decimal

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import costs.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("controls", "0001_budgets"),
    ]

    operations = [
        migrations.CreateModel(
            name="BudgetIncrease",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "amount",
                    costs.models.fields.MoneyField(
                        decimal_places=12, help_text="US dollars beyond the limit.", max_digits=21
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                ("actor", models.CharField(max_length=200)),
                ("starts_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_by", models.CharField(blank=True, default="", max_length=200)),
            ],
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=100)),
                ("persona_id", models.CharField(blank=True, max_length=100, verbose_name="persona")),
                ("post_id", models.CharField(blank=True, max_length=255, verbose_name="post")),
                ("operation", models.CharField(blank=True, max_length=100)),
                ("cost_type", models.CharField(max_length=100)),
                ("provider", models.CharField(blank=True, max_length=100)),
                ("asked_model", models.CharField(max_length=100)),
                ("model", models.CharField(max_length=100)),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                (
                    "amount",
                    costs.models.fields.MoneyField(
                        decimal_places=12,
                        help_text="The estimate in US dollars, at the prices of `model`.",
                        max_digits=21,
                    ),
                ),
                (
                    "asked_amount",
                    costs.models.fields.MoneyField(
                        decimal_places=12, help_text="The same at the prices of `asked_model`.", max_digits=21
                    ),
                ),
                (
                    "budget_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "period_starts",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DateTimeField(), default=list, size=None
                    ),
                ),
                ("observed", models.CharField(blank=True, default="", max_length=10)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("settled", "Settled"),
                            ("unpriced", "Unpriced"),
                            ("released", "Released"),
                            ("expired", "Expired"),
                            ("written off", "Written Off"),
                        ],
                        default="open",
                        max_length=12,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("closed_by", models.CharField(blank=True, default="", help_text="Empty: the engine.", max_length=200)),
                ("event_id", models.CharField(blank=True, default="", max_length=255)),
                ("actual", costs.models.fields.MoneyField(blank=True, decimal_places=12, max_digits=21, null=True)),
                (
                    "asked_actual",
                    costs.models.fields.MoneyField(
                        blank=True,
                        decimal_places=12,
                        help_text="What the event had cost with `asked_model`.",
                        max_digits=21,
                        null=True,
                    ),
                ),
                ("pending", costs.models.fields.MoneyField(decimal_places=12, default=Decimal("0"), max_digits=21)),
                ("overrun", costs.models.fields.MoneyField(decimal_places=12, default=Decimal("0"), max_digits=21)),
            ],
        ),
        migrations.CreateModel(
            name="Refusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.BinaryField(max_length=16)),
                ("persona_id", models.CharField(blank=True, max_length=100, verbose_name="persona")),
                ("post_id", models.CharField(blank=True, max_length=255, verbose_name="post")),
                ("operation", models.CharField(blank=True, max_length=100)),
                ("model", models.CharField(max_length=100)),
                ("decision", models.CharField(choices=[("throttle", "Throttle"), ("deny", "Deny")], max_length=10)),
                ("reason", models.CharField(max_length=20)),
                ("budget_id", models.BigIntegerField(blank=True, null=True)),
                (
                    "amount",
                    costs.models.fields.MoneyField(
                        decimal_places=12, help_text="What the call would have cost, in US dollars.", max_digits=21
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=1)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("admitted_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name="budgetperiod",
            name="held",
            field=costs.models.fields.SumField(db_default=Decimal("0"), decimal_places=12, max_digits=38),
        ),
        migrations.AddField(
            model_name="budgetperiod",
            name="overrun",
            field=costs.models.fields.SumField(db_default=Decimal("0"), decimal_places=12, max_digits=38),
        ),
        migrations.AddField(
            model_name="budgetperiod",
            name="pending",
            field=costs.models.fields.SumField(db_default=Decimal("0"), decimal_places=12, max_digits=38),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("held__gte", 0),
                    ("held__lt", Decimal("10000000000000000000000000")),
                    ("pending__gte", 0),
                    ("pending__lt", Decimal("10000000000000000000000000")),
                    ("overrun__gte", 0),
                    ("overrun__lt", Decimal("10000000000000000000000000")),
                ),
                name="controls_period_holds_bounded",
            ),
        ),
        migrations.AddField(
            model_name="budgetincrease",
            name="budget",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="increases", to="controls.budget"
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(condition=models.Q(("state", "open")), fields=["expires_at"], name="controls_hold_open"),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("pending__gt", 0)), fields=["created_at"], name="controls_hold_pending"
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(
                    models.Q(("model", models.F("asked_model")), _negated=True),
                    models.Q(("observed", ""), _negated=True),
                    _connector="OR",
                ),
                fields=["persona_id", "created_at"],
                name="controls_hold_switched",
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["created_at"], name="controls_hold_by_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0), ("amount__lt", Decimal("1000000000"))),
                name="controls_hold_amount_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(("pending__gte", 0), ("pending__lt", Decimal("1000000000"))),
                name="controls_hold_pending_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at", None), ("state", "open")),
                    models.Q(models.Q(("state", "open"), _negated=True), ("closed_at__isnull", False)),
                    _connector="OR",
                ),
                name="controls_hold_closes_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_at__gt", models.F("created_at")),
                    (
                        "expires_at__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("created_at"), "+", models.Value(datetime.timedelta(days=1))
                        ),
                    ),
                ),
                name="controls_hold_expires",
            ),
        ),
        migrations.AddIndex(
            model_name="refusal",
            index=models.Index(fields=["persona_id", "first_at"], name="controls_refusal_of_persona"),
        ),
        migrations.AddIndex(
            model_name="refusal",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["first_at"], name="controls_refusal_by_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="refusal",
            constraint=models.UniqueConstraint(
                condition=models.Q(("admitted_at", None)), fields=("key",), name="controls_refusal_asked_again"
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetincrease",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0), ("amount__lt", Decimal("1000000000"))),
                name="controls_increase_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetincrease",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("starts_at"))), name="controls_increase_expires"
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetincrease",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("actor", ""), _negated=True), models.Q(("reason", ""), _negated=True)),
                name="controls_increase_is_accounted_for",
            ),
        ),
    ]
