"""A replay of the controls throttles, switches, pauses and denies what they would have, and saves what that saves."""

import io
import json
import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from alerts.signal import Severity
from anomalies import detect
from anomalies.backtest import terms
from anomalies.backtest.breakers import Breakers
from anomalies.backtest.gate import Verdict, allowance
from anomalies.backtest.run_policy import Trial, over_policy
from anomalies.backtest.series import UnusableSeries
from anomalies.backtest.terms import UnusablePolicy
from anomalies.models import RulePolicy
from controls import breaker, budgets, switches
from controls.ladder import Level, Reading, Rules
from controls.models import Budget, Control, ControlTransition, Policy
from controls.policy_rules import Policies
from costs import reprice
from costs.models import CostEvent, HourlyOutcome, PriceRate
from costs.periods import DAY, HOUR, Span
from tests.anomalies.conftest import NOON, Ledger, minutes
from tests.costs.conftest import amount_event, usage_event

# Both calls cost $0.0075; gpt-4o-mini does the first one for $0.00045, and nothing cheaper is listed for the second.
DEAR = {"model": "gpt-4o", "usage": {"input_tokens": 1_000, "output_tokens": 500}}
LARGE = {"model": "gpt-4o-mini", "usage": {"input_tokens": 50_000, "output_tokens": 0}}


def tried(start: datetime = NOON, end: datetime = NOON + HOUR, *personas: str, **changes: Any) -> Trial:
    return over_policy(changes, Span(start, end), personas, at=NOON + HOUR * 2)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def moved(trial: Trial) -> list[tuple[str, str, str]]:
    return [(f"{each.at:%H:%M:%S}", each.from_level, each.to_level) for each in trial.moved]


def cuts(trial: Trial, persona: str = "p") -> dict[Verdict, tuple[int, Decimal]]:
    return {verdict: (cut.calls, cut.saved) for verdict, cut in trial.accounts[persona].cuts.items()}


class Calls:
    """Writes calls of one persona, in posts of so many calls."""

    def __init__(self, ledger: Ledger, call: dict[str, Any], persona_id: str = "p") -> None:
        self.ledger, self.call, self.persona_id = ledger, call, persona_id
        self.posts = 0

    def write(self, times: Sequence[datetime], *, calls_of_a_post: int = 1) -> None:
        events = []
        for number, at in enumerate(times):
            if number % calls_of_a_post == 0:
                self.posts += 1
            post = f"{self.persona_id}-{self.posts}"
            events.append(
                usage_event(
                    event_id=f"{post}-{number}",
                    post_id=post,
                    persona_id=self.persona_id,
                    timestamp=at.isoformat(),
                    **self.call,
                )
            )
        self.ledger.record(events, at=NOON + HOUR)

    def write_history(self) -> None:
        """Thirty posts of one call each: their median is the baseline."""
        self.write([NOON - minutes(20) - minutes(5) * number for number in range(30)])

    def run_away(self, length: float = 5) -> None:
        """From noon on two calls a second, five of them for each post: five times the baseline."""
        self.write([NOON + seconds(0.5) * number for number in range(int(length * 120))], calls_of_a_post=5)


@pytest.fixture(autouse=True)
def _lists_are_read_anew() -> None:
    switches.forget()


class TestARunaway:
    def test_is_throttled_then_switched_then_let_go_in_steps(self, ledger: Ledger) -> None:
        calls = Calls(ledger, DEAR)
        calls.write_history()
        calls.run_away()

        trial = tried()

        assert moved(trial) == [
            ("12:00:30", "closed", "throttle"),
            ("12:01:30", "throttle", "switch"),
            ("12:06:30", "switch", "throttle"),
            ("12:08:00", "throttle", "closed"),
        ]
        # The first half minute is let through; of each of the nine others five calls, seven times on the cheaper model.
        assert cuts(trial) == {
            Verdict.THROTTLED: (495, Decimal("3.7125")),
            Verdict.SWITCHED: (35, Decimal("0.24675")),
        }
        assert (trial.spent, trial.saved) == (Decimal("4.5"), Decimal("3.95925"))

    def test_that_no_cheaper_model_can_serve_is_paused_and_comes_back_by_itself(self, ledger: Ledger) -> None:
        calls = Calls(ledger, LARGE)
        calls.write_history()
        calls.run_away()

        trial = tried(pause_seconds=120)

        assert moved(trial) == [
            ("12:00:30", "closed", "throttle"),
            ("12:01:30", "throttle", "switch"),
            ("12:02:30", "switch", "pause"),
            ("12:04:30", "pause", "half_open"),
            ("12:19:00", "half_open", "closed"),
        ]
        assert cuts(trial) == {
            Verdict.THROTTLED: (275, Decimal("2.0625")),
            Verdict.PAUSED: (240, Decimal("1.8")),
        }
        assert trial.accounts["p"].had_spent == Decimal("0.6375")

    def test_who_is_held_back_does_not_look_normal_for_it(self, ledger: Ledger) -> None:
        """A runaway of hours in a loop that is one post: it is paused again and again, and never taken for usual."""
        calls = Calls(ledger, LARGE)
        calls.write_history()
        calls.write([NOON + seconds(2) * number for number in range(30 * 60 * 2)], calls_of_a_post=10_000)

        trial = tried(end=NOON + HOUR * 2, pause_seconds=600)

        levels = [to_level for _, _, to_level in moved(trial)]
        assert levels[:4] == ["throttle", "switch", "pause", "half_open"]
        assert levels[4:-1] == ["pause", "half_open"] * (len(levels[4:-1]) // 2)
        assert trial.saved > trial.spent * Decimal("0.8")

    def test_is_replayed_the_same_every_time(self, ledger: Ledger) -> None:
        calls = Calls(ledger, DEAR)
        calls.write_history()
        calls.run_away()

        assert tried() == tried()

    def test_is_not_throttled_below_the_threshold_that_is_tried(self, ledger: Ledger) -> None:
        calls = Calls(ledger, DEAR)
        calls.write_history()
        calls.run_away()

        trial = tried(spike_from=Decimal("5.01"), on_critical=False)

        assert not trial.moved
        assert trial.saved == 0

    def test_changes_nothing_in_the_ledger_or_the_controls(self, ledger: Ledger) -> None:
        calls = Calls(ledger, DEAR)
        calls.write_history()
        calls.run_away()
        before = CostEvent.objects.count()

        tried()

        assert CostEvent.objects.count() == before
        assert not Control.objects.exists()


class TestControlsOff:
    def test_they_come_to_the_ledgers_total_exactly(self, ledger: Ledger) -> None:
        """Adjustments, lines of nobody, amounts that callers gave and what has no price yet are all in it."""
        calls = Calls(ledger, {**DEAR, "model": "of-ours"})
        calls.write([NOON + seconds(number) for number in range(60)])
        for bucket in ("input_tokens", "output_tokens"):
            PriceRate.objects.create(
                model="of-ours",
                bucket=bucket,
                unit_price=Decimal("3.3"),
                per=1_000_000,
                kind="contract",
                effective_from=NOON - DAY * 30,
            )
        ledger.record(
            [
                amount_event("0.123456789012", event_id="cdn", timestamp=(NOON + minutes(1)).isoformat()),
                usage_event(event_id="odd", persona_id="q", model="no-such", timestamp=NOON.isoformat()),
            ],
            at=NOON + HOUR,
        )
        reprice.reprice_unpriced(at=NOON + HOUR)

        trial = tried()

        assert trial.spent == CostEvent.objects.in_period(NOON, NOON + HOUR).total()
        assert trial.accounts[""].spent == Decimal("0.123456789012")
        assert sum(account.calls for account in trial.accounts.values()) == 62

    def test_a_policy_that_only_observes_spends_as_much(self, ledger: Ledger) -> None:
        Policy.objects.update(is_observing=True)
        calls = Calls(ledger, LARGE)
        calls.write_history()
        calls.run_away()

        trial = tried()

        assert [each.to_level for each in trial.moved[:3]] == ["throttle", "switch", "pause"]
        assert all(each.is_observing for each in trial.moved)
        assert trial.saved == 0
        assert trial.spent == Decimal("4.5")
        assert tried(is_observing=False).saved > Decimal("3.8")

    def test_what_has_no_model_does_not_ask(self, ledger: Ledger) -> None:
        """Its costs trip the breaker all the same; there is nothing to hold back."""
        calls = Calls(ledger, {"cost_type": "cdn", "provider": None, "model": None, "usage": None, "amount": "0.01"})
        calls.write_history()
        calls.run_away()

        trial = tried()

        assert [each.to_level for each in trial.moved[:3]] == ["throttle", "switch", "pause"]
        assert trial.saved == 0


class TestLiveAndReplayed:
    @pytest.mark.parametrize("call", [DEAR, LARGE], ids=["dear", "large"])
    def test_the_breaker_moves_alike(self, ledger: Ledger, call: dict[str, Any]) -> None:
        """It only observes, so that live nothing needs to be held back."""
        Policy.objects.update(is_observing=True, pause_seconds=180)
        calls = Calls(ledger, call)
        calls.write_history()
        for step in range(1, 70):
            if step <= 12:
                calls.write([NOON + seconds(30 * step - number - 1) for number in range(30)], calls_of_a_post=5)
            detect.sweep(NOON + seconds(30) * step)
            breaker.sweep(NOON + seconds(30) * step)

        trial = tried()

        live = ControlTransition.objects.order_by("version").values_list("at", "from_level", "to_level", "trigger")
        assert [(each.at, each.from_level, each.to_level, each.trigger) for each in trial.moved] == list(live)
        assert len(live) >= 4


TWO_WEEKS = """
INSERT INTO cost_events (event_id, source, post_id, cost_type, cost_amount, cost_metadata, persona_id, provider, model,
    timestamp, created_at, entry_type, evidence, unpriced, deviating)
SELECT 'e' || n, 'default', 'post_' || n / 10, 'openai_api', 0.001 * (1 + n %% 7), '{}', 'persona_' || n / 10 %% 50,
    'openai', 'gpt-4o', %(start)s + n * interval '12 seconds', %(start)s, 'charge', 'computed', 0, 0
FROM generate_series(1, 14 * 7200) AS n
"""


def test_two_weeks_of_fifty_personas_take_less_than_a_minute(ledger: Ledger) -> None:
    start = NOON - DAY * 14
    for number in range(50):
        Calls(ledger, DEAR, f"persona_{number}").write([start - minutes(30)])
    with connection.cursor() as cursor:
        cursor.execute(TWO_WEEKS, {"start": start})
    began = time.process_time()

    trial = tried(start, NOON)

    assert sum(account.calls for account in trial.accounts.values()) == 14 * 7200 - 1
    assert time.process_time() - began < 60


class TestBudgets:
    def budget(self, limit: str, *, hard: bool = True, **fields: Any) -> Budget:
        given = {"name": "test", "period": "daily", "timezone": "UTC"} | fields
        return budgets.create(Budget(limit=Decimal(limit), hard=hard, **given), actor="ann", at=NOON + HOUR)

    def test_a_hard_one_lets_in_what_fits_and_nothing_more(self, ledger: Ledger) -> None:
        Calls(ledger, DEAR).write([NOON + seconds(number) for number in range(60)])
        self.budget("0.1", persona_id="p")

        trial = tried()

        # 13 calls of $0.0075 fit into $0.10.
        assert cuts(trial) == {Verdict.OVER_BUDGET: (47, Decimal("0.3525"))}
        assert trial.accounts["p"].had_spent == Decimal("0.0975")

    def test_a_shared_one_is_first_come_first_served(self, ledger: Ledger) -> None:
        for persona, offset in (("p", 0), ("q", 0.5)):
            Calls(ledger, DEAR, persona).write([NOON + seconds(2 * number + offset) for number in range(10)])
        self.budget("0.09")

        trial = tried()

        assert cuts(trial, "p") == cuts(trial, "q") == {Verdict.OVER_BUDGET: (4, Decimal("0.03"))}

    def test_what_was_spent_before_the_replay_in_its_period_counts(self, ledger: Ledger) -> None:
        Calls(ledger, DEAR).write([NOON - HOUR * 3, NOON + seconds(1), NOON + DAY])
        self.budget("0.01", persona_id="p")

        trial = tried(end=NOON + DAY + HOUR)

        assert cuts(trial) == {Verdict.OVER_BUDGET: (1, Decimal("0.0075"))}

    def test_one_of_a_model_counts_that_model_alone(self, ledger: Ledger) -> None:
        Calls(ledger, DEAR).write([NOON + seconds(number) for number in range(4)])
        Calls(ledger, LARGE, "q").write([NOON + seconds(number) for number in range(4)])
        self.budget("0.0075", model="gpt-4o")

        trial = tried()

        assert cuts(trial) == {Verdict.OVER_BUDGET: (3, Decimal("0.0225"))}
        assert not cuts(trial, "q")

    @pytest.mark.parametrize(("limit", "levels"), [("0.25", ["throttle"]), ("0.26", [])])
    def test_ninety_percent_of_a_personas_own_trip_its_breaker(
        self, ledger: Ledger, limit: str, levels: list[str]
    ) -> None:
        Calls(ledger, DEAR).write([NOON + seconds(number * 0.9) for number in range(30)])
        self.budget(limit, hard=False, persona_id="p", warn_levels=[99])

        trial = tried(end=NOON + minutes(30))

        assert [each.to_level for each in trial.moved][:1] == levels


class TestReturns:
    @pytest.mark.parametrize(("revenue", "levels"), [("0.09", ["throttle"]), ("0.0901", [])])
    def test_a_return_of_minus_sixty_percent_trips_the_breaker_on_the_hour(
        self, ledger: Ledger, revenue: str, levels: list[str]
    ) -> None:
        RulePolicy.objects.create(persona_id="", rule="negative_roi", medium=Decimal(-50))
        Calls(ledger, DEAR).write([NOON + minutes(number) for number in range(30)])
        HourlyOutcome.objects.create(
            persona_id="p", hour=NOON, kind="revenue", quantity=0, amount=Decimal(revenue), outcomes=1
        )

        trial = tried(end=NOON + HOUR * 2)

        assert [(each.to_level, each.trigger) for each in trial.moved][:1] == [(level, "roi") for level in levels]
        assert all(each.at == NOON + HOUR for each in trial.moved[:1])


class TestRates:
    @pytest.mark.parametrize("per_minute", [1, 10, 25, 30, 50, 51])
    def test_those_of_every_minute_are_exact(self, per_minute: int) -> None:
        assert allowance(7, per_minute) + allowance(8, per_minute) == per_minute
        assert abs(allowance(7, per_minute) - allowance(8, per_minute)) <= 1


class TestTheBlastLimit:
    def test_more_pauses_than_automation_may_wait_for_a_person(self) -> None:
        breakers = Breakers(
            Policies({"": Rules(throttle_requests=False, disable_expensive_models=False)}), lambda at: 2
        )

        for persona in "abc":
            breakers.look(persona, [self.spike(persona)], NOON)
            breakers.look(persona, [self.spike(persona)], NOON + seconds(30))
            breakers.look(persona, [self.spike(persona)], NOON + minutes(10))

        assert [(each.persona_id, each.at - NOON, each.to_level, each.is_held_back) for each in breakers.moved] == [
            ("a", timedelta(0), Level.PAUSE, False),
            ("b", timedelta(0), Level.PAUSE, False),
            ("c", timedelta(0), Level.CLOSED, True),
            ("c", minutes(10), Level.PAUSE, False),
        ]

    def spike(self, persona: str) -> Reading:
        return Reading(persona, "cost_per_post", Severity.HIGH, Decimal(2), events=20, amount=Decimal(1))


class TestWhatIsAskedFor:
    def test_only_the_personas_that_are_named_are_replayed(self, ledger: Ledger) -> None:
        for persona in ("p", "q"):
            Calls(ledger, DEAR, persona).write([NOON])

        assert set(tried(NOON, NOON + HOUR, "q").accounts) == {"q"}
        with pytest.raises(UnusableSeries, match="nobody had no costs"):
            tried(NOON, NOON + HOUR, "nobody")

    def test_fields_stand_above_those_of_every_policy(self, db: None) -> None:
        Policy.objects.create(persona_id="p", spike_from=Decimal(8), stay_seconds=10)

        found = terms.tried(terms.parse(["spike_from=4.5", "pause_persona=false", "stay_seconds=30"]))

        for persona in ("p", "anybody"):
            rules = found.of(persona)
            assert (rules.spike_from, rules.pause_persona, rules.stay) == (Decimal("4.5"), False, seconds(30))
        assert Policy.objects.get(persona_id="p").spike_from == 8

    @pytest.mark.parametrize(
        ("part", "sentence"),
        [
            ("spike=4", "'spike=4' is none of is_observing,"),
            ("spike_from", "'spike_from' is none of"),
            ("spike_from=much", "spike_from: “much” value must be a decimal number."),
            ("is_observing=1", "is_observing must be true or false, not '1'."),
            ("stay_seconds=0", "stay_seconds: Ensure this value is greater than or equal to 1."),
            ("leave=1.5", "controls_policy_makes_sense"),
        ],
    )
    def test_what_is_no_policy_is_refused_with_a_sentence(self, db: None, part: str, sentence: str) -> None:
        with pytest.raises(UnusablePolicy, match=re.escape(sentence)):
            terms.tried(terms.parse([part]))


class TestTheCommand:
    def told(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("backtest", "--policy", *arguments, stdout=out)
        return out.getvalue()

    def test_it_tells_who_would_have_been_held_back_and_what_that_had_saved(self, ledger: Ledger) -> None:
        calls = Calls(ledger, DEAR)
        calls.write_history()
        calls.run_away()
        period = ["--from", f"{NOON:%Y-%m-%dT%H:%M:%SZ}", "--to", f"{NOON + HOUR:%Y-%m-%dT%H:%M:%SZ}"]

        text = self.told(*period)

        assert re.search(r"12:01:30  p +throttle  switch +10  cost_per_post  The cost per post is 5 times", text)
        assert re.search(r"^p +4\.50  0\.54   3\.96  88\.0 +495 +35 +0 +0$", text, re.MULTILINE)
        assert "495 calls throttled, not made: $3.71 less." in text
        assert "Controls off $4.50, on $0.54." in text
        assert "Saved $3.96, 88.0 %; extrapolated to 30 days $2,850.66." in text
        assert "The specification's goal: 15 % and $3,000 a month." in text
        assert "a runaway shorter than a minute or two may be missed" in text

    def test_json_tells_everything_exactly(self, ledger: Ledger) -> None:
        calls = Calls(ledger, DEAR)
        calls.write_history()
        calls.run_away()
        period = ["--from", f"{NOON:%Y-%m-%dT%H:%M:%SZ}", "--to", f"{NOON + HOUR:%Y-%m-%dT%H:%M:%SZ}"]

        told = json.loads(self.told("spike_from=4", *period, "--format", "json"), parse_float=Decimal)

        assert (told["spent"], told["would_have_spent"]) == (Decimal("4.5"), Decimal("0.54075"))
        assert told["saved"] == Decimal("3.95925")
        assert told["policy"] == {"spike_from": 4}
        assert told["by_kind"]["switched"] == {"calls": 35, "saved": Decimal("0.24675")}
        assert [each["to_level"] for each in told["transitions"]] == ["throttle", "switch", "throttle", "closed"]

    def test_nothing_stored_is_no_error(self, db: None) -> None:
        assert "Saved $0.00, unknown; extrapolated to 30 days $0.00." in self.told()

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--levels", "medium=3"], "--levels belong to --rule"),
            (["--format", "nab"], "--format nab scores the rows of a file"),
            (["spike=4"], "'spike=4' is none of"),
            (["--persona", "nobody"], "nobody had no costs in this period"),
        ],
    )
    def test_errors_are_sentences(self, db: None, arguments: list[str], sentence: str) -> None:
        with pytest.raises(CommandError, match=re.escape(sentence)):
            self.told(*arguments)
