"""What explains something else is said; what it explains waits, and is said if it outlives its cause."""

from dataclasses import replace

import pytest

from alerts.channels.base import Event
from alerts.signal import Severity
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND, Desk, reasons, signal

MEDIUM, HIGH = Severity.MEDIUM, Severity.HIGH


def rules(desk: Desk) -> list[tuple[str, Event]]:
    return [(notice.rule, notice.event) for notice in desk.slack.got]


class TestCauses:
    def test_a_spike_explains_the_dear_post_that_was_seen_first(self, desk: Desk) -> None:
        desk.hear(signal("post", rule="cost_threshold", severity=MEDIUM))
        desk.wait(NOON, NOON + 4 * SECOND, SECOND)
        desk.hear(signal("spike", severity=MEDIUM), at=NOON + 4 * SECOND)
        desk.wait(NOON + 4 * SECOND, NOON + 50 * MINUTE)

        assert rules(desk) == [("cost_spike", Event.OPENED)]
        assert reasons(group__rule="cost_threshold") == {"waiting": 1, "inhibited": 1}

    @pytest.mark.parametrize(("rule", "seconds"), [("cost_threshold", 5), ("learned", 5), ("forecast", 60)])
    def test_what_nothing_explains_is_said_after_its_wait(self, desk: Desk, rule: str, seconds: int) -> None:
        desk.hear(signal(rule=rule, severity=MEDIUM))

        desk.wait(NOON, NOON + (seconds - 1) * SECOND, SECOND)
        assert rules(desk) == []
        desk.work(at=NOON + seconds * SECOND)

        assert rules(desk) == [(rule, Event.OPENED)]

    def test_what_ends_while_it_waits_is_never_said(self, desk: Desk) -> None:
        desk.hear(signal(rule="learned", severity=HIGH))
        desk.end(rule="learned", at=NOON + 3 * SECOND)
        desk.wait(NOON + 3 * SECOND, NOON + MINUTE)

        assert desk.said == []
        assert reasons() == {"waiting": 1, "never said": 1}

    def test_what_outlives_its_cause_is_said_at_once(self, desk: Desk) -> None:
        desk.hear(signal("spike", severity=MEDIUM), signal("burn", rule="burn_rate", severity=MEDIUM))
        assert rules(desk) == [("cost_spike", Event.OPENED)]

        desk.end("spike", at=NOON + MINUTE)

        assert rules(desk)[1:] == [("burn_rate", Event.OPENED), ("cost_spike", Event.RESOLVED)]

    def test_dear_posts_of_a_spike_are_not_said_when_it_is_over(self, desk: Desk) -> None:
        desk.hear(signal("spike", severity=MEDIUM), signal("post", rule="cost_threshold", severity=MEDIUM))
        desk.end("spike", at=NOON + MINUTE)
        desk.wait(NOON + MINUTE, NOON + 15 * MINUTE, MINUTE)
        desk.end("post", rule="cost_threshold", at=NOON + 16 * MINUTE)
        desk.wait(NOON + 16 * MINUTE, NOON + HOUR, MINUTE)

        assert rules(desk) == [("cost_spike", Event.OPENED), ("cost_spike", Event.RESOLVED)]

    def test_dear_posts_that_go_on_after_the_spike_are_said(self, desk: Desk) -> None:
        desk.hear(signal("spike", severity=MEDIUM), signal("post", rule="cost_threshold", severity=MEDIUM))
        desk.end("spike", at=NOON + MINUTE)
        desk.wait(NOON + MINUTE, NOON + 20 * MINUTE, MINUTE)
        is_said_early = len(rules(desk)) > 2
        desk.work(at=NOON + 21 * MINUTE)

        assert not is_said_early
        assert rules(desk)[2:] == [("cost_threshold", Event.OPENED)]

    def test_what_ends_together_with_its_cause_is_not_said(self, desk: Desk) -> None:
        desk.hear(signal("spike", severity=MEDIUM), signal("burn", rule="burn_rate", severity=MEDIUM))
        desk.end("burn", rule="burn_rate", at=NOON + MINUTE)
        desk.end("spike", at=NOON + 2 * MINUTE)

        assert rules(desk) == [("cost_spike", Event.OPENED), ("cost_spike", Event.RESOLVED)]

    def test_a_cause_that_comes_later_stops_the_repeats(self, desk: Desk) -> None:
        desk.hear(signal("spike", severity=MEDIUM))
        desk.hear(signal("paused", rule="persona_paused", severity=MEDIUM), at=NOON + MINUTE)
        desk.wait(NOON + MINUTE, NOON + HOUR, MINUTE)

        assert rules(desk) == [("cost_spike", Event.OPENED), ("persona_paused", Event.OPENED)]

    def test_the_cause_is_one_of_the_same_persona(self, desk: Desk) -> None:
        desk.hear(signal("spike", severity=MEDIUM), signal("b", persona="zen", rule="burn_rate", severity=MEDIUM))

        assert len(rules(desk)) == 2

    def test_the_budget_of_all_explains_the_budgets_of_each_until_it_is_mended(self, desk: Desk) -> None:
        all_of_it = signal("all", rule="budget_overrun", persona="", severity=Severity.CRITICAL)
        desk.hear(all_of_it, *[signal(p, rule="budget_overrun", persona=p, severity=MEDIUM) for p in "abc"])
        assert [notice.persona_id for notice in desk.slack.got] == [""]

        desk.end("all", rule="budget_overrun", persona="", at=NOON + MINUTE)

        assert sorted(notice.persona_id for notice in desk.slack.got) == ["", "", "a", "b", "c"]

    def test_nothing_is_explained_by_what_is_less_bad(self, desk: Desk) -> None:
        desk.hear(signal("used", rule="budget_overrun", severity=MEDIUM))
        desk.hear(signal("burn", rule="burn_rate", severity=HIGH))

        assert ("burn_rate", Event.OPENED) in rules(desk)

    def test_a_budget_of_one_model_explains_no_personas_budget(self, desk: Desk) -> None:
        narrow = replace(
            signal("model", rule="budget_overrun", persona="", severity=HIGH),
            scope={"model": "gpt-4o", "budget_id": "1"},
        )
        desk.hear(narrow)
        desk.hear(signal("p", rule="budget_overrun", persona="p", severity=MEDIUM))

        assert [notice.persona_id for notice in desk.slack.got] == ["", "p"]
