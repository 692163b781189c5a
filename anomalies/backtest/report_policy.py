"""What a replay of the controls came to: tables for people, JSON for programs."""

from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from anomalies.backtest.breakers import Moved
from anomalies.backtest.gate import Verdict
from anomalies.backtest.replay_policy import Account, Cut
from anomalies.backtest.report import aligned, instant
from anomalies.backtest.run_policy import Trial
from anomalies.wording import plain

SHOWN = 100
CENT = Decimal("0.01")
# Of docs and decisions: what the specification says that controls save.
SPECIFIED = "15 % and $3,000 a month"
CUTS = (Verdict.THROTTLED, Verdict.SWITCHED, Verdict.PAUSED, Verdict.OVER_BUDGET)
NAMES = {
    Verdict.THROTTLED: "throttled, not made",
    Verdict.SWITCHED: "switched to a cheaper model",
    Verdict.PAUSED: "denied during a pause",
    Verdict.OVER_BUDGET: "denied by a hard budget",
}
ASSUMPTIONS = (
    "Taken as given: a call beyond the rate of its half minute is not made, nor asked for again; a switched call uses "
    "the same tokens; posts bring what they brought; costs without a model do not ask.",
    "Decided every half minute from what was let through until then; a level holds from the next one on. So a runaway "
    "shorter than a minute or two may be missed that live decisions, which look at once, would have stopped; live, "
    "the calls of a rate are also spaced evenly. Returns are looked at on the hour.",
    "Overrides, temporary increases and false alarms are left out; budgets, policies and switches are those of today.",
)
MOVED = ("at (UTC)", "persona", "from", "to", "a minute", "trigger", "why")
ACCOUNTS = ("persona", "off", "on", "saved", "%", "throttled", "switched", "paused", "over budget")


def table(trial: Trial) -> list[str]:
    moved = [_moved(each) for each in trial.moved[:SHOWN]]
    more = len(trial.moved) - SHOWN
    touched = {name: account for name, account in trial.accounts.items() if account.cuts}
    accounts = sorted(touched.items(), key=lambda item: (-item[1].saved, item[0]))
    return [
        *(aligned([MOVED, *moved], left=(0, 1, 2, 3, 5, 6)) if moved else []),
        *([f"and {more:,} more; --format json shows all"] if more > 0 else []),
        *([""] if moved else []),
        *(aligned([ACCOUNTS, *(_account(*each) for each in accounts)], left=(0,)) if accounts else []),
        *([""] if accounts else []),
        *summary(trial),
    ]


def summary(trial: Trial) -> Iterator[str]:
    changes = ", ".join(f"{name}={_told(value)}" for name, value in trial.changes.items())
    yield (
        f"Controls over {trial.about}, {instant(trial.span.start)} to {instant(trial.span.end)} UTC, by the stored "
        f"policies{f' with {changes}' if changes else ''}; budgets that count: {trial.budgets:,}."
    )
    if trial.observing:
        yield f"{trial.observing:,} of {trial.personas:,} policies only observe: they hold nobody back."
    yield f"{len(trial.moved):,} transitions."
    for verdict, cut in _cuts(trial.accounts.values()):
        yield f"{cut.calls:,} calls {NAMES[verdict]}: ${_cents(cut.saved)} less."
    yield f"Controls off ${_cents(trial.spent)}, on ${_cents(trial.spent - trial.saved)}."
    yield (
        f"Saved ${_cents(trial.saved)}, {_percent(trial.percent)}; extrapolated to 30 days ${_cents(trial.a_month)}. "
        f"The specification's goal: {SPECIFIED}."
    )
    yield from ASSUMPTIONS


def told(trial: Trial) -> dict[str, Any]:
    """For --format json: Decimals stay exact."""
    return {
        "about": trial.about,
        "start": trial.span.start,
        "end": trial.span.end,
        "policy": dict(trial.changes),
        "spent": trial.spent,
        "would_have_spent": trial.spent - trial.saved,
        "saved": trial.saved,
        "saved_percent": trial.percent,
        "saved_per_30_days_extrapolated": trial.a_month,
        "specified": {"saved_percent": 15, "saved_per_month": 3000},
        "by_kind": {verdict: _told_cut(cut) for verdict, cut in _cuts(trial.accounts.values())},
        "personas": [
            {
                "persona_id": name,
                "calls": account.calls,
                "spent": account.spent,
                "would_have_spent": account.had_spent,
                "saved": account.saved,
                "by_kind": {verdict: _told_cut(cut) for verdict, cut in _cuts([account])},
            }
            for name, account in sorted(trial.accounts.items())
        ],
        "transitions": [
            {
                "at": each.at,
                "persona_id": each.persona_id,
                "from_level": each.from_level,
                "to_level": each.to_level,
                "per_minute": each.per_minute,
                "trigger": each.trigger,
                "severity": each.severity,
                "reason": each.reason,
                "is_observing": each.is_observing,
                "is_held_back": each.is_held_back,
            }
            for each in trial.moved
        ],
        "assumptions": list(ASSUMPTIONS),
    }


def _cuts(accounts: Iterable[Account]) -> Iterator[tuple[Verdict, Cut]]:
    """The sums of those kinds that occurred."""
    found = list(accounts)
    for verdict in CUTS:
        cuts = [account.cuts[verdict] for account in found if verdict in account.cuts]
        if cuts:
            yield verdict, Cut(sum(cut.calls for cut in cuts), sum((cut.saved for cut in cuts), Decimal(0)))


def _told_cut(cut: Cut) -> dict[str, Any]:
    return {"calls": cut.calls, "saved": cut.saved}


def _moved(moved: Moved) -> tuple[str, ...]:
    return (
        instant(moved.at),
        moved.persona_id,
        moved.from_level,
        f"{moved.to_level}{' (observed)' if moved.is_observing else ''}",
        "-" if moved.per_minute is None else str(moved.per_minute),
        moved.trigger or "-",
        moved.reason,
    )


def _account(persona: str, account: Account) -> tuple[str, ...]:
    share = account.saved / account.spent * 100 if account.spent else None
    calls = (account.cuts[verdict].calls if verdict in account.cuts else 0 for verdict in CUTS)
    return (
        persona or "(nobody)",
        *(_cents(amount) for amount in (account.spent, account.had_spent, account.saved)),
        _percent(share).removesuffix(" %"),
        *(f"{number:,}" for number in calls),
    )


def _told(value: Any) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value).lower()


def _cents(amount: Decimal) -> str:
    return f"{amount.quantize(CENT, ROUND_HALF_EVEN):,}"


def _percent(share: Decimal | None) -> str:
    return "unknown" if share is None else f"{share:.1f} %"
