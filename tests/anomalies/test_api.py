"""Anomalies over HTTP: what a caller reads, may do, and must not see."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from alerts.models import AlertGroup
from anomalies import examples, incidents
from anomalies.models import Anomaly, Tolerance
from tests.anomalies.incidents import EVIDENCE, found, look, now, spike_of
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
NO_PERSONA = {"provider": "openai", "model": "gpt-99", "cost_type": "openai_api"}


def listed(caller: Caller, **asked: Any) -> list[int]:
    status, answer = caller.get("/anomalies", **asked)
    assert status == 200, answer
    return [anomaly["id"] for anomaly in answer["anomalies"]]


def end(anomaly: Anomaly) -> None:
    incidents.end([anomaly], reason="calm again", at=now())


class TestReading:
    def test_an_anomaly_tells_what_was_found_and_on_what_evidence(self) -> None:
        anomaly = spike_of("ai_jesus")

        status, answer = Caller.with_key().get(f"/anomalies/{anomaly.pk}")

        assert status == 200
        assert answer["anomaly_type"] == "cost_spike"
        assert (answer["severity"], answer["status"]) == ("critical", "open")
        assert (answer["current"], answer["baseline"], answer["multiplier"]) == (
            Decimal("0.134"),
            Decimal("0.02"),
            Decimal("6.7"),
        )
        assert answer["evidence"] == EVIDENCE
        assert answer["url"].endswith(f"/admin/anomalies/anomaly/{anomaly.pk}/change/")
        assert [(each["change"], each["actor"]) for each in answer["transitions"]] == [("opened", "engine")]

    def test_it_has_exactly_the_documented_fields(self) -> None:
        anomaly = spike_of("ai_jesus")
        caller = Caller.with_key()

        _, one = caller.get(f"/anomalies/{anomaly.pk}")
        _, many = caller.get("/anomalies")

        assert set(one) == set(examples.WHOLE_ANOMALY)
        assert set(many["anomalies"][0]) == set(examples.ANOMALY)

    def test_the_list_has_the_open_ones_newest_first_unless_asked_otherwise(self) -> None:
        first, over, last = (spike_of(persona) for persona in ("a", "b", "c"))
        end(over)
        caller = Caller.with_key()

        assert listed(caller) == [last.pk, first.pk]
        assert listed(caller, status="resolved") == [over.pk]
        assert listed(caller, status="all") == [last.pk, over.pk, first.pk]

    @pytest.mark.parametrize(
        ("asked", "names"),
        [
            ({"persona_id": "a"}, ["a"]),
            ({"persona_id": "A"}, []),
            ({"anomaly_type": "unpriced"}, ["all"]),
            ({"severity": "medium"}, ["b"]),
            ({"severity": "high"}, []),
        ],
    )
    def test_filters_narrow(self, asked: dict[str, str], names: list[str]) -> None:
        rows = {"a": spike_of("a"), "b": spike_of("b", score="3")}
        (rows["all"],) = found(look("1", rule="unpriced", scope=NO_PERSONA, current="1", baseline=None))

        assert listed(Caller.with_key(), **asked) == [rows[name].pk for name in names]

    def test_since_is_the_time_of_opening_and_includes_it(self) -> None:
        anomaly = spike_of("a")
        caller = Caller.with_key()

        assert listed(caller, since=anomaly.opened_at.isoformat()) == [anomaly.pk]
        assert listed(caller, since=(anomaly.opened_at + timedelta(microseconds=1)).isoformat()) == []

    def test_pages_hold_each_anomaly_once(self) -> None:
        made = [spike_of(f"p{number}").pk for number in range(5)]
        caller, seen, cursor = Caller.with_key(), [], None

        for _ in range(3):
            _, answer = caller.get("/anomalies", limit=2, **({"cursor": cursor} if cursor else {}))
            seen += [anomaly["id"] for anomaly in answer["anomalies"]]
            cursor = answer["cursor"]

        assert seen == made[::-1]
        assert cursor is None

    @pytest.mark.parametrize(
        ("asked", "sentence"),
        [
            ({"limit": "0"}, "limit: must be a whole number from 1 to 500"),
            ({"limit": "501"}, "limit: must be a whole number from 1 to 500"),
            ({"limit": "ten"}, "limit: must be a whole number from 1 to 500"),
            ({"cursor": "x"}, "cursor: must be the `cursor` of an earlier answer"),
            ({"status": "closed"}, "status: must be one of open, resolved, all"),
            ({"severity": "worst"}, "severity: must be one of low, medium, high, critical"),
            ({"since": "yesterday"}, "since: must be an RFC 3339 time with an offset, such as 2026-11-24T12:00:00Z"),
            ({"since": "2026-11-24T12:00:00"}, "since: must be an RFC 3339 time with an offset, such as"),
            ({"since": "1999-12-31T23:59:59Z"}, "since: must lie between the years 2000 and 2100"),
            ({"persona_id": ""}, "persona_id: must be a name of 1 to 255 characters"),
            ({"anomaly_type": "spike"}, "anomaly_type: must be one of cost_spike, "),
            ({"type": "x"}, "type: is no parameter; these are: persona_id, anomaly_type"),
        ],
    )
    def test_a_wrong_parameter_is_refused_with_a_sentence(self, asked: dict[str, str], sentence: str) -> None:
        status, answer = Caller.with_key().get("/anomalies", **asked)

        assert status == 422
        assert answer["detail"].startswith(sentence)

    @pytest.mark.parametrize("number", ["0", "99999999", "9" * 30])
    def test_an_unknown_one_is_not_found(self, number: str) -> None:
        assert Caller.with_key().get(f"/anomalies/{number}")[0] == 404


class TestABoundKey:
    def test_sees_only_the_anomalies_of_its_personas(self) -> None:
        own, others = spike_of("a"), spike_of("b")
        (nobodys,) = found(look("1", rule="unpriced", scope=NO_PERSONA, current="1", baseline=None))
        caller = Caller.with_key(personas=["a"])

        assert listed(caller) == [own.pk]
        assert listed(caller, persona_id="b") == []
        for hidden in (others, nobodys):
            assert caller.get(f"/anomalies/{hidden.pk}")[0] == 404
            assert caller.post(f"/anomalies/{hidden.pk}/acknowledge", {})[0] == 404
            assert caller.post(f"/anomalies/{hidden.pk}/false-positive", {})[0] == 404
        assert not Tolerance.objects.exists()


class TestScopes:
    def test_who_reads_costs_may_look_and_not_act(self) -> None:
        anomaly, caller = spike_of("a"), Caller.with_key(scopes=["costs:read"])

        assert caller.get("/anomalies")[0] == 200
        assert caller.post(f"/anomalies/{anomaly.pk}/acknowledge", {})[0] == 403
        assert caller.post(f"/anomalies/{anomaly.pk}/false-positive", {})[0] == 403

    def test_who_acts_need_not_read(self) -> None:
        anomaly, caller = spike_of("a"), Caller.with_key(scopes=["controls:write"])

        assert caller.get("/anomalies")[0] == 403
        assert caller.post(f"/anomalies/{anomaly.pk}/acknowledge", {})[0] == 200

    def test_a_stranger_does_neither(self) -> None:
        assert Caller().get("/anomalies")[0] == 401
        assert Caller().post("/anomalies/1/acknowledge", {})[0] == 401


class TestAcknowledging:
    def test_takes_the_incident_and_keeps_the_note(self) -> None:
        anomaly, caller = spike_of("a"), Caller.with_key(name="studio")

        status, answer = caller.post(f"/anomalies/{anomaly.pk}/acknowledge", {"note": "The new prompt."})

        assert status == 200
        assert answer["acknowledgement"]["by"].startswith("key studio (")
        assert answer["alert_id"] == AlertGroup.objects.get().pk
        assert [each["change"] for each in answer["transitions"]] == ["opened", "acknowledged"]
        assert answer["transitions"][1]["reason"] == "The new prompt."
        assert AlertGroup.objects.unacknowledged().count() == 0

    def test_needs_no_body(self) -> None:
        anomaly = spike_of("a")

        assert Caller.with_key().call("POST", f"/anomalies/{anomaly.pk}/acknowledge")[0] == 200

    def test_twice_is_harmless_and_the_first_stays(self) -> None:
        anomaly = spike_of("a")
        Caller.with_key(name="first").post(f"/anomalies/{anomaly.pk}/acknowledge", {})

        status, answer = Caller.with_key(name="second").post(f"/anomalies/{anomaly.pk}/acknowledge", {})

        assert status == 200
        assert answer["acknowledgement"]["by"].startswith("key first")
        assert len(answer["transitions"]) == 2

    def test_what_is_over_cannot_be_taken(self) -> None:
        anomaly = spike_of("a")
        end(anomaly)

        status, answer = Caller.with_key().post(f"/anomalies/{anomaly.pk}/acknowledge", {})

        assert (status, answer["detail"]) == (409, "This is over: there is nothing to take.")

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"note": "x" * 300}, 200),
            ({"note": "x" * 301}, 422),
            ({"note": 1}, 422),
            ({"note": "a\0b"}, 422),
            ({"notes": "x"}, 422),
            ([], 422),
            (b"{", 400),
        ],
    )
    def test_the_note_is_a_short_text(self, body: object, status: int) -> None:
        anomaly = spike_of("a")

        assert Caller.with_key().post(f"/anomalies/{anomaly.pk}/acknowledge", body)[0] == status

    def test_a_body_that_is_no_json_is_refused(self) -> None:
        anomaly = spike_of("a")

        assert Caller.with_key().post(f"/anomalies/{anomaly.pk}/acknowledge", b"note=x", "text/plain")[0] == 415


class TestCallingItAFalseAlarm:
    def test_ends_it_and_tolerates_as_much(self) -> None:
        anomaly = spike_of("a", score="6.7")

        status, answer = Caller.with_key(name="studio").post(f"/anomalies/{anomaly.pk}/false-positive", {})

        assert status == 200
        assert (answer["status"], answer["resolution"]) == ("resolved", "marked as a false positive")
        assert answer["false_positive_by"].startswith("key studio")
        assert answer["tolerance"]["up_to"] == Decimal("6.7")
        assert found(look("7.3", scope=anomaly.scope)) == []
        assert len(found(look("7.4", scope=anomaly.scope))) == 1

    def test_what_no_rule_found_has_nothing_to_tolerate(self) -> None:
        at = now()
        anomaly = Anomaly.objects.create(
            rule="emergency_override", scope_key="", scope={}, severity="critical", current=0, score=0, opened_at=at,
            last_seen_at=at,
        )  # fmt: skip

        assert Caller.with_key().post(f"/anomalies/{anomaly.pk}/false-positive", {})[0] == 409
