"""`python -m bench.scale`: the same figures with one, five and ten million lines in the ledger, and their curves.

The ledger is filled by SQL on throw-away servers, which takes a minute or two for each million.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import report
from bench.rounds import quantile
from bench.stand import servers
from finops_project.local.home import SOURCE, LocalStackError

MILLION = 1_000_000
SIZES = (1, 5, 10)
OUTPUT = SOURCE / ".run" / "bench-scale.json"
ROUNDS = 5
# Milliseconds. Of what has no promise of its own, ten million may take 1.2 times as long as one.
PROMISED = {"post summary, p99": 10, "breakdown of 30 days, p95": 100, "one event, p99": 25}

Found = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options().parse_args(arguments)
    try:
        with servers():
            found = dict(_measure(options))
    except LocalStackError as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    print(_table(found))
    options.output.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {"machine": report.machine(), "milliseconds": {str(size): of for size, of in found.items()}}
    options.output.write_text(json.dumps(content, indent=2) + "\n")
    _draw(found, options.output.with_suffix(".png"))
    print(f"scale: also in {options.output}, curves in {options.output.with_suffix('.png')}")
    return 0


def _measure(options: argparse.Namespace) -> Iterator[tuple[float, Found]]:
    # Models exist only after servers() has set Django up.
    from bench.deciding import Deciding
    from bench.reading import Reading, admin_ms, sweep_ms
    from bench.supply import Supply

    supply = Supply()
    with Deciding() as deciding:
        for millions in options.millions:
            started = time.monotonic()
            with Reading(supply, int(millions * MILLION)) as reading:
                print(f"scale: {millions:g} million lines after {time.monotonic() - started:.0f} s", flush=True)
                summaries = [reading.summaries(500) for _ in range(ROUNDS)]
                yield (
                    millions,
                    {
                        "post summary, p50": _typical(quantile(taken, 0.5) for taken in summaries),
                        "post summary, p99": _typical(quantile(taken, 0.99) for taken in summaries),
                        "breakdown of 30 days, p95": _typical(reading.breakdown_p95(70) for _ in range(ROUNDS)),
                        **{
                            f"  by {group}, p95": quantile(reading.breakdowns(20, [group]), 0.95)
                            for group in ("persona_id", "model", "provider", "cost_type", "operation", "day", "hour")
                        },
                        "one event, p99": _typical(reading.single_p99(2_000) for _ in range(ROUNDS)),
                        "decision, p99": _typical(deciding.p99(3_000) for _ in range(ROUNDS)),
                        "sweep, p50": quantile(sweep_ms(10), 0.5),
                        "  proof of all counters": reading.proof_ms(),
                        **{f"admin: {name}, p95": quantile(taken, 0.95) for name, taken in admin_ms(10).items()},
                    },
                )


def _typical(readings: Iterator[float]) -> float:
    return quantile(list(readings), 0.5)


def _table(found: dict[float, Found]) -> str:
    names = list(next(iter(found.values())))
    head = f"{'milliseconds':<44}" + "".join(f"{f'{size:g} million':>14}" for size in found) + f"{'last / first':>14}"
    return "\n".join([head, *(_row(name, [of[name] for of in found.values()]) for name in names)])


def _row(name: str, values: Sequence[float]) -> str:
    promised = f"   promised {PROMISED[name]}" if name in PROMISED else ""
    return f"{name:<44}{''.join(f'{value:>14.2f}' for value in values)}{values[-1] / values[0]:>13.2f}x{promised}"


def _draw(found: dict[float, Found], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in next(iter(found.values())) if not name.startswith("  ")]
    figure, axes = pyplot.subplots(figsize=(9, 6))
    for name in names:
        axes.plot(list(found), [of[name] for of in found.values()], marker="o", label=name)
    axes.set(xlabel="lines in the ledger, millions", ylabel="milliseconds", yscale="log", xlim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--millions", type=float, nargs="+", default=SIZES, help="sizes, the smallest first")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    return parser


if __name__ == "__main__":
    sys.exit(main())
