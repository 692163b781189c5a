"""Which cheaper models may stand in for a dear one, for the tokens at hand: alive, known, cheaper and large enough."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Protocol

from django.db import DEFAULT_DB_ALIAS

from controls.models import Switch
from controls.recent import Recent
from costs.pricing import PriceBook, Quantities, context_tokens, plain, seller_of

TOKENS = ("input_tokens", "output_tokens")


class Listed(Protocol):
    """A row of controls.models.Switch, or what a test has in its place."""

    @property
    def target(self) -> str: ...
    @property
    def retires_on(self) -> date | None: ...
    @property
    def context_tokens(self) -> int | None: ...
    def is_alive(self, day: date) -> bool: ...


Lists = Mapping[str, Sequence[Listed]]


@dataclass(frozen=True, slots=True)
class Target:
    """A model that may stand in; what these tokens cost with it and with the asked one, in US dollars."""

    model: str
    provider: str | None
    cost_type: str
    amount: Decimal
    asked_amount: Decimal

    @property
    def saves(self) -> Decimal:
        return self.asked_amount - self.amount


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of a model: whose it is, how many tokens, when, and what it costs (None: as the price book has it)."""

    model: str
    cost_type: str
    provider: str | None
    usage: Quantities
    at: datetime
    amount: Decimal | None = None


def targets_of(
    model: str,
    *,
    cost_type: str,
    provider: str | None,
    usage: Quantities,
    at: datetime,
    prices: PriceBook,
    among: Lists,
    asked_amount: Decimal | None = None,
) -> list[Target]:
    """The models that may stand in for this call, in the order of the model's list; `among` as `stored` gives it.

    `asked_amount` is for a model without a price: what it is held for.
    """
    asked = Asked(model, cost_type, provider, usage, at, asked_amount)
    return [verdict for verdict in _judged(asked, prices, among) if isinstance(verdict, Target)]


def why_none(
    model: str,
    *,
    cost_type: str,
    provider: str | None,
    usage: Quantities,
    at: datetime,
    prices: PriceBook,
    among: Lists,
    asked_amount: Decimal | None = None,
) -> list[str]:
    """For each listed model that may not stand in for this call, a sentence that says why."""
    asked = Asked(model, cost_type, provider, usage, at, asked_amount)
    found = [verdict for verdict in _judged(asked, prices, among) if isinstance(verdict, str)]
    return found or ([] if _list_of(asked, prices, among) else [f"No cheaper model is listed for {model}."])


def _judged(asked: Asked, prices: PriceBook, among: Lists) -> Iterator[Target | str]:
    listed = _list_of(asked, prices, among)
    if not listed:
        return
    amount = asked.amount
    if amount is None:
        amount = _amount(prices, asked.cost_type, asked.provider, asked.model, asked)
    if amount is None:
        yield f"What {asked.model} costs is not known."
        return
    for each in listed:
        yield _verdict(each, asked, amount, prices)


def _list_of(asked: Asked, prices: PriceBook, among: Lists) -> Sequence[Listed]:
    """The list of the model as it was asked for; if it has none, of the model that the price list means by it."""
    if listed := among.get(asked.model.strip().lower()):
        return listed
    names = (asked.cost_type, asked.provider, asked.model, asked.usage.service_tier)
    known = prices.tariff(names, asked.at).sheet.resolution["model"]
    return among.get(known.lower(), ()) if known else ()


def _verdict(listed: Listed, asked: Asked, asked_amount: Decimal, prices: PriceBook) -> Target | str:
    target = listed.target
    if not listed.is_alive(asked.at.astimezone(UTC).date()):
        return f"{target} was retired on {listed.retires_on}."
    for cost_type, provider in _sellers(target, asked):
        amount = _amount(prices, cost_type, provider, target, asked)
        if amount is None:
            continue
        if amount >= asked_amount:
            return f"{target} is not cheaper for these tokens: ${plain(amount)}, not below ${plain(asked_amount)}."
        if too_small := _too_small(listed, cost_type, provider, asked.usage):
            return too_small
        return Target(target, provider, cost_type, amount, asked_amount)
    return f"What {target} costs is not known."


def _sellers(target: str, asked: Asked) -> Iterator[tuple[str, str | None]]:
    """Whoever sells the asked model, if the target is theirs too; else who makes the target."""
    yield asked.cost_type, asked.provider
    maker = seller_of("", None, target)
    if maker and maker != seller_of(asked.cost_type, asked.provider, asked.model):
        yield f"{maker}_api", maker


def _amount(prices: PriceBook, cost_type: str, provider: str | None, model: str, asked: Asked) -> Decimal | None:
    return prices.price(cost_type=cost_type, provider=provider, model=model, quantities=asked.usage, at=asked.at).amount


def _too_small(listed: Listed, cost_type: str, provider: str | None, usage: Quantities) -> str:
    """A sentence, or '' where it is large enough, or nobody knows: whoever listed the model says that it serves."""
    most = listed.context_tokens or context_tokens(cost_type, provider, listed.target)
    totals = usage.as_plain()
    needed = sum(totals.get(name, 0) for name in TOKENS)
    if most is None or needed <= most:
        return ""
    return f"{listed.target} takes {most:,} tokens, and these are {needed:,}."


def read(*, using: str = DEFAULT_DB_ALIAS) -> dict[str, tuple[Switch, ...]]:
    """The lists by model, its name in lower case."""
    lists: defaultdict[str, list[Switch]] = defaultdict(list)
    for switch in Switch.objects.using(using).order_by("position", "pk"):
        lists[switch.model.strip().lower()].append(switch)
    return {model: tuple(switches) for model, switches in lists.items()}


_recent = Recent(read)
forget = _recent.forget


def stored(at: datetime) -> Mapping[str, tuple[Switch, ...]]:
    """The lists by model, its name in lower case; read at most once a second in each process."""
    return _recent.at(at)
