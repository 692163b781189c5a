"""From booked costs to stored anomalies and signals: at once, by the sweep, and on demand."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from alerts.models import Alert
from alerts.signal import Severity
from anomalies import detect, incidents
from anomalies.lifecycle import Change
from anomalies.models import Anomaly, RulePolicy, Tolerance, Touch, Transition
from costs.engine import EngineConfig, ViralFinOpsEngine
from tests.anomalies.conftest import NOON, Ledger, Posts, minutes
from tests.costs.conftest import amount_event, usage_event


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


def found(rule: str) -> Anomaly:
    return Anomaly.objects.get(rule=rule)


def changes(anomaly: Anomaly) -> list[str]:
    return list(anomaly.transitions.values_list("change", flat=True))


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


class TestAtOnce:
    def test_a_spike_opens_one_anomaly_with_its_evidence(self, posts: Posts) -> None:
        posts.write_history("0.02")
        posts.write("0.067", model="gpt-4o", operation="draft")

        detect.check_touched(NOON)

        spike = found("cost_spike")
        assert (spike.persona_id, spike.severity) == ("ai_jesus", Severity.MEDIUM)
        assert (spike.current, spike.baseline, spike.multiplier) == (
            Decimal("0.067"),
            Decimal("0.02"),
            Decimal("3.35"),
        )
        assert spike.evidence["driven_by"] == "gpt-4o, draft: 100 % of it"
        assert spike.evidence["events"][0]["amount"] == "0.067"
        assert spike.evidence["baseline_source"] == "median"
        assert changes(spike) == [Change.OPENED]

    def test_a_second_look_changes_nothing(self, posts: Posts) -> None:
        posts.write("0.067")

        detect.check_touched(NOON)
        posts.write("0.067")
        detect.check_touched(NOON + seconds(1))

        assert Anomaly.objects.filter(rule="cost_spike").count() == 1
        assert changes(found("cost_spike")) == [Change.OPENED]

    def test_what_was_touched_is_looked_at_once(self, posts: Posts) -> None:
        posts.write("0.02")

        assert (detect.check_touched(NOON), detect.check_touched(NOON)) == (1, 0)
        assert not Touch.objects.exists()

    def test_what_is_booked_during_a_look_is_looked_at_by_it(
        self, posts: Posts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        posts.write("0.02")
        looked = detect._look_at_spending

        def and_more_comes(*spending: Any) -> None:
            looked(*spending)
            posts.write("0.50")

        monkeypatch.setattr(detect, "FEW_POSTS", 0)
        monkeypatch.setattr(detect, "_look_at_spending", and_more_comes)
        detect.check_touched(NOON)

        assert Anomaly.objects.filter(rule="cost_spike").exists()
        assert not Touch.objects.exists()

    def test_it_escalates_when_it_gets_worse_and_keeps_the_worst(self, posts: Posts) -> None:
        posts.write("0.067")
        detect.check_touched(NOON)

        posts.write("0.50")
        detect.check_touched(NOON + seconds(5))
        posts.write(*["0.06"] * 9)
        detect.check_touched(NOON + seconds(10))

        assert found("cost_spike").severity == Severity.CRITICAL
        assert changes(found("cost_spike")) == [Change.OPENED, Change.ESCALATED]

    def test_a_dear_post_is_found_by_itself(self, posts: Posts) -> None:
        cheap = posts.write(*["0.01"] * 9)
        (dear,) = posts.write("0.05")

        detect.check_touched(NOON)

        threshold = found("cost_threshold")
        assert (threshold.post_id, threshold.current, threshold.baseline) == (dear, Decimal("0.05"), Decimal("0.04"))
        assert not Anomaly.objects.filter(post_id__in=cheap).exists()

    def test_imported_history_wakes_nobody(self, posts: Posts) -> None:
        posts.ledger.record(
            [
                amount_event("9", event_id=f"old-{day}", persona_id="p", post_id=f"old-{day}",
                             timestamp=(NOON - timedelta(days=day)).isoformat())
                for day in range(2, 9)
            ],
            at=NOON,
        )  # fmt: skip

        detect.check_touched(NOON)
        detect.sweep(NOON)

        assert not Anomaly.objects.exists()

    def test_what_waited_while_everything_stood_still_is_looked_at_as_of_its_own_time(self, posts: Posts) -> None:
        posts.write("0.50", at=NOON - timedelta(hours=2))

        detect.check_touched(NOON)

        assert found("cost_spike").current == Decimal("0.50")

    def test_new_and_idle_personas_never_fire_on_nothing(self, posts: Posts) -> None:
        posts.write("0.0001", "0.001", "0.02")
        posts.ledger.record([amount_event("0", event_id="zero", persona_id="zero", post_id="zero")], at=NOON)

        detect.check_touched(NOON)
        detect.sweep(NOON + minutes(60))

        assert not Anomaly.objects.exists()

    def test_ten_thousand_dear_posts_are_ten_thousand_anomalies_in_few_statements(self, posts: Posts) -> None:
        posts.write(*["0.05"] * 2_000)

        with CaptureQueriesContext(
            connection,
        ) as queries:
            detect.check_touched(NOON)

        assert Anomaly.objects.filter(rule="cost_threshold").count() == 2_000
        assert len(queries) < 100


class TestAwkwardCases:
    def test_a_post_that_several_pay_for_is_dear_as_a_whole(self, ledger: Ledger) -> None:
        shared = {"post_id": "shared", "timestamp": NOON.isoformat()}
        ledger.record(
            [
                amount_event("0.03", event_id="own", persona_id="ai_jesus", **shared),
                amount_event("0.03", event_id="nobody's", **shared),
            ],
            at=NOON,
        )

        detect.check_touched(NOON)

        assert (found("cost_threshold").persona_id, found("cost_threshold").current) == ("ai_jesus", Decimal("0.06"))

    def test_one_more_small_line_of_a_dear_post_is_no_new_incident(self, posts: Posts) -> None:
        (dear,) = posts.write("0.05")
        detect.check_touched(NOON)
        detect.sweep(NOON + minutes(16))

        for hour in (1, 2):
            at = NOON + timedelta(hours=hour)
            line = amount_event("0.0001", post_id=dear, persona_id="ai_jesus", timestamp=at.isoformat())
            posts.ledger.record([line], at=at)
            detect.check_touched(at)

        assert Anomaly.objects.filter(rule="cost_threshold").count() == 1

    def test_usual_bursts_are_no_spikes(self, posts: Posts) -> None:
        for hour in range(1, 100):
            burst = NOON - timedelta(hours=hour)
            posts.write(*["0.02"] * 30, at=burst)
            posts.write("0.02", at=burst + minutes(30))
        posts.write(*["0.02"] * 30)

        detect.check_touched(NOON)

        assert not Anomaly.objects.filter(rule="cost_spike").exists()

    def test_a_look_that_began_earlier_and_stores_later_is_told_all_the_same(self, posts: Posts) -> None:
        posts.write("0.067")
        detect.check_touched(NOON + seconds(5))

        posts.write("0.50")
        detect.check_touched(NOON)

        assert Alert.objects.get(rule="cost_spike").severity == Severity.CRITICAL

    def test_a_rule_that_is_switched_off_ends_what_it_found(self, ledger: Ledger) -> None:
        odd = usage_event(event_id="odd", persona_id="p", model="no-such-model", timestamp=NOON.isoformat())
        ledger.record([odd], at=NOON)
        detect.check_touched(NOON)

        RulePolicy.objects.create(rule="unpriced", enabled=False)
        detect.sweep(NOON + minutes(1))

        assert not found("unpriced").is_open

    def test_a_note_that_cannot_be_looked_at_keeps_no_other_waiting(
        self, posts: Posts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        poison = Touch.objects.create(at=NOON, newest=NOON, personas=[], posts=["poison"])
        posts.write("0.05")
        look = detect._look_at

        def stumbles(touched: detect.Touched, at: datetime) -> None:
            if "poison" in touched.posts:
                raise ValueError("poison")
            look(touched, at)

        monkeypatch.setattr(detect, "_look_at", stumbles)
        detect.check_touched(NOON)

        assert not Touch.objects.filter(pk=poison.pk).exists()
        assert found("cost_threshold").current == Decimal("0.05")


class TestEnding:
    def test_calm_posts_for_a_minute_end_it(self, posts: Posts) -> None:
        posts.write("0.50")
        detect.check_touched(NOON)

        posts.write(*["0.01"] * 10, at=NOON + seconds(10))
        detect.check_touched(NOON + seconds(10))
        detect.sweep(NOON + seconds(69))
        still_open = found("cost_spike").is_open
        detect.sweep(NOON + seconds(70))

        assert still_open
        assert found("cost_spike").resolved_at == NOON + seconds(70)
        assert changes(found("cost_spike")) == [Change.OPENED, Change.RESOLVED]

    def test_a_persona_that_stopped_ends_its_incident_by_silence(self, posts: Posts) -> None:
        posts.write("0.50")
        detect.check_touched(NOON)

        for after in (minutes(16), minutes(25)):
            detect.sweep(NOON + after)
        still_open = found("cost_spike").is_open
        detect.sweep(NOON + minutes(26))

        assert still_open
        assert found("cost_spike").resolution == "nothing more came"

    def test_a_dear_post_ends_a_quarter_of_an_hour_after_its_last_cost(self, posts: Posts) -> None:
        posts.write("0.05")
        detect.check_touched(NOON)

        detect.sweep(NOON + minutes(14))
        still_open = found("cost_threshold").is_open
        detect.sweep(NOON + minutes(15))

        assert still_open
        assert not found("cost_threshold").is_open

    def test_a_new_incident_may_follow_an_old_one(self, posts: Posts) -> None:
        posts.write("0.50")
        detect.check_touched(NOON)
        incidents.end([found("cost_spike")], reason="test", at=NOON)

        posts.write("0.60")
        detect.check_touched(NOON + seconds(5))

        assert Anomaly.objects.filter(rule="cost_spike").count() == 2
        assert Anomaly.objects.open().filter(rule="cost_spike").count() == 1


class TestSignals:
    def test_every_change_is_told_to_alerts(self, posts: Posts) -> None:
        posts.write("0.067")
        detect.check_touched(NOON)

        alert = Alert.objects.get(rule="cost_spike")

        assert alert.fingerprint == found("cost_spike").fingerprint
        assert alert.severity == Severity.MEDIUM

    def test_the_end_is_told_too(self, posts: Posts) -> None:
        posts.write("0.067")
        detect.check_touched(NOON)

        incidents.end([found("cost_spike")], reason="test", at=NOON + minutes(1))

        assert Alert.objects.get(rule="cost_spike").status == "resolved"


class TestPolicies:
    def test_a_persona_may_have_levels_of_its_own(self, ledger: Ledger, posts: Posts) -> None:
        RulePolicy.objects.create(persona_id="ai_jesus", rule="cost_spike", medium=Decimal(10))
        posts.write("0.10")
        Posts(ledger, "other").write("0.10")

        detect.check_touched(NOON)

        assert set(Anomaly.objects.filter(rule="cost_spike").values_list("persona_id", flat=True)) == {"other"}

    def test_a_rule_may_be_switched_off(self, posts: Posts) -> None:
        RulePolicy.objects.create(rule="cost_spike", enabled=False)
        posts.write("0.10")

        detect.check_touched(NOON)

        assert not Anomaly.objects.filter(rule="cost_spike").exists()

    @override_settings(FINOPS_ANOMALY_DETECTION_ENABLED=False)
    def test_detection_may_be_switched_off_altogether(self, posts: Posts) -> None:
        posts.write("9")

        detect.check_touched(NOON)
        detect.sweep(NOON)

        assert not Anomaly.objects.exists()


class TestFalsePositives:
    def test_it_ends_the_incident_and_is_not_found_again(self, posts: Posts) -> None:
        posts.write("0.08")
        detect.check_touched(NOON)
        incidents.mark_false_positive(found("cost_spike"), actor="ann", at=NOON + seconds(1))

        posts.write("0.085")
        detect.check_touched(NOON + seconds(2))

        assert Anomaly.objects.open().filter(rule="cost_spike").count() == 0
        assert found("cost_spike").false_positive_by == "ann"
        assert Transition.objects.filter(change=Change.FALSE_POSITIVE, actor="ann").exists()

    def test_its_worst_moment_counts_not_the_calm_after_it(self, posts: Posts) -> None:
        posts.write("0.134")
        detect.check_touched(NOON)
        posts.write(*["0.01"] * 9)
        detect.check_touched(NOON + seconds(1))

        incidents.mark_false_positive(found("cost_spike"), actor="ann", at=NOON + seconds(2))

        assert Tolerance.objects.get(rule="cost_spike").up_to == Decimal("6.7")

    def test_what_is_much_worse_is_found_all_the_same(self, posts: Posts) -> None:
        posts.write("0.08")
        detect.check_touched(NOON)
        incidents.mark_false_positive(found("cost_spike"), actor="ann", at=NOON + seconds(1))

        posts.write("0.5")
        detect.check_touched(NOON + seconds(2))

        assert Anomaly.objects.open().filter(rule="cost_spike").exists()

    def test_after_thirty_days_it_is_forgotten(self, posts: Posts) -> None:
        posts.write("0.08")
        detect.check_touched(NOON)
        incidents.mark_false_positive(found("cost_spike"), actor="ann", at=NOON)

        later = NOON + timedelta(days=30)
        posts.write("0.08", at=later)
        detect.check_touched(later)

        assert Tolerance.objects.get().until == later
        assert Anomaly.objects.open().filter(rule="cost_spike").exists()


class TestOnDemand:
    @pytest.fixture
    def config(self) -> EngineConfig:
        return EngineConfig.made_of(None)

    def test_the_engine_tells_what_is_wrong_now_and_stores_nothing(self, posts: Posts, config: EngineConfig) -> None:
        (dear,) = posts.write("0.067")

        told = detect.check("ai_jesus", at=NOON, config=config)

        assert told["checked_at"] == NOON
        spike, threshold = sorted(told["anomalies_detected"], key=lambda each: each["anomaly_type"])
        assert (spike["anomaly_type"], spike["severity"], spike["persona_id"]) == ("cost_spike", "medium", "ai_jesus")
        assert (spike["current"], spike["baseline"], spike["multiplier"]) == (
            Decimal("0.067"),
            Decimal("0.02"),
            Decimal("3.35"),
        )
        assert threshold["scope"]["post_id"] == dear
        assert not Anomaly.objects.exists()

    def test_its_own_thresholds_count(self, posts: Posts) -> None:
        posts.write("0.067")

        config = EngineConfig.made_of({"cost_threshold_per_post": Decimal("0.05")})

        assert detect.check("ai_jesus", at=NOON, config=config)["anomalies_detected"] == []

    def test_the_engine_method_reaches_it(self, db: None) -> None:
        answer: dict[str, Any] = ViralFinOpsEngine().check_for_anomalies_sync("nobody")

        assert answer["anomalies_detected"] == []


class TestUnpriced:
    @pytest.fixture(autouse=True)
    def _an_unknown_model(self, ledger: Ledger) -> None:
        ledger.record(
            [usage_event(event_id="odd", persona_id="p", model="no-such-model", timestamp=NOON.isoformat())], at=NOON
        )

    def test_usage_without_a_price_is_a_low_finding(self) -> None:
        detect.check_touched(NOON)

        unpriced = found("unpriced")
        assert (unpriced.severity, unpriced.scope["model"]) == (Severity.LOW, "no-such-model")


class TestSweep:
    def test_its_cost_does_not_grow_with_the_ledger(self, posts: Posts) -> None:
        posts.write_history("0.02", posts=20)
        detect.sweep(NOON)
        with CaptureQueriesContext(connection) as few:
            detect.sweep(NOON + seconds(30))
        posts.write_history("0.02", posts=160)
        detect.sweep(NOON + seconds(60))
        with CaptureQueriesContext(connection) as many:
            detect.sweep(NOON + seconds(90))

        assert len(many) <= len(few)

    def test_one_broken_step_does_not_stop_the_others(
        self, posts: Posts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(at: object) -> None:
            raise RuntimeError("broken on purpose")

        monkeypatch.setattr(detect, "STEPS", (broken, *detect.STEPS))
        posts.write("0.50")

        detect.sweep(NOON)

        assert Anomaly.objects.filter(rule="cost_spike").exists()
        assert "broken on purpose" in caplog.text
