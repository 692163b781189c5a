"""`python -m bench`: measure, print one table, write one file."""

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import report
from bench.rounds import Contest, Figure, measure
from bench.stand import servers
from finops_project.local.home import SOURCE, LocalStackError
from tests.servers import Server

RUNS, QUICK_RUNS, QUICK_SCALE = 5, 1, 0.1
OUTPUT = SOURCE / ".run" / "bench.json"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        with servers() as running:
            _measure_and_report(running, options)
    except LocalStackError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _measure_and_report(running: Mapping[str, Server], options: argparse.Namespace) -> None:
    # Models exist only after servers() has set Django up.
    from bench.contests import contests
    from bench.supply import Supply

    supply, started = Supply(), time.monotonic()
    setting = f"{report.machine()}; {supply.described}"
    print(f"bench: {setting}")
    figures = _measured(_wanted(contests(supply, running), options.only), options)
    print(f"\n{report.table(figures)}\n")
    report.write(figures, options.output, setting)
    print(f"{len(figures)} figures in {time.monotonic() - started:.0f} s, also in {options.output}")


def _wanted(known: Sequence[Contest], names: Sequence[str]) -> list[Contest]:
    all_names = [trial.name for contest in known for trial in contest.everyone]
    if unknown := set(names) - set(all_names):
        raise LocalStackError(f"{', '.join(sorted(unknown))} is not measured here; known are {', '.join(all_names)}.")
    wanted = names or all_names
    return [contest.only(wanted) for contest in known if contest.is_wanted(wanted)]


def _measured(wanted: Sequence[Contest], options: argparse.Namespace) -> list[Figure]:
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    scale = options.scale * (QUICK_SCALE if options.quick else 1)
    return [figure for contest in wanted for figure in measure(contest, runs=runs, scale=scale, tell=_tell)]


def _tell(text: str) -> None:
    print(f"bench: {text}", flush=True)


def _end(*_: object) -> None:
    """An end from outside leaves no servers behind either; a second signal must not cut the cleaning up short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of a tenth of the events")
    parser.add_argument("--runs", type=int, default=0, help=f"runs of each figure (default {RUNS})")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the usual number of events")
    parser.add_argument("--only", nargs="+", default=[], metavar="FIGURE", help="these figures and their yardsticks")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    return parser


if __name__ == "__main__":
    sys.exit(main())
