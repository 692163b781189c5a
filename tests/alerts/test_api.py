"""Alerts over HTTP: what was said and not said, taking an incident, silences, channels without their secrets."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts import examples
from alerts.channels.base import TransportError
from alerts.deliver import attempt_due
from alerts.fire import fire
from alerts.models import AlertGroup, Channel, Delivery, Silence, State
from alerts.rendering import mask
from alerts.signal import Severity
from tests.alerts.conftest import Desk, signal
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC)


def group_of(persona: str, **fields: Any) -> AlertGroup:
    fire(signal(f"anomaly-of-{persona}", persona=persona, **fields), at=now())
    return AlertGroup.objects.get(persona_id=persona)


def make_silence(caller: Caller, **fields: Any) -> tuple[int, Any]:
    return caller.post("/silences", {"reason": "a launch", "duration_minutes": 60} | fields)


def ids(answer: tuple[int, Any]) -> list[int]:
    status, content = answer
    assert status == 200, content
    ((_, rows),) = [(name, rows) for name, rows in content.items() if name != "cursor"]
    return [row["id"] for row in rows]


class TestReadingIncidents:
    def test_an_incident_tells_what_was_said_where(self, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        group = AlertGroup.objects.get()

        status, answer = Caller.with_key().get(f"/alerts/{group.pk}")

        assert status == 200
        assert (answer["anomaly_type"], answer["persona_id"], answer["status"]) == ("cost_spike", "ai_jesus", "open")
        assert answer["alerts"][0]["title"] == "Cost spike"
        assert {(each["channel"], each["event"], each["state"]) for each in answer["deliveries"]} == {
            ("slack", "opened", "sent"),
            ("pagerduty", "opened", "sent"),
            ("email", "opened", "sent"),
        }
        assert answer["last_said_at"] is not None

    def test_and_why_something_was_not_said(self, desk: Desk) -> None:
        desk.slack.always = TransportError("no_service", permanent=True, channel_broken=True)
        group_id = group_of("a", severity=Severity.MEDIUM).pk
        desk.hear(signal("another", persona="a", severity=Severity.MEDIUM), at=now())

        _, answer = Caller.with_key().get(f"/alerts/{group_id}")

        assert [each["error"] for each in answer["deliveries"] if each["state"] == "dead"] == ["no_service"]
        assert [(each["reason"], each["count"]) for each in answer["not_said"]] == [("grouped", 1)]

    def test_it_has_exactly_the_documented_fields(self, desk: Desk) -> None:
        desk.hear(signal(), signal("two"), at=now())
        desk.hear(signal("three"), at=now())
        caller = Caller.with_key()

        _, one = caller.get(f"/alerts/{AlertGroup.objects.get().pk}")
        _, many = caller.get("/alerts")

        assert set(one) == set(examples.WHOLE_GROUP)
        assert set(many["alerts"][0]) == set(examples.GROUP)
        for part in ("alerts", "deliveries", "not_said"):
            assert set(one[part][0]) == set(examples.WHOLE_GROUP[part][0])

    def test_filters_narrow(self, desk: Desk) -> None:
        a, b = group_of("a"), group_of("b", rule="no_data", severity=Severity.LOW)
        desk.end("anomaly-of-a", persona="a", at=now())
        caller = Caller.with_key()

        assert ids(caller.get("/alerts")) == [b.pk]
        assert ids(caller.get("/alerts", status="resolved")) == [a.pk]
        assert ids(caller.get("/alerts", status="all")) == [b.pk, a.pk]
        assert ids(caller.get("/alerts", status="all", anomaly_type="cost_spike")) == [a.pk]
        assert ids(caller.get("/alerts", status="all", severity="low", persona_id="b")) == [b.pk]

    def test_pages_hold_each_once(self, desk: Desk) -> None:
        made = [group_of(f"p{number}").pk for number in range(3)]
        caller = Caller.with_key()

        _, first = caller.get("/alerts", limit=2)
        _, second = caller.get("/alerts", limit=2, cursor=first["cursor"])

        assert [row["id"] for row in first["alerts"] + second["alerts"]] == made[::-1]
        assert second["cursor"] is None

    @pytest.mark.parametrize("asked", [{"limit": "0"}, {"since": "today"}, {"order": "x"}, {"persona_id": "a\0"}])
    def test_a_wrong_parameter_is_refused(self, asked: dict[str, str]) -> None:
        status, answer = Caller.with_key().get("/alerts", **asked)

        assert status == 422
        assert answer["detail"].startswith(f"{next(iter(asked))}: ")


class TestABoundKey:
    def test_sees_and_does_only_what_is_of_its_personas(self, desk: Desk) -> None:
        own, others, nobodys = group_of("a"), group_of("b"), group_of("")
        caller = Caller.with_key(personas=["a"])

        assert ids(caller.get("/alerts")) == [own.pk]
        for hidden in (others, nobodys):
            assert caller.get(f"/alerts/{hidden.pk}")[0] == 404
            assert caller.post(f"/alerts/{hidden.pk}/acknowledge", {})[0] == 404
            assert caller.post(f"/deliveries/{hidden.deliveries.all()[0].pk}/replay", {})[0] == 404
        assert AlertGroup.objects.unacknowledged().count() == 3

    def test_silences_only_its_personas(self) -> None:
        caller, other = Caller.with_key(personas=["a"]), Caller.with_key(name="other")
        _, hidden = make_silence(other, persona_id="b")
        make_silence(other)

        assert make_silence(caller, persona_id="b")[0] == 422
        assert make_silence(caller)[0] == 422
        _, own = make_silence(caller, persona_id="a")
        assert ids(caller.get("/silences")) == [own["id"]]
        assert ids(caller.get("/silences", all="true")) == [own["id"]]
        assert caller.get(f"/silences/{hidden['id']}")[0] == 404
        assert caller.call("DELETE", f"/silences/{hidden['id']}")[0] == 404
        assert Silence.objects.filter(ended_at=None).count() == 3

    def test_has_no_part_in_channels(self, desk: Desk) -> None:
        caller = Caller.with_key(personas=["a"])

        assert caller.get("/channels") == (200, {"channels": []})
        assert caller.post("/channels/slack/test", {})[0] == 404
        assert desk.said == []


class TestScopes:
    @pytest.mark.parametrize(
        ("scope", "may"),
        [
            ("costs:read", {"read"}),
            ("controls:write", {"act"}),
            ("admin", {"read", "act", "test"}),
            ("events:write", set()),
        ],
    )
    def test_each_scope_allows_its_own(self, desk: Desk, scope: str, may: set[str]) -> None:
        group, caller = group_of("a"), Caller.with_key(scopes=[scope])
        tried = {
            "read": caller.get("/alerts"),
            "act": caller.post(f"/alerts/{group.pk}/acknowledge", {}),
            "test": caller.post("/channels/slack/test", {}),
        }

        assert {what for what, (status, _) in tried.items() if status == 200} == may
        assert {status for status, _ in tried.values()} <= {200, 403}


class TestAcknowledging:
    def test_says_who_took_it_and_stops_the_pager(self, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        group = AlertGroup.objects.get()

        status, answer = Caller.with_key(name="studio").post(f"/alerts/{group.pk}/acknowledge", {})
        attempt_due(at=now())

        assert status == 200
        assert answer["acknowledgement"]["by"].startswith("key studio (")
        assert desk.pagerduty.events == ["opened", "acknowledged"]

    def test_twice_is_harmless(self, desk: Desk) -> None:
        group = group_of("a")
        Caller.with_key(name="first").post(f"/alerts/{group.pk}/acknowledge", {})

        status, answer = Caller.with_key(name="second").post(f"/alerts/{group.pk}/acknowledge", {})

        assert status == 200
        assert answer["acknowledgement"]["by"].startswith("key first")

    def test_what_is_over_cannot_be_taken(self, desk: Desk) -> None:
        group = group_of("a")
        desk.end("anomaly-of-a", persona="a", at=now())

        assert Caller.with_key().post(f"/alerts/{group.pk}/acknowledge", {})[0] == 409


class TestSilences:
    def test_hold_back_what_they_cover_until_somebody_ends_them(self, desk: Desk) -> None:
        caller = Caller.with_key(name="studio")
        status, made = make_silence(caller, persona_id="ai_jesus", anomaly_type="cost_spike")
        desk.hear(signal(), at=now())
        held_back = desk.said

        _, ended = caller.call("DELETE", f"/silences/{made['id']}")
        desk.work(at=now())

        assert status == 201
        assert set(made) == set(examples.SILENCE)
        assert made["owner"].startswith("key studio (")
        assert (made["in_force"], ended["in_force"]) == (True, False)
        assert held_back == []
        assert ("slack", "opened") in desk.said

    def test_ending_twice_is_harmless_and_it_stays_readable(self) -> None:
        caller = Caller.with_key(name="first")
        _, made = make_silence(caller)
        caller.call("DELETE", f"/silences/{made['id']}")

        status, again = Caller.with_key(name="second").call("DELETE", f"/silences/{made['id']}")

        assert status == 200
        assert again["ended_by"].startswith("key first")
        assert caller.get(f"/silences/{made['id']}")[1] == again
        assert ids(caller.get("/silences")) == []
        assert ids(caller.get("/silences", all="true")) == [made["id"]]

    def test_an_end_may_be_given_instead_of_a_duration(self) -> None:
        ends_at = (now() + 90 * MINUTE).isoformat()

        status, made = make_silence(Caller.with_key(), duration_minutes=None, ends_at=ends_at)

        assert status == 201
        assert datetime.fromisoformat(made["ends_at"]) == datetime.fromisoformat(ends_at)

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"reason": ""}, "reason: Expected `str` of length >= 1"),
            ({"reason": "x" * 301}, "reason: Expected `str` of length <= 300"),
            ({"reason": "a\0"}, "reason: must not contain the NUL character"),
            ({"persona_id": 7}, "persona_id: Expected `str | null`, got `int`"),
            ({"duration_minutes": 0}, "duration_minutes: Expected `int` >= 1"),
            ({"duration_minutes": 366 * 1440 + 1}, "duration_minutes: Expected `int` <= 527040"),
            ({"duration_minutes": None}, "ends_at: is required, or duration_minutes instead of it"),
            ({"ends_at": "2026-11-24T12:00:00Z"}, "ends_at: is required, or duration_minutes instead of it"),
            ({"up_to": "worst"}, "up_to: Invalid enum value 'worst'"),
            ({"until": "noon"}, "until: is no field here"),
        ],
    )
    def test_a_wrong_field_is_refused_with_a_sentence(self, fields: dict[str, Any], sentence: str) -> None:
        status, answer = make_silence(Caller.with_key(), **fields)

        assert (status, answer["detail"]) == (422, sentence)
        assert not Silence.objects.exists()

    @pytest.mark.parametrize(("minutes", "status"), [(-1, 422), (1, 201), (366 * 1440 - 1, 201), (366 * 1440 + 1, 422)])
    def test_the_end_lies_ahead_and_within_a_year(self, minutes: int, status: int) -> None:
        ends_at = (now() + minutes * MINUTE).isoformat()

        assert make_silence(Caller.with_key(), duration_minutes=None, ends_at=ends_at)[0] == status

    def test_a_reason_is_required(self) -> None:
        status, answer = Caller.with_key().post("/silences", {"duration_minutes": 5})

        assert (status, answer["detail"]) == (422, "reason: is required")

    @pytest.mark.parametrize("number", ["0", "9" * 30])
    def test_an_unknown_one_is_not_found(self, number: str) -> None:
        assert Caller.with_key().get(f"/silences/{number}")[0] == 404
        assert Caller.with_key().call("DELETE", f"/silences/{number}")[0] == 404


class TestChannels:
    def test_are_listed_without_their_secrets(self, desk: Desk) -> None:
        Channel.objects.filter(name="email").update(settings={"to": ["a@example.com"], "from": "b@example.com"})
        Channel.objects.create(
            name="hook", kind="webhook", settings={"url": "https://hooks.example/canary", "secret": "canary" * 4}
        )

        status, answer = Caller.with_key().get("/channels")
        shown = {channel["name"]: channel for channel in answer["channels"]}

        assert status == 200
        assert set(shown["slack"]) == set(examples.CHANNEL)
        assert shown["slack"]["settings"] == {"url": "https://hooks.slack.com/•••"}
        assert shown["pagerduty"]["settings"] == {"routing_key": "•••"}
        assert shown["email"]["settings"] == {"to": ["a@example.com"], "from": "b@example.com"}
        assert shown["hook"]["settings"] == {"url": "https://hooks.example/•••", "secret": "•••"}
        for secret in ("canary", "T/B/secret", "0123456789abcdef"):
            assert secret not in json.dumps(answer, default=str)

    @pytest.mark.parametrize(
        ("secret", "shown"),
        [
            ("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/•••"),
            ("https://user:password@host.example/x", "https://host.example/•••"),
            ("tgram://bot-token/chat", "•••"),
            ("https://[broken", "•••"),
            (["a"], "•••"),
        ],
    )
    def test_of_a_secret_at_most_the_host_of_an_https_address_is_shown(self, secret: Any, shown: str) -> None:
        assert mask(secret) == shown

    def test_one_that_cannot_be_used_says_why(self, desk: Desk) -> None:
        Channel.objects.get(name="slack").switch_off("Slack answered 404 no_service.", now())

        _, answer = Caller.with_key().get("/channels")

        slack = next(channel for channel in answer["channels"] if channel["name"] == "slack")
        assert (slack["usable"], slack["why_not"]) == (False, "slack is switched off: Slack answered 404 no_service.")

    def test_a_test_is_sent_at_once_and_answers_with_the_receipt(self, desk: Desk) -> None:
        status, answer = Caller.with_key().post("/channels/slack/test", {})

        assert status == 200
        assert answer == {"channel": "slack", "delivered": True, "receipt": "receipt-1", "error": None}
        assert desk.slack.events == ["test"]

    def test_one_that_fails_says_why(self, desk: Desk) -> None:
        desk.slack.always = TransportError("Slack answered 403 action_prohibited.", permanent=True)

        status, answer = Caller.with_key().post("/channels/slack/test", {})

        assert status == 200
        assert (answer["delivered"], answer["error"]) == (False, "Slack answered 403 action_prohibited.")

    @pytest.mark.parametrize("name", ["nobody", "a%00b"])
    def test_an_unknown_one_is_not_found(self, name: str) -> None:
        assert Caller.with_key().post(f"/channels/{name}/test", {})[0] == 404


class TestReplaying:
    def test_a_dead_delivery_is_tried_again(self, desk: Desk) -> None:
        desk.slack.failures.append(TransportError("invalid_payload", permanent=True))
        desk.hear(signal(severity=Severity.MEDIUM), at=now())
        dead = Delivery.objects.dead().get()

        status, answer = Caller.with_key().post(f"/deliveries/{dead.pk}/replay", {})
        attempt_due(at=now())

        assert status == 200
        assert (answer["state"], answer["attempts"], answer["error"]) == ("pending", 0, None)
        dead.refresh_from_db()
        assert dead.state == State.SENT

    def test_what_was_sent_is_not_said_again(self, desk: Desk) -> None:
        desk.hear(signal(), at=now())
        sent = Delivery.objects.filter(state=State.SENT)[0]

        assert Caller.with_key().post(f"/deliveries/{sent.pk}/replay", {})[0] == 409

    def test_what_is_over_is_not_begun_again(self, desk: Desk) -> None:
        desk.pagerduty.failures.append(TransportError("invalid_payload", permanent=True))
        desk.hear(signal(), at=now())
        desk.end(at=now())
        dead = Delivery.objects.dead().get()

        status, answer = Caller.with_key().post(f"/deliveries/{dead.pk}/replay", {})

        assert status == 409
        assert "its incident is over" in answer["detail"]
        assert Delivery.objects.dead().get() == dead

    @pytest.mark.parametrize("number", ["0", "9" * 30])
    def test_an_unknown_one_is_not_found(self, number: str) -> None:
        assert Caller.with_key().post(f"/deliveries/{number}/replay", {})[0] == 404
