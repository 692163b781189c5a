"""What the demo makes of a runaway that was stopped: how its levels are read, judged and told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from examples.content_pipeline.account import Account, Entry, Refusal
from examples.content_pipeline.readback import Ledger
from examples.content_pipeline.receivers import Receivers
from examples.content_pipeline.stopped import WALKED, Breaker, Checks, Step, kept, pages, phases, timeline, told

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CHEAP, DEAR, REVIEWER = "gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "o3-mini-2025-01-31"
STAY = timedelta(seconds=5)


class Answers(Ledger):
    """A ledger that has these transitions, told as the API tells them: the newest first."""

    def __init__(self, *transitions: Mapping[str, Any]) -> None:
        self._transitions = list(reversed(transitions))

    def get(self, path: str, **parameters: str) -> tuple[int, Any]:
        return (200, {"transitions": self._transitions}) if self._transitions else (404, {})


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def transition(before: str, to: str, seconds: float, lasts: float | None = 3600) -> dict[str, Any]:
    told = {"from_level": before, "to_level": to, "per_minute": Decimal(60), "reason": "Too dear."}
    until = None if lasts is None else after(seconds + lasts).isoformat()
    return told | {"at": after(seconds).isoformat(), "expires_at": until}


def walked(*levels: str, every: float = 10) -> list[Step]:
    """At these levels one after the other, with a rate where there is one."""
    rates = {"throttle": 60, "switch": 60, "half_open": 60}
    return [Step(level, after(10 + number * every), rates.get(level)) for number, level in enumerate(levels)]


def bought(*calls: tuple[float, str]) -> Account:
    """Model calls of a cent each, at these seconds."""
    account = Account()
    for number, (seconds, model) in enumerate(calls):
        names = ("post", "persona", "openai_api", "draft", "openai", model)
        account.add(Entry(f"call-{number}", after(seconds), *names, Decimal("0.01")))
    return account


class TestTheLevels:
    def test_are_read_oldest_first_and_what_only_tightened_is_none(self) -> None:
        ledger = Answers(
            transition("closed", "throttle", 0),
            transition("throttle", "throttle", 2),
            transition("throttle", "switch", 6),
        )

        breaker = Breaker(ledger, "persona")

        assert [step.level for step in breaker.steps()] == ["throttle", "switch"]
        assert breaker.level() == "switch"

    def test_a_pause_ends_when_it_was_to_end_and_not_when_that_was_written_down(self) -> None:
        ledger = Answers(transition("switch", "pause", 0, lasts=8), transition("pause", "half_open", 9))

        _, trial = Breaker(ledger, "persona").steps()

        assert trial.at == after(8)

    def test_a_persona_that_the_breaker_never_touched_is_let_through(self) -> None:
        assert Breaker(Answers(), "persona").level() == "closed"


class TestTheChecks:
    @pytest.mark.parametrize(
        ("levels", "is_right"), [(WALKED, True), (WALKED[:-1], False), (["pause", "half_open", "closed"], False)]
    )
    def test_find_another_order(self, levels: Sequence[str], is_right: bool) -> None:
        checks = Checks(Account(), walked(*levels))

        checks.check_levels(STAY)

        assert (not checks.wrong) is is_right

    @pytest.mark.parametrize(("every", "wrong"), [(5, 0), (4.9, 4)])
    def test_find_a_level_that_was_left_too_soon(self, every: float, wrong: int) -> None:
        checks = Checks(Account(), walked(*WALKED, every=every))

        checks.check_levels(STAY)

        assert len(checks.wrong) == wrong

    @pytest.mark.parametrize(
        ("calls", "sentences"),
        [
            ([(0, DEAR), (12.5, DEAR), (22.5, CHEAP), (51, DEAR)], []),
            # Let in before the step, answered after it.
            ([(0, DEAR), (21.5, DEAR), (31.5, CHEAP), (51, DEAR)], []),
            ([(0, DEAR), (33, CHEAP), (51, DEAR)], ["1 calls were made while it was paused"]),
            ([(0, DEAR), (23, DEAR), (51, DEAR)], ["1 calls took the dear model where they were switched"]),
            (
                [(0, DEAR), *((13 + number / 2, DEAR) for number in range(10)), (51, DEAR)],
                ["10 calls in 8.0 s are more than 60 a minute"],
            ),
        ],
    )
    def test_find_who_did_not_obey(self, calls: list[tuple[float, str]], sentences: list[str]) -> None:
        checks = Checks(bought(*calls), walked(*WALKED))

        checks.check_obedience()

        assert checks.wrong == sentences

    @pytest.mark.parametrize(("refused", "wrong"), [("0.02", []), ("0.03", ["estimate of what was denied", "saved"])])
    def test_find_a_sum_that_differs(self, refused: str, wrong: list[str]) -> None:
        account = bought((0, DEAR))
        account.refusals.append(Refusal("post", "draft", Decimal(refused)))
        kinds = {"switched": {"would_have_cost": "0", "cost": "0"}, "denied": {"saved": "0.02"}}
        checks = Checks(account, [])

        checks.check_money(
            {"spent": "0.01", "saved": "0.02", "by_kind": kinds}, {"spent": Decimal("0.010"), "held": Decimal(0)}
        )

        assert [sentence.partition(":")[0] for sentence in checks.wrong] == wrong


class TestTheTimeline:
    def test_says_when_how_long_how_many_a_minute_and_why(self) -> None:
        steps = [Step("throttle", after(30), 60, "Too dear."), Step("closed", after(40))]

        *_, open_, throttled, reason, closed = timeline(phases(steps, bought((0, DEAR), (15, DEAR), (35, DEAR))))

        assert open_.split() == ["0.0", "s", "let", "through", "30.0", "s", "2", "4", "0.0400"]
        assert throttled.split() == ["30.0", "s", "throttled", "10.0", "s", "1", "6", "0.0600"]
        assert reason.strip() == "Too dear."
        assert closed.split()[:4] == ["40.0", "s", "let", "through"]

    @pytest.mark.parametrize(("seconds", "rates"), [(5, ["12", "0.1200"]), (4.9, ["-", "-"])])
    def test_tells_no_rate_of_a_moment(self, seconds: float, rates: list[str]) -> None:
        steps = [Step("throttle", after(seconds), 60)]

        *_, open_, _ = timeline(phases(steps, bought((0, DEAR))))

        assert open_.split()[-2:] == rates

    def test_of_nothing_has_no_levels(self) -> None:
        assert phases([], Account()) == []


class TestWhatKeptItsModel:
    def test_is_counted_among_the_calls_that_were_let_in_where_it_was_switched(self) -> None:
        account = bought((0, DEAR), (15, REVIEWER), (20.5, DEAR), (23, REVIEWER))
        account.add(replace(account.entries["call-3"], event_id="switched", model=CHEAP, asked_cost=Decimal(1)))

        found = list(kept(Checks(account, walked(*WALKED))))

        assert found == ["1 of 2 calls kept their model: o3-mini has no cheaper one listed"]

    def test_is_not_told_where_all_were_switched(self) -> None:
        assert list(kept(Checks(bought((0, DEAR)), walked(*WALKED)))) == []


class Heard(Receivers):
    """Slack, with these messages: the rule, when it came, and whether it says that it is over."""

    kept: Sequence[tuple[str, float, bool]]

    def __init__(self, *messages: tuple[str, float, bool]) -> None:
        super().__init__("http://127.0.0.1:1")
        object.__setattr__(self, "kept", messages)

    def _read(self) -> Any:
        return {"messages": [kept_by_slack(number, *each) for number, each in enumerate(self.kept, start=1)]}


def kept_by_slack(number: int, rule: str, seconds: float, is_end: bool) -> dict[str, Any]:
    text = f"Controls{': RESOLVED' if is_end else ''}\nType: {rule}\nPersona: persona"
    told = {"number": number, "channel": "slack", "accepted": True, "received_at": after(seconds).isoformat()}
    return told | {"content": {"text": text}}


class TestWhoHeard:
    def test_of_a_level_and_that_the_last_one_is_over(self) -> None:
        steps = [Step("throttle", after(10)), Step("switch", after(20)), Step("closed", after(50))]
        receivers = Heard(
            ("persona_throttled", 10.5, False),
            ("persona_throttled", 20.4, True),
            ("model_switched", 21, False),
            ("persona_on_trial", 51.5, True),
        )

        lines = [line.split("  ")[-1].strip() for line in told(receivers, "persona", steps)]

        assert lines == ["Slack 0.5 s later", "Slack 1.0 s later", "Slack 1.5 s later"]

    def test_needs_no_message_of_the_end(self) -> None:
        assert list(told(Heard(), "persona", walked(*WALKED))) == []


def test_the_links_lead_to_lists_that_also_show_what_is_over() -> None:
    links = pages("http://127.0.0.1/admin/", "a persona")

    assert links["every call that was let in"].endswith("/hold/?state=all&q=a%20persona")
    assert links["where it stands, and the red button"].endswith("/control/?state=all&q=a%20persona")
    assert links["every call that was turned away"].endswith("/refusal/?q=a%20persona")
