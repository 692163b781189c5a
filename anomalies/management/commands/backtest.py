"""Show what a rule would have done: over a stored period, or over a CSV file, in one pass as if live. Or what the
breaker and hard budgets would have done, and saved.

manage.py backtest --rule cost_spike --from 2026-11-01 --to 2026-11-14 --levels medium=3,high=4 --plot spikes.html
manage.py backtest --rule learned --csv series.csv.gz --labels labels.csv
manage.py backtest --rule learned --csv series.csv --format nab --output scores.csv
manage.py backtest --policy
manage.py backtest --policy spike_from=4 stay_seconds=30 is_observing=false --persona ai_jesus

A CSV file needs no database and no server. Its value is what the rule compares: a cost, a return in percent, …
"""

import csv
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import Error
from django.utils.timezone import now

from anomalies.backtest import report, report_policy, terms
from anomalies.backtest.progress import Progress
from anomalies.backtest.replay import GRAINS
from anomalies.backtest.report import Run
from anomalies.backtest.run import Question, over_file, over_ledger
from anomalies.backtest.run_policy import over_policy
from anomalies.backtest.series import UnusableSeries, instant
from anomalies.backtest.terms import UnusablePolicy
from anomalies.detectors import DETECTORS
from costs.events import PLAIN_NUMBER
from costs.periods import DAY, HOUR, LONGEST, InvalidQuery, Span, ceiling, floor, parse_period
from costs.rendering import encode

SEVERITIES = ("low", "medium", "high", "critical")
DEFAULT_SPAN = timedelta(days=14)
OF_RULES = {option: f"--{option}" for option in ("csv", "levels", "baseline", "labels", "plot")}
OF_LEDGER = {"persona": "--persona", "start": "--from", "end": "--to"}


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        asked = parser.add_mutually_exclusive_group(required=True)
        asked.add_argument("--rule", metavar="RULE", help=f"one of {', '.join(DETECTORS)}")
        asked.add_argument(
            "--policy",
            nargs="*",
            metavar="FIELD=VALUE",
            help="the controls, with these fields of all policies",
        )
        parser.add_argument("--csv", type=Path, metavar="FILE", help="columns timestamp and value, also packed (.gz)")
        parser.add_argument("--persona", action="append", metavar="NAME", help="may be repeated; default: everybody")
        parser.add_argument("--from", dest="start", metavar="TIME", help="a date or RFC 3339; default: 14 days earlier")
        parser.add_argument("--to", dest="end", metavar="TIME", help="a date, included, or RFC 3339; default: now")
        parser.add_argument("--grain", choices=list(GRAINS), default="hour", help="of the learned rule")
        parser.add_argument("--levels", metavar="medium=3,high=3.5", help="instead of all levels of the rule")
        parser.add_argument("--baseline", metavar="NUMBER", help="of cost_spike, for a file's first twenty values")
        parser.add_argument("--labels", type=Path, metavar="FILE", help="CSV start,end or JSON {file: [[start, end]]}")
        parser.add_argument("--plot", type=Path, metavar="FILE", help="a page to look at (.html)")
        parser.add_argument("--format", choices=["table", "json", "nab"], default="table")
        parser.add_argument("--output", type=Path, metavar="FILE", help="instead of the terminal")

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        try:
            if options["policy"] is not None:
                self._try_policy(options)
                return
            run = self._run(options)
            if options["plot"]:
                with self._writing(options["plot"]) as out:
                    out.write(report.page(run))
        except (UnusableSeries, UnusablePolicy, InvalidQuery) as error:
            raise CommandError(str(error)) from None
        except Error as error:
            raise CommandError(f"The database does not answer: {error}") from None
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from None

    def _run(self, options: dict[str, Any]) -> Run:
        progress = Progress(sys.stderr, options["rule"])
        question = Question(
            options["rule"],
            levels=_levels(options["rule"], options["levels"]),
            labels=options["labels"],
            with_plot=bool(options["plot"]),
            passed=progress.show,
        )
        with self._writing(options["output"]) as out:
            if options["format"] == "nab":
                lines = csv.writer(out, lineterminator="\n")
                lines.writerow(["timestamp", "anomaly_score"])
                run = over_file(
                    question,
                    options["csv"],
                    baseline=_baseline(options),
                    scored=lambda row, score: lines.writerow([row.text, repr(score)]),
                )
            elif options["csv"]:
                run = over_file(question, options["csv"], baseline=_baseline(options))
            else:
                run = over_ledger(question, _span(options, now()), options["persona"] or [], options["grain"])
            progress.finish()
            if options["format"] == "table":
                out.write("\n".join(report.table(run)) + "\n")
            elif options["format"] == "json":
                out.write(encode(report.told(run)).decode() + "\n")
        return run

    def _try_policy(self, options: dict[str, Any]) -> None:
        changes, at = terms.parse(options["policy"]), now()
        progress = Progress(sys.stderr, "controls")
        with self._writing(options["output"]) as out:
            trial = over_policy(changes, _span(options, at), options["persona"] or [], at=at, passed=progress.show)
            progress.finish()
            if options["format"] == "json":
                out.write(encode(report_policy.told(trial)).decode() + "\n")
            else:
                out.write("\n".join(report_policy.table(trial)) + "\n")

    @contextmanager
    def _writing(self, path: Path | None) -> Iterator[TextIO | OutputWrapper]:
        """The terminal, or a file that is there only once it is whole."""
        if path is None:
            yield self.stdout
            return
        unfinished = path.with_name(f".{path.name}.part")
        try:
            with unfinished.open("w", encoding="utf-8", newline="") as stream:
                yield stream
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def _check(options: dict[str, Any]) -> None:
    if options["policy"] is not None:
        if given := [name for option, name in OF_RULES.items() if options[option]]:
            raise CommandError(f"{', '.join(given)} belong to --rule: leave them out, or --policy.")
        if options["format"] == "nab":
            raise CommandError("--format nab scores the rows of a file: name it with --rule and --csv.")
        return
    if options["rule"] not in DETECTORS:
        raise CommandError(f"--rule must be one of {', '.join(DETECTORS)}.")
    if options["csv"]:
        if given := [name for option, name in OF_LEDGER.items() if options[option]]:
            raise CommandError(f"{', '.join(given)} choose stored costs: leave them out, or --csv.")
    elif options["format"] == "nab":
        raise CommandError("--format nab scores the rows of a file: name it with --csv.")
    elif options["baseline"]:
        raise CommandError("--baseline is for --csv: stored costs have baselines of their own.")
    elif options["labels"] and options["labels"].suffix.lower() == ".json":
        raise CommandError("JSON labels are known by the name of a file: name it with --csv, or give a CSV start,end.")
    if options["plot"] and options["plot"].suffix.lower() not in (".html", ".htm"):
        raise CommandError("--plot must end in .html.")


def _levels(rule: str, text: str | None) -> dict[str, Decimal | None]:
    """Severities that are not named are never reached, as in a stored policy."""
    if text is None:
        return {}
    given: dict[str, Decimal | None] = dict.fromkeys(SEVERITIES)
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in SEVERITIES or given[name] is not None:
            raise CommandError(f"--levels must look like medium=3,high=3.5, each of {', '.join(SEVERITIES)} once.")
        given[name] = _number("--levels", number)
    levels = [level for level in given.values() if level is not None]
    falls = DETECTORS[rule].levels.falling
    if levels != sorted(levels, reverse=falls):
        raise CommandError(f"--levels must get {'lower' if falls else 'higher'} with the severity.")
    return given


def _number(option: str, text: str) -> Decimal:
    if not PLAIN_NUMBER.fullmatch(text):
        raise CommandError(f"{option} needs a number such as 3.5, not {text[:50]!r}.")
    return Decimal(text)


def _baseline(options: dict[str, Any]) -> Decimal | None:
    if options["baseline"] is None:
        return None
    baseline = _number("--baseline", options["baseline"])
    if baseline <= 0:
        raise CommandError("--baseline must be above 0.")
    return baseline


def _span(options: dict[str, Any], at: datetime) -> Span:
    """Full hours, but never beyond `at`, which is the end where none is named."""
    zone = ZoneInfo("UTC")
    _check_past("--from", options["start"], at)
    _check_past("--to", options["end"], at)
    earliest = floor(at - LONGEST + DAY, HOUR)
    start, end = options["start"] or earliest.isoformat(), options["end"] or at.isoformat()
    try:
        span = parse_period(start, end, zone)
    except InvalidQuery as error:
        option = {"start_date": "--from", "end_date": "--to"}[error.field]
        after = "--from" if options["start"] else f"{earliest:%Y-%m-%d}"
        raise CommandError(f"{option} {error.sentence.replace('start_date', after)}.") from None
    until = min(ceiling(span.end, HOUR), at)
    return Span(floor(span.start if options["start"] else until - DEFAULT_SPAN, HOUR), until)


def _check_past(option: str, text: str | None, at: datetime) -> None:
    """A date is a time of its first moment here: today may be named, tomorrow may not."""
    with suppress(UnusableSeries):
        if text and instant(text, option) > at:
            raise CommandError(f"{option} {text} lies in the future: it is {at:%Y-%m-%dT%H:%M:%SZ} now.")
