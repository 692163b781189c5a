"""An incident opens once, only ever gets worse, and ends when it has been calm for long enough."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alerts.signal import Severity
from anomalies.detectors import Judgement
from anomalies.detectors.cost_spike import CostSpike
from anomalies.lifecycle import Change, State, step

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SPIKE = CostSpike()


def judged(multiplier: str) -> Judgement:
    score = Decimal(multiplier)
    return SPIKE.judge(score, current=score)


def after(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_finding_opens_and_nothing_opens_without_one() -> None:
    assert step(None, judged("3"), SPIKE, NOON).change is Change.OPENED
    assert step(None, judged("2.9"), SPIKE, NOON).change is None
    assert step(None, None, SPIKE, NOON).change is None


def test_it_escalates_and_never_goes_back_while_it_is_open() -> None:
    worse = step(State(Severity.MEDIUM), judged("5"), SPIKE, NOON)
    better = step(worse.state, judged("3"), SPIKE, NOON)

    assert worse.change is Change.ESCALATED
    assert better.change is Change.KEPT
    assert better.state == State(Severity.CRITICAL)


def test_it_ends_after_a_minute_of_calm_and_not_before() -> None:
    first = step(State(Severity.MEDIUM), judged("1"), SPIKE, NOON)
    early = step(first.state, judged("1"), SPIKE, after(59))
    late = step(early.state, judged("1"), SPIKE, after(60))

    assert (first.change, early.change) == (Change.KEPT, Change.KEPT)
    assert (late.change, late.state) == (Change.RESOLVED, None)


def test_between_the_two_thresholds_it_stays_and_the_calm_begins_anew() -> None:
    calm = step(State(Severity.MEDIUM), judged("1"), SPIKE, NOON)
    between = step(calm.state, judged("2.5"), SPIKE, after(50))
    calm_again = step(between.state, judged("1"), SPIKE, after(70))

    assert between.state == State(Severity.MEDIUM)
    assert calm_again.change is Change.KEPT


def test_silence_is_calm_if_it_lasts_for_ten_minutes() -> None:
    quiet = step(State(Severity.HIGH), None, SPIKE, NOON)

    assert step(quiet.state, None, SPIKE, after(599)).change is Change.KEPT
    assert step(quiet.state, None, SPIKE, after(600)).change is Change.RESOLVED
