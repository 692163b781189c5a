"""The harness itself: its arithmetic, its workload, and one tiny run of everything."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.report import table
from bench.rounds import Contest, Shared, Trial, measure, quantile, shown
from bench.workload import MODELS, OPERATIONS, PERSONAS, Workload, generated_tokens
from costs.booking import book
from costs.events import completed, encode, parse
from costs.pricing import PriceBook
from finops_project.local.home import SOURCE

RUN_SECONDS = 500
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def trial(name: str, readings: list[float]) -> Trial:
    """Gives these readings one after the other, the first of them to the warm-up."""
    return Trial(name, lambda count: readings.pop(0), 100, f"how {name} is measured")


def test_a_figure_is_the_median_and_its_ratio_the_median_of_the_rounds() -> None:
    yardstick = trial("plain", [1, 100, 50, 100])
    figure = trial("engine", [1, 200, 200, 300])

    plain, engine = measure(Contest(yardstick, [figure]), runs=3, scale=1, tell=lambda text: None)

    assert (plain.value, plain.yardstick, plain.ratio) == (100, None, None)
    assert (engine.value, engine.yardstick, engine.ratio, engine.runs) == (200, "plain", 3.0, 3)


def test_figures_and_yardstick_take_turns() -> None:
    turns: list[str] = []

    def noting(name: str) -> Trial:
        def run(count: int) -> float:
            turns.append(name)
            return 1.0

        return Trial(name, run, 10, "")

    contest = Contest(noting("a"), [noting("b")])
    measure(contest, runs=2, scale=1, tell=lambda text: None)

    assert turns == ["a", "b"] * 3, "one warm-up and two rounds"


def test_a_ratio_may_be_taken_to_another_figure_of_the_contest() -> None:
    quiet, loaded = trial("quiet", [1, 10, 20]), replace(trial("loaded", [1, 30, 30]), beside="quiet")
    contest = Contest(trial("plain", [1, 1, 1]), [quiet, loaded, trial("other", [1, 1, 1])])

    plain, yardstick, figure = measure(contest.only(["loaded"]), runs=2, scale=1, tell=lambda text: None)

    assert (plain.name, yardstick.name, yardstick.ratio) == ("plain", "quiet", None)
    assert (figure.yardstick, figure.ratio) == ("quiet", 2.25)


def test_one_measurement_gives_each_figure_one_reading() -> None:
    counts: list[int] = []
    shared = Shared(lambda count: counts.append(count) or len(counts))  # type: ignore[func-returns-value]

    taken = [shared.take(name, 10) for name in ("p95", "p50", "p95", "p50", "p50")]

    assert taken == [1, 1, 2, 2, 3]
    assert shared.take("p95", 20) == 4, "another count is another measurement"


def test_the_95th_percentile_is_a_reading_that_one_in_twenty_exceeds() -> None:
    readings = [float(number) for number in range(20, 0, -1)]

    assert quantile(readings, 0.95) == 19
    assert quantile(readings, 0.5) == 10
    assert quantile([7.0], 0.95) == 7


def test_small_figures_keep_their_decimals() -> None:
    assert [shown(value) for value in (0.264, 30, 1234.6)] == ["0.26", "30.00", "1,235"]


def test_the_table_has_one_line_for_each_figure_under_its_head() -> None:
    figures = measure(Contest(trial("plain", [1, 1234]), []), runs=1, scale=1, tell=lambda text: None)

    head, line = table(figures).splitlines()

    assert head.split()[:3] == ["figure", "value", "unit"]
    assert "1,234" in line
    assert "how plain is measured; 100 events a run" in line


def test_the_workload_has_the_promised_shape_and_never_repeats_itself() -> None:
    workload = Workload(generated_tokens(1000))

    events, more = workload.events(10_000, at=AT), workload.events(100, at=AT)

    # The last post is cut off by the count.
    *sizes, _last = Counter(event["post_id"] for event in events).values()
    assert (min(sizes), max(sizes)) == (3, 12)
    assert {event["post_id"] for event in events}.isdisjoint(event["post_id"] for event in more)
    assert len({event["event_id"] for event in events + more}) == 10_100
    assert {event["persona_id"] for event in events} == set(PERSONAS)
    assert {event["operation"] for event in events} == set(OPERATIONS)
    assert {(event["provider"], event["model"]) for event in events} == set(MODELS)


def test_every_event_of_the_workload_has_a_price() -> None:
    bodies = [encode(fields) for fields in Workload(generated_tokens(1000)).events(1000, at=AT)]

    booked = book([completed(parse(body), AT) for body in bodies], source="bench", prices=PriceBook())

    assert not booked.refused
    assert {line.unpriced for line in booked.lines} == {0}


@pytest.mark.slow
@pytest.mark.timeout(RUN_SECONDS + 20)
def test_a_tiny_run_measures_everything_and_leaves_a_file(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"

    result = run_bench("--runs", "1", "--scale", "0.01", "--output", str(output))

    assert result.returncode == 0, result.stderr
    figures = json.loads(output.read_text())["figures"]
    assert {"drain", "delay_single", "http_1", "http_100", "http_1000", "ingest_batch", "raw_copy"} <= figures.keys()
    assert set(figures["drain"]) == {"value", "unit", "yardstick", "ratio", "runs", "conditions"}
    assert figures["drain"]["yardstick"] == "raw_copy"
    assert figures["ingest_batch"]["yardstick"] == "naive_celery_orm"
    assert figures["detect_to_alert_p95"]["unit"] == "s"
    assert figures["detect_to_alert_p50"]["value"] <= figures["detect_to_alert_p95"]["value"] < 30
    assert figures["load_queries"]["yardstick"] == "specified_queries"
    assert figures["summary_loaded_p95"]["yardstick"] == "summary_quiet_p95"
    assert all(figure["value"] > 0 for figure in figures.values())


def test_an_unknown_figure_is_refused_with_a_sentence(tmp_path: Path) -> None:
    result = run_bench("--only", "everything", "--output", str(tmp_path / "bench.json"))

    assert result.returncode == 1
    assert "everything is not measured here; known are stock_delay" in result.stderr


def run_bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
