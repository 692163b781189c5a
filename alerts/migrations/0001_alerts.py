"""Alerts: channels and routes, what fires, what is said of it, silences and the reasons for saying nothing."""

import uuid

import django.contrib.postgres.fields
import django.core.serializers.json
import django.db.models.deletion
from django.db import migrations, models

import alerts.models.channels
import alerts.models.choices
import alerts.signal


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Progress",
            fields=[
                ("name", models.CharField(max_length=60, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="AlertGroup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("persona_id", models.CharField(blank=True, max_length=255, verbose_name="persona")),
                ("rule", models.CharField(max_length=100)),
                ("is_current", models.BooleanField(default=True)),
                ("opened_at", models.DateTimeField()),
                ("firing_since", models.DateTimeField(help_text="Later than the opening if it was over in between.")),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "severity",
                    models.CharField(
                        choices=alerts.models.choices.severities,
                        help_text="The worst that fires, or did last.",
                        max_length=10,
                    ),
                ),
                ("firing", models.PositiveIntegerField(default=0, help_text="How many of its alerts fire.")),
                ("total", models.PositiveIntegerField(default=0, help_text="How many alerts belong to it.")),
                (
                    "said_severity",
                    models.CharField(
                        blank=True,
                        choices=alerts.models.choices.severities,
                        help_text="The worst ever said.",
                        max_length=10,
                    ),
                ),
                (
                    "said_at",
                    models.DateTimeField(blank=True, help_text="When it was last said that it fires.", null=True),
                ),
                (
                    "told_from",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Since this message the channels believe that it fires. Empty: they do not.",
                        null=True,
                    ),
                ),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                ("acknowledged_by", models.CharField(blank=True, max_length=150)),
                (
                    "acknowledged_severity",
                    models.CharField(blank=True, choices=alerts.models.choices.severities, max_length=10),
                ),
                (
                    "escalates_at",
                    models.DateTimeField(
                        blank=True, help_text="When everybody is told, if nobody takes it.", null=True
                    ),
                ),
                ("escalated_at", models.DateTimeField(blank=True, null=True)),
                (
                    "due_at",
                    models.DateTimeField(blank=True, help_text="When there may be something to say next.", null=True),
                ),
                ("sequence", models.PositiveIntegerField(default=0, help_text="Counts what was said.")),
            ],
            options={
                "verbose_name": "alert group",
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="alerts_group_due"
                    ),
                    models.Index(
                        condition=models.Q(("resolved_at", None)),
                        fields=["persona_id", "rule"],
                        name="alerts_group_open",
                    ),
                    models.Index(fields=["-opened_at"], name="alerts_group_opened"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_current", True)),
                        fields=("persona_id", "rule"),
                        name="alerts_one_current_group",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("is_current", True), ("resolved_at__isnull", False), _connector="OR"),
                        name="alerts_open_group_is_current",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Channel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60, unique=True)),
                ("kind", models.CharField(choices=alerts.models.channels.kinds, max_length=30)),
                (
                    "settings",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="Addresses and keys; what is missing comes from the environment.",
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("disabled_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("disabled_reason", models.CharField(blank=True, editable=False, max_length=500)),
                (
                    "paused_until",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="Its receiver asked us to wait until then.", null=True
                    ),
                ),
                (
                    "fallback",
                    models.ForeignKey(
                        blank=True,
                        help_text="Says what this channel cannot.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="stands_in_for",
                        to="alerts.channel",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "persona_id",
                    models.CharField(blank=True, help_text="Empty: any.", max_length=255, verbose_name="persona"),
                ),
                ("rule", models.CharField(blank=True, help_text="Empty: any.", max_length=100)),
                ("severity", models.CharField(choices=alerts.models.choices.severities, max_length=10)),
                (
                    "channels",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=60),
                        blank=True,
                        default=list,
                        help_text="Names of channels. Empty: not said.",
                        size=None,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("persona_id", "rule", "severity"), name="alerts_one_route")
                ],
            },
        ),
        migrations.CreateModel(
            name="Silence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "persona_id",
                    models.CharField(blank=True, help_text="Empty: any.", max_length=255, verbose_name="persona"),
                ),
                ("rule", models.CharField(blank=True, help_text="Empty: any.", max_length=100)),
                (
                    "up_to",
                    models.CharField(
                        choices=alerts.models.choices.severities,
                        default=alerts.signal.Severity["CRITICAL"],
                        help_text="What is worse is said all the same.",
                        max_length=10,
                        verbose_name="up to severity",
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("owner", models.CharField(max_length=150)),
                ("reason", models.CharField(max_length=300)),
                ("ended_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("ended_by", models.CharField(blank=True, editable=False, max_length=150)),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("ended_at", None)), fields=["ends_at"], name="alerts_silence_ends")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))),
                        name="alerts_silence_ends_after_start",
                        violation_error_message="A silence must end after it starts.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("owner", ""), _negated=True), models.Q(("reason", ""), _negated=True)
                        ),
                        name="alerts_silence_has_owner_and_reason",
                        violation_error_message="A silence needs an owner and a reason.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(max_length=500, unique=True)),
                ("persona_id", models.CharField(blank=True, max_length=255, verbose_name="persona")),
                ("rule", models.CharField(max_length=100)),
                ("scope", models.JSONField(default=dict)),
                ("severity", models.CharField(choices=alerts.models.choices.severities, max_length=10)),
                ("status", models.CharField(choices=alerts.models.choices.statuses, max_length=12)),
                ("title", models.TextField()),
                ("fact_pairs", models.JSONField(default=list, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ("url", models.TextField(blank=True)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("heard_at", models.DateTimeField(help_text="When the last signal was made.")),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alerts", to="alerts.alertgroup"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["group", "status", "severity"], name="alerts_alert_counts"),
                    models.Index(fields=["persona_id", "-started_at"], name="alerts_alert_persona"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Decision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(choices=alerts.models.choices.reasons, max_length=40)),
                ("sentence", models.TextField()),
                ("count", models.PositiveIntegerField(default=0)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("last_fingerprint", models.CharField(blank=True, max_length=500)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="decisions", to="alerts.alertgroup"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["-last_at"], name="alerts_decision_last")],
                "constraints": [models.UniqueConstraint(fields=("group", "reason"), name="alerts_one_decision")],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "sequence",
                    models.PositiveIntegerField(default=0, help_text="The place among what was said of the group."),
                ),
                ("key", models.CharField(editable=False, max_length=200, null=True, unique=True)),
                ("event", models.CharField(choices=alerts.models.choices.events, max_length=20)),
                ("urgency", models.PositiveSmallIntegerField(default=0)),
                (
                    "stored_notice",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, verbose_name="notice"),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sending", "Sending"),
                            ("sent", "Sent"),
                            ("dead", "Dead"),
                            ("dropped", "Dropped"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("gives_up_at", models.DateTimeField()),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("receipt", models.TextField(blank=True)),
                ("error", models.TextField(blank=True)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="alerts.channel"
                    ),
                ),
                (
                    "digest",
                    models.ForeignKey(
                        blank=True,
                        help_text="Said as a line of this.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="members",
                        to="alerts.delivery",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="alerts.alertgroup",
                    ),
                ),
                (
                    "stands_in_for",
                    models.ForeignKey(
                        blank=True,
                        help_text="Which could not be said.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="stand_ins",
                        to="alerts.delivery",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ("pending", "sending"))),
                        fields=["-urgency", "due_at"],
                        name="alerts_delivery_due",
                    ),
                    models.Index(fields=["channel", "created_at"], name="alerts_delivery_rate"),
                    models.Index(fields=["-created_at"], name="alerts_delivery_created"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("group", "sequence", "channel"), name="alerts_one_delivery"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["pending", "sending", "sent", "dead", "dropped"])),
                        name="alerts_delivery_state",
                    ),
                ],
            },
        ),
    ]
