"""Alerts in the admin: incidents with all that was said and not said, and channels that never show their secrets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alerts.admin.channel_fields import settings_of
from alerts.channels import TRANSPORTS
from alerts.channels.base import TransportError
from alerts.deliver import attempt_due
from alerts.models import AlertGroup, Channel, Delivery, Route, Silence, State
from alerts.rendering import page as page_of_alert
from alerts.signal import Severity
from tests.alerts.conftest import Desk, signal
from tests.costs.test_admin import clerk, read

pytestmark = pytest.mark.django_db
CANARY = "canary-of-a-secret"
HOOK = {"url": f"https://hooks.example/{CANARY}", "secret": CANARY}
MODELS = ("alertgroup", "decision", "delivery", "channel", "route", "silence")


def now() -> datetime:
    return datetime.now(UTC)


def list_of(model: str) -> str:
    return reverse(f"admin:alerts_{model}_changelist")


def page(row: Any) -> str:
    return reverse(f"admin:alerts_{row._meta.model_name}_change", args=[row.pk])


def add(client: Client, model: str, **fields: Any) -> Any:
    return client.post(reverse(f"admin:alerts_{model}_add"), fields)


def action(client: Client, name: str, row: Any) -> Any:
    chosen = {"action": name, "index": 0, "_selected_action": [row.pk]}
    return client.post(list_of(row._meta.model_name), chosen, follow=True)


def slack(**settings: Any) -> Channel:
    channel = Channel.objects.get(name="slack")
    channel.settings = settings
    channel.save()
    return channel


def save(client: Client, channel: Channel, **fields: Any) -> Any:
    return client.post(page(channel), {"name": channel.name, "fallback": "", **fields})


def stored(channel: Channel) -> Any:
    channel.refresh_from_db()
    return channel.settings


class TestIncidents:
    def test_the_list_tells_who_took_what(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), signal("two"), at=now())

        text = read(admin_client.get(list_of("alertgroup")))

        assert "cost_spike critical ai_jesus 2 of 2 fire" in text
        assert "nobody open" in text

    @pytest.mark.parametrize(
        ("state", "personas"),
        [("", {"a", "b"}), ("nobody took", {"a"}), ("resolved", {"c"}), ("all", {"a", "b", "c"})],
    )
    def test_the_list_has_the_open_ones_unless_asked_otherwise(
        self, admin_client: Client, desk: Desk, state: str, personas: set[str]
    ) -> None:
        for persona in ("a", "b", "c"):
            desk.hear(signal(persona, persona=persona), at=now())
        desk.end("c", persona="c", at=now())
        AlertGroup.objects.filter(persona_id="b").update(acknowledged_at=now(), acknowledged_by="ann")

        response = admin_client.get(list_of("alertgroup"), {"state": state} if state else {})

        assert {group.persona_id for group in response.context["cl"].result_list} == personas

    def test_a_page_shows_all_that_was_said_and_what_was_not(self, admin_client: Client, desk: Desk) -> None:
        desk.slack.always = TransportError("Slack answered 404 no_service.", permanent=True, channel_broken=True)
        desk.hear(signal(), at=now())
        desk.hear(signal("two"), at=now())

        text = read(admin_client.get(page(AlertGroup.objects.get(rule="cost_spike"))))

        assert "opened slack dead 1 Slack answered 404 no_service." in text
        assert "opened email sent 1 receipt-1" in text
        assert "grouped It belongs to an incident that was said. 1" in text
        assert "Cost spike critical firing current 0.067" in text

    def test_its_address_is_the_one_that_the_api_gives(self, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        group = AlertGroup.objects.get()

        assert page_of_alert("alertgroup", group.pk).endswith(page(group))

    def test_taking_one_is_kept_with_the_name(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        group = AlertGroup.objects.get()

        admin_client.post(reverse("admin:alerts_acknowledge", args=[group.pk]))
        attempt_due(at=now())

        text = read(admin_client.get(page(group)))
        assert "Taken by admin" in text
        assert "Acknowledge" not in text.split("What belongs to it")[0]
        assert desk.pagerduty.events == ["opened", "acknowledged"]
        assert LogEntry.objects.get().change_message == "Acknowledged."

    def test_taking_what_is_over_says_so(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        desk.end(at=now())

        response = admin_client.post(
            reverse("admin:alerts_acknowledge", args=[AlertGroup.objects.get().pk]), follow=True
        )

        assert "It is over, or somebody took it before." in read(response)

    def test_a_link_to_anything_but_the_web_is_no_link(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        group = AlertGroup.objects.get()
        group.alerts.update(url="javascript:alert(1)")

        assert "javascript:alert" not in admin_client.get(page(group)).content.decode()

    def test_the_text_of_a_signal_is_a_strangers(self, admin_client: Client, desk: Desk) -> None:
        evil = "<script>alert(1)</script>"
        desk.hear(signal(persona=evil, title=evil, facts={evil: evil}), at=now())

        for path in (list_of("alertgroup"), list_of("delivery"), page(AlertGroup.objects.get())):
            assert evil not in admin_client.get(path).content.decode()
        for delivery in Delivery.objects.all():
            assert evil not in admin_client.get(page(delivery)).content.decode()

    def test_decisions_not_to_send_are_listed_with_their_reason(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        desk.hear(signal("two"), at=now())

        text = read(admin_client.get(list_of("decision")))

        assert "grouped It belongs to an incident that was said. cost_spike of ai_jesus 1" in text

    @pytest.mark.parametrize("model", ["alertgroup", "delivery", "decision"])
    def test_lists_ask_the_database_no_more_for_fifty_than_for_one(
        self, admin_client: Client, desk: Desk, model: str
    ) -> None:
        desk.hear(signal(), at=now())
        desk.hear(signal("two"), at=now())
        admin_client.get(list_of(model))
        with CaptureQueriesContext(connection) as few:
            admin_client.get(list_of(model))
        desk.hear(*(signal(f"s{n}", persona=f"p{n}") for n in range(20)), at=now())
        desk.hear(*(signal(f"t{n}", persona=f"p{n}") for n in range(20)), at=now())

        with CaptureQueriesContext(connection) as many:
            response = admin_client.get(list_of(model))

        assert len(response.context["cl"].result_list) > 20
        assert len(many) == len(few)


class TestDeliveries:
    def test_a_dead_one_is_replayed(self, admin_client: Client, desk: Desk) -> None:
        desk.slack.failures.append(TransportError("invalid_payload", permanent=True))
        desk.hear(signal(severity=Severity.MEDIUM), at=now())
        dead = Delivery.objects.dead().get()

        before = read(admin_client.get(page(dead)))
        answer = read(action(admin_client, "replay", dead))
        attempt_due(at=now())

        assert "Replay this message" in before
        assert "invalid_payload" in before
        assert "1 tried again within seconds." in answer
        dead.refresh_from_db()
        assert dead.state == State.SENT
        assert "Replay this message" not in read(admin_client.get(page(dead)))

    def test_what_was_sent_is_not_said_again(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), at=now())

        answer = read(action(admin_client, "replay", Delivery.objects.filter(state=State.SENT)[0]))

        assert "Nothing to replay: none of these is dead." in answer

    def test_what_is_over_is_not_begun_again(self, admin_client: Client, desk: Desk) -> None:
        desk.pagerduty.failures.append(TransportError("invalid_payload", permanent=True))
        desk.hear(signal(), at=now())
        desk.end(at=now())
        dead = Delivery.objects.dead().get()

        answer = read(action(admin_client, "replay", dead))

        assert "1 not replayed, not true any more: the incident is over" in answer
        assert Delivery.objects.dead().get() == dead

    def test_a_page_tells_whose_place_it_took(self, admin_client: Client, desk: Desk) -> None:
        desk.slack.failures.append(TransportError("invalid_payload", permanent=True))
        desk.hear(signal(severity=Severity.MEDIUM), at=now())
        stand_in = Delivery.objects.exclude(stands_in_for=None).get()

        assert "opened to slack: dead" in read(admin_client.get(page(stand_in)))


class TestChannels:
    def test_no_page_shows_a_secret(self, admin_client: Client, desk: Desk) -> None:
        hook = Channel.objects.create(name="hook", kind="webhook", settings=HOOK)
        other = Channel.objects.create(name="other", kind="apprise", settings={"url": f"tgram://{CANARY}/chat"})
        slack(url=f"https://hooks.slack.com/services/{CANARY}")
        pager = Channel.objects.get(name="pagerduty")
        pager.settings = {"routing_key": "0" * 20 + "canary000000"}
        pager.save()

        paths = [list_of("channel"), *map(page, (hook, other, pager, Channel.objects.get(name="slack")))]
        shown = "".join(admin_client.get(path).content.decode() for path in paths)

        assert "canary" not in shown
        assert "kept: https://hooks.slack.com/•••" in shown
        assert "kept: https://hooks.example/•••" in shown

    def test_no_answer_repeats_a_secret_that_was_just_sent(self, admin_client: Client, desk: Desk) -> None:
        hook = Channel.objects.create(name="hook", kind="webhook", settings=HOOK)

        response = save(admin_client, hook, setting_url=f"http://{CANARY}.example/new", setting_secret=CANARY)

        assert "The address must begin with https://." in read(response)
        assert CANARY not in response.content.decode()
        assert stored(hook) == HOOK

    def test_an_empty_secret_keeps_the_stored_one(self, admin_client: Client, desk: Desk) -> None:
        hook = Channel.objects.create(name="hook", kind="webhook", settings=HOOK)

        save(admin_client, hook, setting_url="https://other.example/x", setting_secret="")

        assert stored(hook) == {"url": "https://other.example/x", "secret": CANARY}

    def test_a_secret_is_forgotten_when_asked(self, admin_client: Client, desk: Desk) -> None:
        channel = slack(url="https://hooks.slack.com/services/T/B/own")

        save(admin_client, channel, setting_url="", forget_url="on")

        assert stored(channel) == {}
        assert channel.is_configured

    def test_templates_are_checked_and_stored_only_where_they_differ(self, admin_client: Client, desk: Desk) -> None:
        channel = slack()

        wrong = save(admin_client, channel, setting_cost_spike="${persona_id} costs ${secret}")
        save(admin_client, channel, setting_cost_spike="${persona_id}: $${cost:.2f}", setting_channel="#money")

        assert "There is no ${secret} here; there are " in read(wrong)
        assert stored(channel) == {"channel": "#money", "templates": {"cost_spike": "${persona_id}: $${cost:.2f}"}}
        page_now = admin_client.get(page(channel)).content.decode()
        assert "$${cost:.2f}" in page_now

    def test_an_emptied_template_is_the_shipped_one_again(self, admin_client: Client, desk: Desk) -> None:
        channel = slack(templates={"anomaly": "mine"}, channel="#x")

        save(admin_client, channel, setting_anomaly="", setting_channel="")

        assert stored(channel) == {}

    def test_the_form_of_slack_says_what_app_webhooks_ignore(self, admin_client: Client, desk: Desk) -> None:
        text = read(admin_client.get(page(slack())))

        assert "An app's webhook ignores channel, username and icon" in text

    def test_receivers_of_mail_are_one_a_line(self, admin_client: Client) -> None:
        email = Channel.objects.get(name="email")

        wrong = save(admin_client, email, setting_to="a@example.com\nnobody")
        save(admin_client, email, setting_to="a@example.com\n\n b@example.com ")

        assert "nobody is not a mail address." in read(wrong)
        assert stored(email) == {"to": ["a@example.com", "b@example.com"]}

    def test_one_is_made_in_two_steps(self, admin_client: Client, desk: Desk) -> None:
        response = add(admin_client, "channel", name="hook", kind="webhook", fallback="")
        hook = Channel.objects.get(name="hook")

        assert response.headers["Location"] == page(hook)
        text = read(admin_client.get(page(hook)))
        assert "hook has no address or key." in text
        assert "Send a test" not in text

    def test_a_kind_without_a_form_of_its_own_takes_json_and_keeps_it(
        self, admin_client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(TRANSPORTS, "pigeon", desk.slack)
        pigeon = Channel.objects.create(name="pigeon", kind="pigeon", settings={"coop": CANARY})

        shown = admin_client.get(page(pigeon)).content.decode()
        wrong = save(admin_client, pigeon, setting_="[1]")
        save(admin_client, pigeon, setting_="")
        kept = stored(pigeon)
        save(admin_client, pigeon, setting_='{"coop": "north"}')

        assert CANARY not in shown
        assert "This must be a JSON object." in read(wrong)
        assert kept == {"coop": CANARY}
        assert stored(pigeon) == {"coop": "north"}

    def test_a_test_is_sent_and_its_receipt_shown(self, admin_client: Client, desk: Desk) -> None:
        response = admin_client.post(reverse("admin:alerts_channel_test", args=[slack().pk]), follow=True)

        assert "Delivered, receipt receipt-1." in read(response)
        assert desk.slack.events == ["test"]

    def test_a_test_that_fails_says_why(self, admin_client: Client, desk: Desk) -> None:
        desk.slack.always = TransportError("Slack answered 403 action_prohibited.", permanent=True)

        response = admin_client.post(reverse("admin:alerts_channel_test", args=[slack().pk]), follow=True)

        assert "Not delivered: Slack answered 403 action_prohibited." in read(response)

    def test_a_broken_one_says_why_and_is_switched_on_again(self, admin_client: Client, desk: Desk) -> None:
        desk.slack.always = TransportError("Slack answered 404 no_service.", permanent=True, channel_broken=True)
        desk.hear(signal(), at=now())
        channel = Channel.objects.get(name="slack")

        before = read(admin_client.get(page(channel)))
        admin_client.post(reverse("admin:alerts_channel_switch_on", args=[channel.pk]))

        assert "slack is switched off: Slack answered 404 no_service. Since" in before
        channel.refresh_from_db()
        assert (channel.enabled, channel.disabled_reason) == (True, "")
        assert not AlertGroup.objects.open().filter(rule="channel_broken").exists()

    def test_a_person_may_switch_one_off(self, admin_client: Client, desk: Desk) -> None:
        admin_client.post(reverse("admin:alerts_channel_switch_off", args=[slack().pk]))
        desk.hear(signal(severity=Severity.MEDIUM), at=now())

        assert "slack is switched off: by admin" in read(admin_client.get(page(Channel.objects.get(name="slack"))))
        assert desk.slack.events == []
        assert desk.email.events == ["opened"]

    def test_one_that_has_said_something_is_not_deleted(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        used, unused = Channel.objects.get(name="slack"), Channel.objects.create(name="hook", kind="webhook")

        for channel in (used, unused):
            admin_client.post(reverse("admin:alerts_channel_delete", args=[channel.pk]), {"post": "yes"})

        assert set(Channel.objects.values_list("name", flat=True)) == {"slack", "pagerduty", "email"}

    @pytest.mark.parametrize("kind", TRANSPORTS)
    def test_every_kind_has_a_page(self, admin_client: Client, desk: Desk, kind: str) -> None:
        channel = Channel.objects.create(name=f"my {kind}", kind=kind)

        text = read(admin_client.get(page(channel)))

        assert all(setting.label in text for setting in settings_of(kind))


class TestRoutes:
    def test_name_their_channels_and_can_lead_nowhere(self, admin_client: Client, desk: Desk) -> None:
        fields = {"severity": "high", "persona_id": "a", "rule": ""}

        add(admin_client, "route", **fields, channels=["slack", "email"])
        add(admin_client, "route", severity="low", persona_id="a", rule="no_data")

        assert Route.objects.get(persona_id="a", rule="").channels == ["slack", "email"]
        text = read(admin_client.get(list_of("route")))
        assert "high a any slack, email low a no_data nowhere" in text

    def test_that_ship_are_listed_worst_first(self, admin_client: Client, desk: Desk) -> None:
        text = read(admin_client.get(list_of("route")))

        assert "critical any any slack, pagerduty, email high any any slack, pagerduty medium any any slack" in text

    def test_an_unknown_channel_is_refused(self, admin_client: Client, desk: Desk) -> None:
        response = add(admin_client, "route", severity="low", persona_id="a", rule="", channels=["pigeon"])

        assert "Select a valid choice." in read(response)

    def test_a_channel_that_was_deleted_leaves_with_the_next_save(self, admin_client: Client, desk: Desk) -> None:
        route = Route.objects.create(severity="low", persona_id="a", channels=["gone", "slack"])

        read(admin_client.get(page(route)))
        admin_client.post(page(route), {"severity": "low", "persona_id": "a", "rule": "", "channels": ["slack"]})

        route.refresh_from_db()
        assert route.channels == ["slack"]


class TestSilences:
    FIELDS = {"persona_id": "ai_jesus", "rule": "cost_spike", "up_to": "critical", "lasts": "4", "reason": "a launch"}

    def test_one_is_owned_by_whoever_makes_it_and_begins_now(self, admin_client: Client, desk: Desk) -> None:
        add(admin_client, "silence", **self.FIELDS)
        desk.hear(signal(), at=now())

        silence = Silence.objects.get()
        assert silence.owner == "admin"
        assert silence.ends_at - silence.starts_at == timedelta(hours=4)
        assert desk.said == []
        assert "cost_spike ai_jesus critical a launch admin" in read(admin_client.get(list_of("silence")))

    @pytest.mark.parametrize(
        ("field", "value", "sentence"),
        [
            ("reason", "", "This field is required."),
            ("lasts", "9000", "Select a valid choice."),
            ("up_to", "", "This field is required."),
        ],
    )
    def test_a_wrong_one_is_refused(self, admin_client: Client, field: str, value: str, sentence: str) -> None:
        assert sentence in read(add(admin_client, "silence", **self.FIELDS | {field: value}))
        assert not Silence.objects.exists()

    def test_ending_one_says_what_it_held_back(self, admin_client: Client, desk: Desk) -> None:
        add(admin_client, "silence", **self.FIELDS)
        desk.hear(signal(), at=now())

        assert "End now" in read(admin_client.get(page(Silence.objects.get())))
        action(admin_client, "end", Silence.objects.get())
        desk.work(at=now())

        assert ("slack", "opened") in desk.said
        assert "ended by admin" in read(admin_client.get(list_of("silence"), {"state": "over"}))
        assert "End now" not in read(admin_client.get(page(Silence.objects.get())))

    def test_one_is_never_changed_or_deleted(self, admin_client: Client, desk: Desk) -> None:
        add(admin_client, "silence", **self.FIELDS)
        silence = Silence.objects.get()

        assert admin_client.post(page(silence), self.FIELDS | {"lasts": "720"}).status_code == 403
        assert admin_client.post(reverse("admin:alerts_silence_delete", args=[silence.pk])).status_code == 403

    def test_the_form_suggests_names_that_alerts_have_heard(self, admin_client: Client, desk: Desk) -> None:
        desk.hear(signal(), at=now())

        form = admin_client.get(reverse("admin:alerts_silence_add")).content.decode()

        assert '<option value="ai_jesus">' in form
        assert '<option value="cost_spike">' in form


class TestWhoMay:
    def test_others_see_nothing(self, desk: Desk) -> None:
        client = clerk()

        for model in MODELS:
            assert client.get(list_of(model)).status_code == 403

    def test_looking_is_not_acting(self, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        client = clerk("view_alertgroup", "view_delivery", "view_channel", "view_silence", "view_route")
        group, channel = AlertGroup.objects.get(), slack(url=f"https://hooks.slack.com/services/{CANARY}")
        silence = Silence.objects.create(
            starts_at=now(), ends_at=now() + timedelta(hours=1), owner="ann", reason="a launch"
        )

        for row in (group, channel, silence, Route.objects.all()[0], Delivery.objects.all()[0]):
            text = read(client.get(page(row)))
            assert not {"Acknowledge", "Send a test", "End now", "Replay this message"} & set(text.split("  "))
        assert CANARY not in client.get(page(channel)).content.decode()
        assert client.post(reverse("admin:alerts_acknowledge", args=[group.pk])).status_code == 403
        for what in ("test", "switch_on", "switch_off"):
            assert client.post(reverse(f"admin:alerts_channel_{what}", args=[channel.pk])).status_code == 403
        action(client, "end", silence)
        silence.refresh_from_db()
        assert silence.ended_at is None

    @pytest.mark.parametrize("model", ["alertgroup", "delivery", "decision"])
    def test_nobody_writes_what_the_engine_writes(self, admin_client: Client, desk: Desk, model: str) -> None:
        assert admin_client.get(reverse(f"admin:alerts_{model}_add")).status_code == 403

    def test_acting_needs_the_csrf_token_and_a_post(self, admin_user: Any, desk: Desk) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)
        path = reverse("admin:alerts_channel_test", args=[slack().pk])

        assert client.post(path).status_code == 403
        assert client.get(path).status_code == 405
        assert desk.said == []
