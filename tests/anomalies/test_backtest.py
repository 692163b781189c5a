"""A backtest finds in one pass what live detection would have found, and tells how right that was."""

import csv
import gzip
import io
import json
import math
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from alerts.signal import Severity
from anomalies.backtest import bare, labels, plot, report
from anomalies.backtest import series as files
from anomalies.backtest.judge import Judge, Look, unit_score
from anomalies.backtest.labels import Label
from anomalies.backtest.progress import Progress
from anomalies.backtest.run import Question, over_file
from anomalies.backtest.series import Row, UnusableSeries
from anomalies.backtest.trailing import Trailing
from anomalies.detectors import DETECTORS, Window
from anomalies.detectors.learned import scores
from anomalies.detectors.negative_roi import ReturnReading
from costs.attribution import Target
from costs.periods import DAY, HOUR, Span
from finops_project.local.home import SOURCE

START = datetime(2026, 11, 1, tzinfo=UTC)
TARGET = Target(Decimal("0.02"), Decimal(2))
SHARED = SOURCE.parent / "shared"
needs_nab = pytest.mark.skipif(
    not (SHARED / "data/nab").exists(), reason="The series of NAB lie beside the project in CI only."
)


def row(number: int, value: str | None, *, step: timedelta = HOUR) -> Row:
    at = START + step * number
    return Row(f"{at:%Y-%m-%d %H:%M:%S}", at, None if value is None else Decimal(value))


def rows(*values: str | None) -> list[Row]:
    return [row(number, value) for number, value in enumerate(values)]


def judged(rule: str, given: Sequence[Row], target: str = "0.02", **levels: Decimal | None) -> Judge:
    judge = Judge()
    detector = DETECTORS[rule].with_levels(**levels) if levels else DETECTORS[rule]
    reader = bare.READERS[rule](detector, {"series": "x"}, HOUR, Target(Decimal(target), Decimal(2)))
    for _, looks in bare.looks(reader, given):
        for look in looks:
            judge.judge(look)
    return judge


def events(judge: Judge) -> list[tuple[str, int]]:
    """What happened, each with the number of its row."""
    return [(event.change, (event.at - START) // HOUR) for each in judge.incidents for event in each.events]


def write(path: Path, lines: Sequence[str]) -> Path:
    text = "\n".join(["timestamp,value", *lines, ""])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def spike(path: Path) -> Path:
    """Twenty values of 1, then 3 and 5, and calm again."""
    return write(path, [f"{each.text},{each.value}" for each in rows(*["1"] * 20, "3", "5", "1", "1")])


def daily_rhythm(count: int, *, seed: int = 1, step: timedelta = timedelta(minutes=5)) -> list[str]:
    noise = random.Random(seed)
    return [
        f"{START + step * number:%Y-%m-%d %H:%M:%S},"
        f"{10 + 5 * math.sin(number * step / timedelta(days=1) * 2 * math.pi) + noise.gauss(0, 0.5):.6f}"
        for number in range(count)
    ]


class TestReading:
    def read(self, path: Path) -> list[Row]:
        with path.open("rb") as stream:
            return list(files.rows(stream, path))

    @pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
    def test_rows_keep_the_text_of_their_timestamps(self, tmp_path: Path, name: str) -> None:
        found = self.read(write(tmp_path / name, ["2014-04-01 00:00:00,1.5", "2014-04-01T02:05:00+02:00,-2e-3"]))

        assert [each.text for each in found] == ["2014-04-01 00:00:00", "2014-04-01T02:05:00+02:00"]
        assert [each.at.isoformat() for each in found] == ["2014-04-01T00:00:00+00:00", "2014-04-01T00:05:00+00:00"]
        assert [each.value for each in found] == [Decimal("1.5"), Decimal("-0.002")]

    def test_other_columns_and_missing_values_are_no_error(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text("host, Value ,Timestamp\na,,2014-04-01 00:00:00\n\n")

        assert [(each.text, each.value) for each in self.read(path)] == [("2014-04-01 00:00:00", None)]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "must begin with a line that names the columns timestamp and value"),
            (b"at,value\n", "must begin with a line that names the columns timestamp and value"),
            (b"timestamp,value\n2014-04-01 00:00:00\n", "Line 2 has too few columns"),
            (b"timestamp,value\nyesterday,1\n", "Line 2: the timestamp must look like 2014-04-01 00:00:00"),
            (b"timestamp,value\n2014-04-01 00:00:00,NaN\n", "Line 2: the value must be a number"),
            (b"timestamp,value\n2014-04-01 00:00:00,1e999\n", "Line 2: the value is larger than"),
            (b"timestamp,value\n2014-04-01 00:00:00,\xff\n", "cannot be read"),
            (b'timestamp,value\n"2014,1\n', "is no CSV"),
            (
                b"timestamp,value\n2014-04-01 00:05:00,1\n2014-04-01 00:05:00,1\n2014-04-01 00:00:00,1\n",
                "Line 4: 2014-04-01 00:00:00 is earlier than 2014-04-01 00:05:00 before it; sort the file by time",
            ),
        ],
    )
    def test_what_is_no_series_is_refused_with_a_sentence(self, tmp_path: Path, content: bytes, sentence: str) -> None:
        path = tmp_path / "x.csv"
        path.write_bytes(content)

        with pytest.raises(UnusableSeries, match=sentence):
            self.read(path)

    def test_a_file_that_is_cut_off_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv.gz"
        path.write_bytes(gzip.compress(b"timestamp,value\n" + b"2014-04-01 00:00:00,1\n" * 1000)[:-20])

        with pytest.raises(UnusableSeries, match="cannot be read"):
            self.read(path)

    def test_the_step_is_the_usual_distance(self) -> None:
        assert files.step([row(0, "1"), row(1, "1"), row(2, "1"), row(9, "1")]) == HOUR
        assert files.step([row(0, "1")]) == HOUR


class TestTrailing:
    def test_it_forgets_what_is_older_than_a_week(self) -> None:
        week = Trailing()
        for day in range(10):
            week.add(START + timedelta(days=day), Decimal(day))

        week.forget(START + timedelta(days=9))

        assert (len(week), week.median, week.mean, week.days) == (8, Decimal(5), Decimal("5.5"), 8)


class TestBareSeries:
    def test_a_spike_opens_escalates_and_ends(self) -> None:
        judge = judged("cost_spike", rows(*["1"] * 20, "3", "5", "1", "1", "1"), target="1")

        assert events(judge) == [("opened", 20), ("escalated", 21), ("resolved", 23)]
        (incident,) = judge.incidents
        assert (incident.severity, incident.worst.current, incident.worst.baseline) == (
            Severity.CRITICAL,
            Decimal(5),
            Decimal(1),
        )

    def test_what_came_above_the_baseline_after_the_opening_could_have_been_saved(self) -> None:
        judge = judged("cost_spike", rows(*["1"] * 20, "4", "5", "6", "1", "1"), target="1")

        assert judge.incidents[0].excess == (5 - 1) + (6 - 1)

    def test_the_target_is_the_baseline_of_a_spike_until_there_are_twenty_values(self) -> None:
        assert events(judged("cost_spike", rows(*["0.02"] * 18, "0.05"))) == []
        assert events(judged("cost_spike", rows("0.05", "0.06"))) == [("opened", 1)]
        assert events(judged("cost_spike", rows(*["0.05"] * 20, "0.14", "0.15"))) == [("opened", 21)]

    def test_a_threshold_is_crossed_above_it_only(self) -> None:
        assert events(judged("cost_threshold", rows("0.039", "0.04"))) == []
        assert events(judged("cost_threshold", rows("0.039", "0.041"))) == [("opened", 1)]

    def test_efficiency_falls_against_the_mean_of_the_week(self) -> None:
        three_days = ["100"] * 72

        assert events(judged("efficiency_drop", rows(*three_days, "71"))) == []
        assert events(judged("efficiency_drop", rows(*three_days, "70"))) == [("opened", 72)]
        assert events(judged("efficiency_drop", rows(*["100"] * 40, "10"))) == [], "two days are no baseline"

    def test_a_return_and_a_budget_are_percentages(self) -> None:
        assert events(judged("negative_roi", rows("-49", "-50", "-55"))) == [("opened", 1), ("escalated", 2)]
        assert events(judged("budget_overrun", rows("79", "80", "95", "1"))) == [
            ("opened", 1),
            ("escalated", 2),
            ("resolved", 3),
        ]

    def test_no_data_is_a_gap_or_rows_without_a_value(self) -> None:
        values = ["1"] * 120

        missing = [*rows(*values), row(123, "1")]
        empty = rows(*values, None, None, None, "1")

        assert (
            events(judged("no_data", missing))
            == events(judged("no_data", empty))
            == [("opened", 122), ("resolved", 123)]
        )
        assert events(judged("no_data", [*rows(*values), row(121, "1")])) == []

    def test_levels_replace_all_others(self) -> None:
        given = rows(*["1"] * 20, "2", "9")

        judge = judged("cost_spike", given, "1", low=None, medium=Decimal(2), high=None, critical=None)

        assert events(judge) == [("opened", 20)]
        assert judge.incidents[0].severity is Severity.MEDIUM

    @pytest.mark.parametrize("rule", sorted(bare.READERS))
    def test_nothing_found_so_far_depends_on_what_comes_later(self, rule: str) -> None:
        noise = random.Random(7)
        values = [f"{noise.choice([1, 1, 1, 3, 6]) * noise.uniform(10, 20):.3f}" for _ in range(300)]
        if rule == "negative_roi":
            values = [f"-{value}" for value in values]
        given = [each for each in rows(*values) if rule != "no_data" or noise.random() > 0.05 or each.at == START]

        for cut in (100, 200, len(given) - 5):
            until = given[cut - 1].at
            early = [each for each in events(judged(rule, given)) if START + HOUR * each[1] <= until]
            assert events(judged(rule, given[:cut])) == early


class TestScores:
    @pytest.mark.parametrize("rule", ["cost_spike", "efficiency_drop", "negative_roi", "budget_overrun", "no_data"])
    def test_they_grow_with_the_rules_own_and_are_one_half_at_its_first_level(self, rule: str) -> None:
        detector = DETECTORS[rule]
        entry = detector.levels.entry or Decimal(0)
        worse = -1 if detector.levels.falling else 1

        found = [
            unit_score(detector.judge(entry + worse * Decimal(step), current=Decimal(0)), detector)
            for step in ("-1000", "-1", "0", "1", "1000")
        ]

        assert found == sorted(found)
        assert len(set(found)) == 5
        assert found[2] == 0.5
        assert min(found) > 0
        assert max(found) < 1
        assert unit_score(None, detector) == 0


class TestLabels:
    def incidents(self, *spans: tuple[int, int]) -> Judge:
        judge = Judge()
        for start, end in spans:
            for number, value in ((start, "100"), (end, "1"), (end, "1")):
                for look in bare.budget_overrun(DETECTORS["budget_overrun"], {}, HOUR, TARGET).looks(
                    row(number, value)
                ):
                    judge.judge(look)
        return judge

    def label(self, start: int, end: int) -> Label:
        return Label(START + HOUR * start, START + HOUR * end)

    def test_windows_are_found_by_alerts_in_them_and_incidents_are_right_in_windows(self) -> None:
        judge = self.incidents((5, 6), (12, 13), (20, 40))

        found = labels.agreement(judge.incidents, [self.label(4, 8), self.label(10, 14), self.label(30, 31)])

        assert (found.windows, found.found, found.incidents, found.right) == (3, 2, 3, 2)
        assert (found.recall, found.precision) == (2 / 3, 2 / 3)
        assert found.delay == 2 * HOUR

    def test_both_ends_of_a_window_belong_to_it(self) -> None:
        judge = self.incidents((4, 5), (8, 9))

        assert labels.agreement(judge.incidents, [self.label(4, 8)]).right == 2
        assert labels.agreement(judge.incidents, [self.label(5, 7)]).right == 0

    def test_without_windows_or_incidents_there_is_nothing_to_divide_by(self) -> None:
        nothing = labels.agreement([], [])

        assert (nothing.recall, nothing.precision, nothing.delay) == (None, None, None)

    def test_a_csv_names_starts_and_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.csv"
        path.write_text("start,end\n2026-11-01 04:00:00,2026-11-01T08:00:00Z\n")

        assert labels.read(path, "x.csv") == [self.label(4, 8)]

    def test_nabs_json_is_known_by_the_end_of_the_files_name(self, tmp_path: Path) -> None:
        window, other = ["2026-11-01 04:00:00", "2026-11-01 08:00:00"], ["2026-11-02", "2026-11-02"]
        path = tmp_path / "windows.json"
        path.write_text(json.dumps({"real/b.csv": [other], "real/a_b.csv": [window], "c.csv": []}))

        assert labels.read(path, "numenta_a_b.csv.gz") == [self.label(4, 8)]
        assert labels.read(path, "c.csv") == []

    @pytest.mark.parametrize(
        ("name", "content", "sentence"),
        [
            ("x.csv", "from,to\n", "columns start and end"),
            ("x.csv", "start,end\n2026-11-02,2026-11-01\n", "Label 1 ends before it starts"),
            ("x.csv", "start,end\n2026-11-02\n", "Label 1: the timestamp"),
            ("x.json", "[]", "must hold an object"),
            ("x.json", "{", "cannot be read"),
            ("x.json", '{"y.csv": []}', "has no labels for x.csv"),
            ("x.json", '{"x.csv": [1]}', "must hold pairs"),
        ],
    )
    def test_others_are_refused_with_a_sentence(self, tmp_path: Path, name: str, content: str, sentence: str) -> None:
        path = tmp_path / name
        path.write_text(content)

        with pytest.raises(UnusableSeries, match=sentence):
            labels.read(path, "x.csv")


class TestFiles:
    def test_the_table_tells_what_would_have_fired_and_what_it_cost(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "x.csv", [f"{each.text},{each.value}" for each in rows(*["1"] * 20, "3", "5", "1", "1")]
        )

        run = over_file(Question("cost_spike"), path, baseline=Decimal(1))

        told = "\n".join(report.table(run))
        assert "2026-11-01 20:00:00  2026-11-01 23:00:00  critical  x.csv" in told
        assert "1 incident: 1 critical." in told
        assert "medium from 3, high from 3.5, critical from 5." in told
        assert "Above the baseline after they had opened: 4," in told

    def test_a_page_holds_everything_and_asks_for_nothing(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "x.csv", [f"{each.text},{each.value}" for each in rows(*["1"] * 20, "3", "5", "1", "1")]
        )
        known = tmp_path / "labels.csv"
        known.write_text("start,end\n2026-11-01 19:00:00,2026-11-01 22:00:00\n")

        page = report.page(over_file(Question("cost_spike", labels=known, with_plot=True), path, baseline=Decimal(1)))

        assert page.count("<figure>") == 1
        assert 'class="baseline"' in page
        assert 'class="label"' in page
        assert "<title>opened medium at 2026-11-01 20:00:00Z</title>" in page
        assert "prefers-color-scheme:dark" in page
        assert not re.search(r"https?:|src=|@import|url\(", page)

    def test_what_a_file_is_called_is_text_in_the_page(self, tmp_path: Path) -> None:
        path = write(tmp_path / "<script>.csv", ["2026-11-01 00:00:00,1"])

        page = report.page(over_file(Question("cost_spike", with_plot=True), path))

        assert "<script>" not in page

    def test_a_long_series_is_drawn_by_its_extremes(self) -> None:
        panel = plot.Panel("x")
        judge, reader = Judge(), bare.budget_overrun(DETECTORS["budget_overrun"], {}, HOUR, TARGET)
        for number in range(30_000):
            (look,) = reader.looks(row(number, "99" if number == 12_345 else "1"))
            panel.add(judge.judge(look))

        page = plot.render(plot.Page("x", [], "percent", [panel], {}))

        assert len(panel.points) < plot.MOST_POINTS
        assert max(point.value for point in panel.points) == 99
        assert len(page) < 100_000

    def test_what_is_too_little_to_judge_is_drawn_where_it_has_a_value(self) -> None:
        panel, judge, rule = plot.Panel("x"), Judge(), DETECTORS["negative_roi"]
        for number, cost in enumerate(["0", "0.01", "10"]):
            reading = ReturnReading("p", Decimal(cost) / 2, Decimal(cost), Window(START, START))
            panel.add(judge.judge(Look(START + HOUR * number, rule, reading.scope, reading)))

        assert [((point.at - START) // HOUR, point.value) for point in panel.points] == [(1, -50), (2, -50)]
        assert [incident.opened_at for incident in judge.incidents] == [START + HOUR * 2]

    def test_the_axis_of_time_covers_the_whole_span(self) -> None:
        panel, reader = plot.Panel("x"), bare.budget_overrun(DETECTORS["budget_overrun"], {}, HOUR, TARGET)
        for look in reader.looks(row(0, "99")):
            panel.add(Judge().judge(look))

        page = plot.render(plot.Page("x", [], "percent", [panel], {}, span=Span(START - 12 * DAY, START)))

        times = re.findall(r'class="time[^>]*>([^<]+)<', page)
        assert times == ["20 Oct 2026", "23 Oct 2026", "26 Oct 2026", "29 Oct 2026", "1 Nov 2026"]

    def test_a_minute_is_written_in_seconds(self) -> None:
        panel, reader = plot.Panel("x"), bare.budget_overrun(DETECTORS["budget_overrun"], {}, HOUR, TARGET)
        for look in reader.looks(row(0, "99")):
            panel.add(Judge().judge(look))

        page = plot.render(plot.Page("x", [], "%", [panel], {}, span=Span(START, START + timedelta(minutes=1))))

        assert re.findall(r'class="time[^>]*>([^<]+)<', page) == [
            "00:00:00", "00:00:15", "00:00:30", "00:00:45", "00:01:00",
        ]  # fmt: skip


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_alone(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with neither database nor broker."""
    nowhere = f"127.0.0.1:{closed_port()}"
    return subprocess.run(
        [sys.executable, "manage.py", "backtest", *map(str, arguments)],
        cwd=SOURCE,
        env=os.environ
        | {
            "DATABASE_URL": f"postgresql://nobody@{nowhere}/none",
            "REDIS_URL": f"redis://{nowhere}/0",
            "FINOPS_ENV": "development",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestProgress:
    def shown(self, monkeypatch: pytest.MonkeyPatch, *, terminal: bool, seconds: float) -> str:
        stream, clock = io.StringIO(), iter([0.0, seconds, seconds])
        monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
        monkeypatch.setattr("anomalies.backtest.progress.time.monotonic", lambda: next(clock))
        progress = Progress(stream, "learned")
        progress.show(50, 100)
        return stream.getvalue()

    def test_a_bar_is_for_terminals_and_a_line_for_what_takes_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "\rlearned [###############               ]  50%" in self.shown(monkeypatch, terminal=True, seconds=1)
        assert self.shown(monkeypatch, terminal=False, seconds=1) == ""
        assert self.shown(monkeypatch, terminal=False, seconds=6).endswith(" 50%\n")


class TestTheCommandOnAFile:
    def test_it_needs_no_server_and_scores_every_row(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.csv.gz", daily_rhythm(600))

        done = run_alone("--rule", "learned", "--csv", path, "--format", "nab", "--output", tmp_path / "out.csv")

        assert (done.returncode, done.stderr) == (0, "")
        with (tmp_path / "out.csv").open() as out:
            told = list(csv.DictReader(out))
        assert [each["timestamp"] for each in told] == [line.split(",")[0] for line in daily_rhythm(600)]
        assert all(0 <= float(each["anomaly_score"]) <= 1 for each in told)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["out.csv", "x.csv.gz"]

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--rule", "nonsense", "--csv", "x.csv"], "--rule must be one of"),
            (["--rule", "burn_rate", "--csv", "x.csv"], "cannot read a bare series"),
            (["--rule", "learned", "--csv", "absent.csv"], "absent.csv: No such file or directory"),
            (["--rule", "learned", "--csv", "x.csv", "--persona", "p"], "--persona choose stored costs"),
            (["--rule", "learned", "--format", "nab"], "--format nab scores the rows of a file"),
            (["--rule", "learned", "--csv", "x.csv", "--plot", "x.png"], "--plot must end in .html"),
            (["--rule", "learned", "--csv", "x.csv", "--levels", "huge=3"], "--levels must look like"),
            (["--rule", "learned", "--csv", "x.csv", "--levels", "medium=x"], "--levels needs a number"),
            (["--rule", "cost_spike", "--csv", "x.csv", "--levels", "medium=3,high=2"], "must get higher"),
            (["--rule", "negative_roi", "--csv", "x.csv", "--levels", "medium=-50,high=-20"], "must get lower"),
            (["--rule", "cost_spike", "--csv", "x.csv", "--baseline", "0"], "--baseline must be above 0"),
            (["--rule", "cost_spike", "--baseline", "1"], "--baseline is for --csv"),
            (["--rule", "cost_spike", "--labels", "x.json"], "JSON labels are known by the name of a file"),
            (["--rule", "cost_spike", "--csv", "x.csv", "--output", "absent/x"], "No such file or directory"),
        ],
    )
    def test_errors_are_sentences(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
    ) -> None:
        write(tmp_path / "x.csv", ["2026-11-01 00:00:00,1"])
        monkeypatch.chdir(tmp_path)

        with pytest.raises(CommandError, match=re.escape(sentence)):
            call_command("backtest", *arguments)

    def test_a_file_that_breaks_off_leaves_no_half_of_a_result(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.csv", ["2026-11-01 00:00:00,1", "2026-11-01 01:00:00,one"])

        with pytest.raises(CommandError, match="Line 3"):
            call_command("backtest", "--rule", "learned", "--csv", path, "--output", tmp_path / "out.csv")

        assert [each.name for each in tmp_path.iterdir()] == ["x.csv"]

    def test_json_tells_everything_exactly(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.csv", [f"{each.text},{each.value}" for each in rows("0.02", "0.1", "0.1")])
        out = io.StringIO()

        call_command("backtest", "--rule", "cost_spike", "--csv", path, "--format", "json", stdout=out)

        told = json.loads(out.getvalue(), parse_float=Decimal)
        (incident,) = told["incidents"]
        assert (incident["severity"], incident["opened_at"]) == ("critical", "2026-11-01T01:00:00Z")
        assert (incident["multiplier"], incident["above_since_opened"]) == (5, Decimal("0.08"))

    def test_its_scores_are_those_of_the_detector_alone(self, tmp_path: Path) -> None:
        given, found = daily_rhythm(600), list[float]()

        over_file(Question("learned"), write(tmp_path / "x.csv", given), scored=lambda row, score: found.append(score))

        cells = [line.split(",") for line in given]
        assert found == list(scores((datetime.fromisoformat(at), float(value)) for at, value in cells))

    @needs_nab
    def test_its_scores_are_those_that_the_nab_scorer_reads(self, tmp_path: Path) -> None:
        name = "exchange-2_cpc_results.csv"
        results = tmp_path / "realAdExchange"
        results.mkdir()
        data = SHARED / f"data/nab/data/realAdExchange/{name}.gz"
        call_command("backtest", "--rule", "learned", "--csv", data, "--format", "nab", "--output", results / name)

        scorer, known = SHARED / "tools/nab_score.py", SHARED / "data/nab/labels/combined_windows.json"
        asked = ["--labels", str(known), "--results", str(tmp_path), "--only", f"realAdExchange/{name}", "--json"]
        scored = subprocess.run([sys.executable, str(scorer), *asked], capture_output=True, text=True, check=True)

        assert json.loads(scored.stdout)["standard"]["files"] == 1
