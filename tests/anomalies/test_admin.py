"""Detection in the admin: what a person reads of an anomaly, what they may do about it, and who may."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alerts.models import AlertGroup, Silence
from anomalies import incidents
from anomalies.admin import told
from anomalies.detectors import DETECTORS
from anomalies.models import Anomaly, RulePolicy, Tolerance
from anomalies.wording import page as page_of_alerts
from tests.anomalies.incidents import EVIDENCE, SPIKE, found, look, now, spike_of
from tests.costs.test_admin import clerk, read

pytestmark = pytest.mark.django_db
LIST = reverse("admin:anomalies_anomaly_changelist")
POLICIES, NEW_POLICY = reverse("admin:anomalies_rulepolicy_changelist"), reverse("admin:anomalies_rulepolicy_add")
TOLERANCES = reverse("admin:anomalies_tolerance_changelist")
LEVELS = {"low": "", "medium": "", "high": "", "critical": "", "minimum_amount": ""}
BUDGET = {"persona_id": "stoic", "budget_id": "7"}
ONE_OF_EACH: dict[str, tuple[dict[str, Any], str]] = {
    "cost_spike": ({}, "A post of ai_jesus costs $0.134, 6.7 times its baseline of $0.02."),
    "efficiency_drop": (
        {"score": "60", "scope": {"persona_id": "a", "outcome": "follow"}, "current": "8", "baseline": "20"},
        "A dollar of a brings 8 follows, 60 % less than the usual 20.",
    ),
    "negative_roi": (
        {"score": "-60", "scope": {"persona_id": "a"}, "current": "-60", "baseline": None, "multiplier": "0.4"},
        "What a earns leaves a return of -60 % of what it costs.",
    ),
    "budget_overrun": (
        {"score": "85", "scope": BUDGET, "current": "85", "baseline": "100", "evidence": {"budget": "a month"}},
        "The budget a month has used $85 of $100: 85 %.",
    ),
    "cost_threshold": (
        {"score": "0.06", "scope": {"persona_id": "a", "post_id": "p"}, "current": "0.06", "baseline": "0.04"},
        "The post p of a costs $0.06, and the threshold is $0.04.",
    ),
    "learned": (
        {"score": "0.99", "scope": {"persona_id": "a", "grain": "hour"}, "current": "3", "baseline": "1"},
        "a spent $3 in an hour, where $1 was expected.",
    ),
    "unpriced": (
        {"score": "12", "scope": {"model": "gpt-99", "cost_type": "openai_api"}, "current": "12", "baseline": None},
        "12 lines of gpt-99 have no price: their cost is unknown, not zero.",
    ),
    "no_data": (
        {"score": "2", "scope": {"persona_id": "a"}, "current": "0", "baseline": "0.98"},
        "a has had no costs lately; before, 98 % of its hours had some.",
    ),
    "forecast": (
        {
            "score": "120",
            "scope": BUDGET,
            "current": "120",
            "baseline": "100",
            "evidence": {"budget": "a month", "exceeded_at": "2026-11-28T06:00:00Z"},
        },
        "The budget a month is expected to end its period at $120 of $100."
        " It would be used up on 2026-11-28 at 06:00 UTC.",
    ),
    "burn_rate": (
        {"score": "14.4", "scope": BUDGET, "current": "14.4", "baseline": "1", "evidence": {"budget": "a month"}},
        "The budget a month burns 14.4 times as fast as its period allows.",
    ),
    "dead_letters": (
        {"score": "2", "scope": {"source": "studio"}, "current": "2", "baseline": None},
        "2 events were accepted and could not be booked: the ledger lacks them.",
    ),
    "ledger_drift": (
        {"score": "1", "scope": {"table": "posts"}, "current": "11", "baseline": "10"},
        "The counters hold $11, and the lines of the ledger add up to $10.",
    ),
}


def page(anomaly: Anomaly) -> str:
    return reverse("admin:anomalies_anomaly_change", args=[anomaly.pk])


def act(client: Client, anomaly: Anomaly, what: str, **fields: str) -> Any:
    return client.post(reverse(f"admin:anomalies_{what}", args=[anomaly.pk]), fields)


def one(rule: str, **fields: Any) -> Anomaly:
    (anomaly,) = found(look(rule=rule, **{**ONE_OF_EACH[rule][0], **fields}))
    return anomaly


class TestTheList:
    def test_shows_numbers_with_their_unit(self, admin_client: Client) -> None:
        spike_of("ai_jesus")

        assert "Cost spike critical ai_jesus cost per post $0.134 $0.02 6.7x" in read(admin_client.get(LIST))

    def test_shows_one_of_every_rule(self, admin_client: Client) -> None:
        for rule in DETECTORS:
            one(rule)

        text = read(admin_client.get(LIST))

        assert f"{len(DETECTORS)} anomalies" in text
        assert "Budget burns too fast high stoic a month 14.4x 1x 14.4x" in text
        assert "Negative return critical a all of it -60 % none 0.4x" in text

    @pytest.mark.parametrize(("state", "personas"), [("", ["a"]), ("resolved", ["b"]), ("all", ["b", "a"])])
    def test_has_the_open_ones_unless_asked_otherwise(
        self, admin_client: Client, state: str, personas: list[str]
    ) -> None:
        spike_of("a")
        incidents.end([spike_of("b")], reason="calm again", at=now())

        response = admin_client.get(LIST, {"state": state} if state else {})

        assert [anomaly.persona_id for anomaly in response.context["cl"].result_list] == personas

    def test_asks_the_database_no_more_for_fifty_than_for_one(self, admin_client: Client) -> None:
        spike_of("a")
        admin_client.get(LIST)
        with CaptureQueriesContext(connection) as few:
            admin_client.get(LIST)
        found(*(look(scope={**SPIKE, "persona_id": f"p{number}"}) for number in range(60)))

        with CaptureQueriesContext(connection) as many:
            response = admin_client.get(LIST)

        assert len(response.context["cl"].result_list) == 50
        assert len(many) == len(few)


class TestThePage:
    def test_is_where_alerts_lead_to(self) -> None:
        anomaly = spike_of("a")

        assert page_of_alerts(anomaly).endswith(page(anomaly))

    @pytest.mark.parametrize("rule", ONE_OF_EACH)
    def test_says_in_one_sentence_what_happened(self, admin_client: Client, rule: str) -> None:
        text = read(admin_client.get(page(one(rule))))

        assert ONE_OF_EACH[rule][1] in text

    @pytest.mark.parametrize(
        ("rule", "scope", "sentence"),
        [
            (
                "cost_spike",
                {"reading": "spend_rate"},
                "a spent $0.134 in five minutes, 6.7 times its baseline of $0.02.",
            ),
            ("cost_threshold", {"reading": "cost_per_follow"}, "A follow costs a $0.06, and its target is $0.04."),
            ("learned", {"grain": "five minutes"}, "a spent $3 in five minutes, where $1 was expected."),
        ],
    )
    def test_knows_what_else_a_rule_looks_at(self, rule: str, scope: dict[str, str], sentence: str) -> None:
        anomaly = one(rule, scope={"persona_id": "a", **scope}, evidence={})

        assert told.sentence(anomaly, anomaly.current).startswith(sentence)

    def test_a_rule_that_has_no_words_yet_is_told_in_general_ones(self) -> None:
        anomaly = Anomaly(rule="new_rule", persona_id="a", scope={}, current=Decimal(1))

        assert told.sentence(anomaly, anomaly.current) == "New rule: a."
        assert told.tolerated("new_rule", Decimal(2)) == "2.2"

    def test_shows_what_drove_it_and_leads_to_post_and_line(self, admin_client: Client) -> None:
        response = admin_client.get(page(spike_of("a")))

        text = read(response)
        assert "Most of it: gpt-4o, hook: 92.4 % of it." in text
        assert "gpt-4o hook $0.62 92.4 % 9" in text
        assert 'href="/admin/costs/costevent/post/?id=post_009"' in response.content.decode()
        assert 'href="/admin/costs/costevent/?q=call-9"' in response.content.decode()

    def test_tells_of_its_worst_moment_when_it_has_calmed_since(self, admin_client: Client) -> None:
        anomaly = spike_of("a")
        found(look("1.1", scope=anomaly.scope, current="0.022"))

        text = read(admin_client.get(page(anomaly)))

        assert "A post of a costs $0.134, 6.7 times its baseline of $0.02." in text
        assert "Cost per post, at its worst $0.134 $0.022 at the last look" in text

    def test_shows_its_history_and_what_was_said(self, admin_client: Client) -> None:
        anomaly = spike_of("a", score="3")
        found(look("6", scope=anomaly.scope, current="0.12"))

        text = read(admin_client.get(page(anomaly)))

        assert re.search(r"opened medium \$0.134 engine .* escalated critical \$0.12 engine", text)
        assert "not configured" in text

    def test_evidence_is_a_strangers_text(self, admin_client: Client) -> None:
        evil = "<script>alert(1)</script>"
        event = {"event_id": evil, "post_id": evil, "model": evil, "operation": evil, "amount": "1"}
        evidence: Mapping[str, Any] = {"driven_by": evil, "events": [event], "note": {evil: evil}}

        response = admin_client.get(page(spike_of(evil, evidence=evidence)))

        assert evil not in response.content.decode()

    @pytest.mark.parametrize("number", ["0", "99999999", "9" * 30, "x"])
    def test_of_an_unknown_one_is_not_there(self, admin_client: Client, number: str) -> None:
        assert admin_client.get(f"{LIST}{number}/change/").status_code == 404


class TestTakingIt:
    def test_is_kept_with_the_name_and_the_note(self, admin_client: Client) -> None:
        anomaly = spike_of("a")

        act(admin_client, anomaly, "acknowledge", note="The new prompt.")

        assert AlertGroup.objects.get().acknowledged_by == "admin"
        text = read(admin_client.get(page(anomaly)))
        assert "Taken by admin" in text
        assert "acknowledged The new prompt. critical $0.134 admin" in text
        assert LogEntry.objects.get().change_message == "Acknowledged."

    def test_what_is_over_is_not_taken(self, admin_client: Client) -> None:
        anomaly = spike_of("a")
        incidents.end([anomaly], reason="calm again", at=now())

        act(admin_client, anomaly, "acknowledge")

        assert "This is over: there is nothing to take." in read(admin_client.get(page(anomaly)))
        assert not LogEntry.objects.exists()


class TestAFalseAlarm:
    def test_says_first_what_will_be_tolerated(self, admin_client: Client) -> None:
        anomaly = spike_of("a")

        text = read(admin_client.get(reverse("admin:anomalies_false_positive", args=[anomaly.pk])))

        assert f"until {now() + timedelta(days=30):%Y-%m-%d}" in text
        assert "up to 7.37 times its baseline is taken as normal for cost_spike of a" in text
        assert not Tolerance.objects.exists()

    def test_ends_the_anomaly_and_tolerates_as_much(self, admin_client: Client) -> None:
        anomaly = spike_of("a")

        act(admin_client, anomaly, "false_positive")

        text = read(admin_client.get(page(anomaly)))
        assert "false alarm by admin" in text
        assert "admin called this a false alarm: up to 7.37 times its baseline is normal until" in text
        assert Tolerance.objects.get().created_by == "admin"

    @pytest.mark.parametrize(
        ("rule", "words"),
        [
            ("cost_spike", "7.37 times its baseline"),
            ("efficiency_drop", "a drop of 66 %"),
            ("negative_roi", "a return of -66 %"),
            ("budget_overrun", "93.5 % of the limit"),
            ("cost_threshold", "a cost of $0.066"),
            ("unpriced", "13.2 lines without a price"),
            ("no_data", "2.2 hours of silence"),
            ("forecast", "132 % of the limit"),
            ("burn_rate", "15.84 times an even rate"),
            ("dead_letters", "2.2 dead letters"),
            ("ledger_drift", "a difference of $1.1"),
        ],
    )
    def test_is_told_as_each_rule_measures(self, admin_client: Client, rule: str, words: str) -> None:
        anomaly = one(rule)

        assert words in read(admin_client.get(reverse("admin:anomalies_false_positive", args=[anomaly.pk])))

    def test_can_be_taken_back(self, admin_client: Client) -> None:
        anomaly = spike_of("a")
        act(admin_client, anomaly, "false_positive")
        tolerance = Tolerance.objects.get()

        text = read(admin_client.get(TOLERANCES))
        admin_client.post(reverse("admin:anomalies_tolerance_delete", args=[tolerance.pk]), {"post": "yes"})

        assert f"Cost spike a 7.37 times its baseline {tolerance.until:%Y-%m-%d %H:%M:%S} admin" in text
        assert len(found(look(scope=anomaly.scope))) == 1

    def test_of_what_no_rule_found_does_not_exist(self, admin_client: Client) -> None:
        at, scope = now(), {"persona_id": "a"}
        row = {
            "scope": scope,
            "persona_id": "a",
            "current": Decimal(1),
            "score": 0,
            "opened_at": at,
            "last_seen_at": at,
        }
        anomaly = Anomaly.objects.create(rule="emergency_override", scope_key="x", severity="critical", **row)

        assert "False alarm" not in read(admin_client.get(page(anomaly)))
        assert act(admin_client, anomaly, "false_positive").status_code == 404


class TestSilencingIt:
    @pytest.mark.parametrize(("hours", "lasts"), [("1", 1), ("24", 24)])
    def test_holds_its_persona_and_type_back(self, admin_client: Client, hours: str, lasts: int) -> None:
        anomaly = spike_of("a")

        act(admin_client, anomaly, "silence", hours=hours)

        silence = Silence.objects.get()
        assert (silence.persona_id, silence.rule, silence.owner) == ("a", "cost_spike", "admin")
        assert silence.ends_at - silence.starts_at == timedelta(hours=lasts)

    @pytest.mark.parametrize("hours", ["", "2", "-1"])
    def test_has_two_lengths(self, admin_client: Client, hours: str) -> None:
        assert act(admin_client, spike_of("a"), "silence", hours=hours).status_code == 404


class TestWhoMay:
    def test_looking_is_not_acting(self) -> None:
        anomaly, client = spike_of("a"), clerk("view_anomaly")

        text = read(client.get(page(anomaly)))

        assert "What to do" not in text
        for what in ("acknowledge", "false_positive", "silence"):
            assert act(client, anomaly, what, hours="1").status_code == 403
        assert client.get(reverse("admin:anomalies_false_positive", args=[anomaly.pk])).status_code == 403

    def test_judging_is_not_silencing(self) -> None:
        anomaly, client = spike_of("a"), clerk("view_anomaly", "change_anomaly")

        text = read(client.get(page(anomaly)))

        assert "Acknowledge" in text
        assert "Silence for" not in text
        assert act(client, anomaly, "silence", hours="1").status_code == 403
        assert act(client, anomaly, "acknowledge").status_code == 302

    def test_others_see_nothing(self) -> None:
        anomaly, client = spike_of("a"), clerk()

        for path in (LIST, page(anomaly), POLICIES, NEW_POLICY, TOLERANCES):
            assert client.get(path).status_code == 403

    def test_nobody_edits_or_deletes_what_was_found(self, admin_client: Client) -> None:
        anomaly = spike_of("a")

        assert admin_client.post(page(anomaly), {"severity": "low"}).status_code == 403
        assert admin_client.post(reverse("admin:anomalies_anomaly_delete", args=[anomaly.pk])).status_code == 403
        assert admin_client.get(reverse("admin:anomalies_anomaly_add")).status_code == 403

    def test_acting_needs_the_csrf_token_and_a_post(self, admin_user: Any) -> None:
        anomaly = spike_of("a")
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)

        for what in ("acknowledge", "silence", "false_positive"):
            assert act(client, anomaly, what, hours="1").status_code == 403
        assert client.get(reverse("admin:anomalies_acknowledge", args=[anomaly.pk])).status_code == 405


class TestPolicies:
    def test_the_form_shows_the_shipped_levels_beside_it(self, admin_client: Client) -> None:
        text = read(admin_client.get(NEW_POLICY))

        assert "cost_spike never 3 3.5 5 times the baseline $0.05" in text
        assert "negative_roi never -50 never -55 per cent of the cost, falling $0.05" in text

    def test_one_is_made_for_a_persona_and_shown_as_written(self, admin_client: Client) -> None:
        fields = LEVELS | {"rule": "cost_spike", "persona_id": "a", "enabled": "on", "medium": "4", "high": "4.5"}

        admin_client.post(NEW_POLICY, fields)

        policy = RulePolicy.objects.get()
        assert "cost_spike a medium 4, high 4.5 as shipped looks" in read(admin_client.get(POLICIES))
        page = admin_client.get(reverse("admin:anomalies_rulepolicy_change", args=[policy.pk])).content.decode()
        assert 'value="4.5"' in page

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"medium": "5", "high": "4"}, "The levels must get higher with the severity."),
            ({"rule": "negative_roi", "medium": "-60", "high": "-50"}, "The levels must get lower with the severity."),
            ({"minimum_amount": "-1"}, "Must not be negative."),
            ({"rule": "emergency_override"}, "Select a valid choice."),
            ({"rule": ""}, "This field is required."),
            ({"medium": "NaN"}, "Enter a number."),
        ],
    )
    def test_a_wrong_one_is_refused(self, admin_client: Client, fields: dict[str, str], sentence: str) -> None:
        response = admin_client.post(NEW_POLICY, LEVELS | {"rule": "cost_spike", "persona_id": ""} | fields)

        assert sentence in read(response)
        assert not RulePolicy.objects.exists()

    def test_a_second_one_for_the_same_persona_and_rule_is_refused(self, admin_client: Client) -> None:
        RulePolicy.objects.create(rule="cost_spike", persona_id="a")

        read(admin_client.post(NEW_POLICY, LEVELS | {"rule": "cost_spike", "persona_id": "a"}))

        assert RulePolicy.objects.count() == 1


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("0", "$0"),
        ("0.02", "$0.02"),
        ("0.020123456789", "$0.02012"),
        ("0.00000045", "$0.00000045"),
        ("0.000000000001", "$0.000000000001"),
        ("3.354", "$3.354"),
        ("3.35449", "$3.354"),
        ("1234567.891", "$1,234,568"),
        ("-0.5", "-$0.5"),
    ],
)
def test_amounts_are_rounded_to_four_digits_that_count(value: str, printed: str) -> None:
    assert told.dollars(Decimal(value)) == printed


def test_the_evidence_of_the_tests_is_that_of_detection() -> None:
    assert set(EVIDENCE) >= {"window", "driven_by", "contributors", "events"}
