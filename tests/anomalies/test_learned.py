"""The learned detector on made-up cost series, where what is wrong is known to the hour."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import process_time

import pytest

from anomalies import lifecycle
from anomalies.detectors import Window
from anomalies.detectors.learned import THRESHOLD, StreamingDetector, scores
from anomalies.detectors.learned_rule import Learned, SeriesReading

HOUR = timedelta(hours=1)
MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
WARM_UP = 4 * 24
# What an incident leaves behind may ring for a day: it is neither found nor false.
AFTERMATH = 24
LENGTHS = {"spike": 1, "drift": 24, "drop": 8}

Row = tuple[datetime, float]


@dataclass
class Series:
    rows: list[Row]
    incidents: list[tuple[str, int, int]] = field(default_factory=list)

    def plant(self, kind: str, start: int, length: int | None = None) -> None:
        length = length or LENGTHS[kind]
        for step in range(length):
            factor = {"spike": 4.0, "drift": 1.08 ** (step + 1), "drop": 1 / 3}[kind]
            at, value = self.rows[start + step]
            self.rows[start + step] = (at, value * factor)
        self.incidents.append((kind, start, start + length))

    def found(self, seen: list[float], late: int = 2) -> Iterator[tuple[str, bool]]:
        for kind, start, end in self.incidents:
            yield kind, max(seen[start : end + late]) >= THRESHOLD

    def false_alarms(self, seen: list[float], aftermath: int = 2 + AFTERMATH) -> int:
        excused = {hour for _, start, end in self.incidents for hour in range(start, end + aftermath)}
        return sum(score >= THRESHOLD for hour, score in enumerate(seen) if hour >= WARM_UP and hour not in excused)


def hourly_costs(seed: int, weeks: int = 5, noise: float = 0.08) -> Series:
    """Dollars per hour with a daily and a weekly rhythm, a trend and noise, all drawn from the seed."""
    draw = random.Random(seed)
    level, swing, weekend = 10 ** draw.uniform(-3, 4), draw.uniform(0.3, 0.8), draw.uniform(0.5, 1.0)
    peak, trend, start = draw.uniform(0, 24), draw.uniform(-0.1, 0.3), MONDAY + timedelta(days=draw.randrange(7))
    rows = []
    for hour in range(weeks * 168):
        at = start + hour * HOUR
        value = level * (1 + swing * math.cos(math.tau * (at.hour - peak) / 24)) * (1 + trend * hour / (weeks * 168))
        rows.append((at, value * (weekend if at.weekday() >= 5 else 1) * math.exp(draw.gauss(0, noise))))
    return Series(rows)


def with_incidents(seed: int) -> Series:
    """One of each kind, at any hour, from the second week on and four to six days apart."""
    series, draw = hourly_costs(seed), random.Random(seed + 1000)
    kinds, start = list(LENGTHS), 168 + draw.randrange(72)
    draw.shuffle(kinds)
    for kind in kinds:
        series.plant(kind, start)
        start += LENGTHS[kind] + draw.randrange(96, 144)
    return series


def two_hard_weeks(seed: int) -> Series:
    """Noisy, short, and one of each kind in any order from the fifth day on, sometimes only a day apart."""
    draw = random.Random(seed + 2000)
    series = hourly_costs(seed, weeks=2, noise=draw.uniform(0.06, 0.12))
    lengths = {"spike": draw.randint(1, 3), "drop": 6, "drift": 24}
    kinds, start = list(lengths), WARM_UP + draw.randrange(24)
    draw.shuffle(kinds)
    for kind in kinds:
        series.plant(kind, start, lengths[kind])
        start += lengths[kind] + draw.randrange(24, 60)
    return series


def fed(detector: StreamingDetector, rows: list[Row]) -> list[float]:
    return [detector.update(at, value) for at, value in rows]


class TestIncidents:
    def test_at_least_nineteen_in_twenty_planted_incidents_are_found(self) -> None:
        series = [with_incidents(seed) for seed in range(20)]

        found = [hit for one in series for hit in one.found(list(scores(one.rows)))]

        missed = [kind for kind, hit in found if not hit]
        assert len(missed) <= 0.05 * len(found), missed

    @pytest.mark.parametrize("seed", range(20))
    def test_there_is_at_most_one_false_alarm_a_week(self, seed: int) -> None:
        series = with_incidents(seed)

        alarms = series.false_alarms(list(scores(series.rows)))

        assert alarms <= (len(series.rows) - WARM_UP) / 168

    @pytest.mark.parametrize("seed", range(20, 30))
    def test_a_quiet_series_is_left_alone(self, seed: int) -> None:
        series = hourly_costs(seed)

        alarms = series.false_alarms(list(scores(series.rows)))

        assert alarms <= (len(series.rows) - WARM_UP) / 168

    def test_the_second_spike_is_found_like_the_first(self) -> None:
        series = hourly_costs(3)
        for day in (10, 17, 24, 31):
            series.plant("spike", day * 24 + 5)

        seen = list(scores(series.rows))

        assert all(hit for _, hit in series.found(seen))

    def test_an_incident_is_told_once(self) -> None:
        series = hourly_costs(5)
        series.plant("drop", 15 * 24)

        seen = list(scores(series.rows))

        assert sum(score >= THRESHOLD for score in seen[15 * 24 : 15 * 24 + 8]) <= 2

    def test_what_would_have_been_normal_is_known_for_the_evidence(self) -> None:
        series = hourly_costs(7)
        before = dict(series.rows)
        series.plant("spike", 20 * 24)
        detector = StreamingDetector(HOUR)

        fed(detector, series.rows[: 20 * 24 + 1])

        center, spread = detector.expected() or (0.0, 0.0)
        assert center == pytest.approx(before[series.rows[20 * 24][0]], rel=0.3)
        assert 0 < spread < center


@pytest.fixture(scope="module")
def told() -> list[tuple[Series, list[float]]]:
    return [(one, list(as_the_rule_sees(one))) for one in map(two_hard_weeks, range(100))]


def as_the_rule_sees(series: Series) -> Iterator[float]:
    """1 for each hour in which the rule `learned` opens an anomaly, as it does live; else 0."""
    detector, rule, state = StreamingDetector(HOUR), Learned().with_minimum(Decimal(0)), None
    for at, value in series.rows:
        score = Decimal(str(detector.update(at, value)))
        center = Decimal(str(max(0.0, (detector.expected() or (0.0, 0.0))[0]))) or None
        reading = SeriesReading("p", "hour", Decimal(str(value)), center, score, Window(at, at + HOUR), detector.away)
        taken = lifecycle.step(state, rule.inspect(reading), rule, at)
        state = taken.state
        yield float(taken.change is lifecycle.Change.OPENED)


class TestTwoHardWeeks:
    def test_there_is_at_most_one_false_alarm_a_week(self, told: list[tuple[Series, list[float]]]) -> None:
        weeks = (2 * 168 - WARM_UP) / 168

        alarms = [series.false_alarms(seen, aftermath=6) for series, seen in told]

        print(f"False alarms a week {sum(alarms) / len(told) / weeks:.2f}; none for {alarms.count(0)} of {len(told)}")
        assert sum(alarms) <= len(told) * weeks

    def test_at_least_nineteen_in_twenty_are_found(self, told: list[tuple[Series, list[float]]]) -> None:
        found = [hit for series, seen in told for hit in series.found(seen, late=0)]

        missed = [kind for kind, hit in found if not hit]
        print(f"Recall {1 - len(missed) / len(found):.1%}, missed {dict(Counter(missed))}")
        assert len(missed) <= 0.05 * len(found), missed


class TestOnePass:
    def test_the_future_is_never_used(self) -> None:
        rows = with_incidents(1).rows

        assert list(scores(rows[:400])) == list(scores(rows))[:400]

    @pytest.mark.parametrize("interval", [timedelta(minutes=5), HOUR, timedelta(days=1)])
    def test_a_restored_detector_goes_on_with_the_same_scores(self, interval: timedelta) -> None:
        rows = [(MONDAY + step * interval, value) for step, (_, value) in enumerate(with_incidents(2).rows)]
        detector = StreamingDetector(interval)
        fed(detector, rows[:500])

        state = detector.state()
        restored = StreamingDetector.restore(state)

        assert len(state) < 50_000
        assert restored.expected() == detector.expected()
        assert fed(restored, rows[500:]) == fed(detector, rows[500:])
        assert restored.state() == detector.state()

    @pytest.mark.parametrize("seconds", [1, 60, 300, 3600, 86_400, 604_800])
    def test_any_interval_will_do(self, seconds: int) -> None:
        draw = random.Random(4)
        rows = [(MONDAY + timedelta(seconds=seconds * step), draw.gauss(10, 1)) for step in range(300)]
        rows[250] = (rows[250][0], 60.0)

        seen = list(scores(rows))

        assert seen[250] == max(seen)
        assert seen[250] >= THRESHOLD

    def test_a_value_takes_far_less_than_a_millisecond(self) -> None:
        rows = [(MONDAY + timedelta(minutes=5 * step), value) for step, (_, value) in enumerate(hourly_costs(6).rows)]
        before = process_time()

        list(scores(rows))

        assert (process_time() - before) / len(rows) < 0.001


class TestOddSeries:
    def test_missing_hours_are_passed_over(self) -> None:
        series = hourly_costs(8)
        series.plant("spike", 21 * 24 + 3)
        rows = [row for hour, row in enumerate(series.rows) if hour % 13 or hour == 21 * 24 + 3]

        seen = dict(zip((at for at, _ in rows), scores(rows), strict=True))

        assert seen[series.rows[21 * 24 + 3][0]] >= THRESHOLD
        assert sum(score >= THRESHOLD for score in seen.values()) <= 5

    def test_none_scores_nothing_and_is_not_learned(self) -> None:
        told, silent = StreamingDetector(HOUR), StreamingDetector(HOUR)

        for hour, (at, value) in enumerate(hourly_costs(9).rows[:300]):
            if hour % 10 == 0:
                assert told.update(at, None) == 0
                assert told.expected() is None
            else:
                assert told.update(at, value) == silent.update(at, value)

    def test_a_long_silence_is_survived(self) -> None:
        rows = hourly_costs(10).rows
        later = [(at + timedelta(days=900), value) for at, value in rows]

        assert all(0 <= score <= 1 for score in scores(rows + later))

    @pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-12, 1e15])
    def test_a_constant_is_no_anomaly_and_a_change_of_it_is(self, value: float) -> None:
        rows = [(MONDAY + hour * HOUR, value) for hour in range(300)]

        seen = list(scores([*rows, (MONDAY + 300 * HOUR, value * 9 + 1)]))

        assert max(seen[:300]) == 0
        assert seen[300] >= THRESHOLD

    def test_huge_and_negative_values_are_taken(self) -> None:
        values = [1e300, -1e300, 0.0, 1e-300, 5.0] * 50

        seen = list(scores((MONDAY + hour * HOUR, value) for hour, value in enumerate(values)))

        assert all(0 <= score <= 1 for score in seen)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_no_number_is_refused_with_a_sentence(self, value: float) -> None:
        detector = StreamingDetector(HOUR)

        with pytest.raises(ValueError, match="send None for a missing one"):
            detector.update(MONDAY, value)

    def test_a_clock_set_back_counts_for_the_last_hour(self) -> None:
        rows = hourly_costs(11).rows[:200]
        rows[150:150] = [(rows[140][0], rows[140][1])] * 5

        assert all(0 <= score <= 1 for score in scores(rows))

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_a_series_may_be_short(self, count: int) -> None:
        assert list(scores(hourly_costs(12).rows[:count])) == [0] * count

    def test_naive_times_count_as_utc(self) -> None:
        rows = with_incidents(13).rows

        assert list(scores((at.replace(tzinfo=None), value) for at, value in rows)) == list(scores(rows))
