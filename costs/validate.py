"""Is a post's cost complete and right? What is missing, waits, has no price or contradicts itself, as sentences."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from costs.attribution import post_breakdown, post_total
from costs.models import CostEvent, DeadLetter, Evidence
from costs.snapshot import one_snapshot

ACCURATE = Decimal("0.95")
KNOWN_EXACTLY = (Evidence.REPORTED, Evidence.COMPUTED)


@dataclass(frozen=True, slots=True)
class Validity:
    """The total in US dollars, charges, dollars by type, and what is wrong; `is_known` is False for no post at all."""

    is_known: bool
    total: Decimal
    events: int
    by_type: dict[str, Decimal]
    wrong: list[str]


def validate(post_id: str, *, expected: Collection[str] = ()) -> Validity:
    """Look at one post at one moment. `expected` are the cost types that a whole post has."""
    with one_snapshot():
        found, dead = post_breakdown(post_id), DeadLetter.objects.open().filter(post_id=post_id).count()
        if found is None:
            wrong = [*_of_dead_letters(dead), "No cost of this post is known: was it ever tracked, under this id?"]
            return Validity(False, Decimal(0), 0, {}, wrong)
        wrong = [*_missing(found, expected), *_unfinished(found), *_of_dead_letters(dead), *_inexact(found)]
        wrong += [*_deviating(post_id), *_sums(post_id, found)]
    return Validity(
        True, found["total_cost"], found["accuracy_details"]["total_events"], found["cost_breakdown"], wrong
    )


def _missing(found: dict[str, Any], expected: Collection[str]) -> Iterator[str]:
    for cost_type in expected:
        if cost_type not in found["cost_breakdown"]:
            yield f"Missing: no {cost_type} event is booked. Does the producer track it, with this post's id?"


def _unfinished(found: dict[str, Any]) -> Iterator[str]:
    if pending := found["pending_events"]:
        yield f"Pending: {pending:,} accepted events are not booked yet. If that lasts, see: manage.py diagnose"
    if unpriced := found["unpriced_events"]:
        yield f"Unpriced: {unpriced:,} charges have no price, so the total lacks them. Add a price, or a newer library."


def _of_dead_letters(dead: int) -> Iterator[str]:
    if dead:
        yield f"Dead letters: {dead:,} events could not be booked. See: manage.py dead_letters"


def _inexact(found: dict[str, Any]) -> Iterator[str]:
    """accuracy_score says how well events are described; how exactly their amounts are known the evidence says."""
    score: Decimal = found["accuracy_score"]
    if score < ACCURATE:
        yield f"Accuracy: the score is {score}, below {ACCURATE}."
    amounts = {kind: abs(each["amount"]) for kind, each in found["evidence"].items()}
    whole = sum(amounts.values(), Decimal(0))
    exact = sum((amounts[kind] for kind in KNOWN_EXACTLY), Decimal(0))
    if exact < ACCURATE * whole:
        yield f"Accuracy: only {100 * exact / whole:.1f} % of the money is reported or computed from exact usage."


def _deviating(post_id: str) -> Iterator[str]:
    if count := CostEvent.objects.for_post(post_id).filter(deviating=1).count():
        yield f"Deviating: {count:,} given amounts are more than 1 % off the price of their usage."


def _sums(post_id: str, found: dict[str, Any]) -> Iterator[str]:
    """The counters against the lines, for this post alone."""
    lines = sum((each["amount"] for each in found["evidence"].values()), Decimal(0))
    if lines != post_total(post_id):
        yield f"Sums: the counters say ${found['total_cost']:f}, the lines ${lines:f}. See: manage.py verify_ledger"
