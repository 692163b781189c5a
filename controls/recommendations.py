"""Which persona's operation could use which cheaper model, with its own tokens, and what that would have saved.

The candidates are the targets of the asked model's switch list, and what else the same provider sells of the same kind.
None is retired, none too small for the largest call, and none without a price for everything that was used. Whether a
cheaper model is good enough is for people to judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from controls.mix import Mix, Model, edges_of, mixes_of, models_in
from controls.models import Switch
from controls.retirements import Retirements
from controls.savings import Whose, percent_of
from costs.breakdown import PERSONA_LENGTH, breakdown
from costs.models import HourlyOutcome, OutcomeKind
from costs.periods import HOUR, InvalidQuery, Span, floor
from costs.pricing import PriceBook, canonical, context_tokens, models_of, seller_of
from costs.pricing.buckets import OUTPUT

Lists = Mapping[str, Sequence[Switch]]

SAVED, RETURN = "saved", "return_per_dollar"
RANKS = (SAVED, RETURN)
MOST_DAYS = 90
# Three to nine seconds each million, by how busy the machine is: more is no question for a request.
MOST_CHARGES = 2_000_000
MOST_OPTIONS = 3
MOST_RECOMMENDATIONS = 200
_RATIO = Decimal("0.000001")
# A model whose name has one of these words does something else than its siblings, or may be gone within weeks.
KINDS = frozenset(
    "audio banana batch beta codex computer cyber deep embedding exp experimental extended ft guard image instruct"
    " latest live moderation omni oss preview realtime research robotics rosalind safeguard search transcribe translate"
    " tts vision whisper".split()
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be cheaper; `is_listed`: it stands in the switch list of the asked one."""

    model: Model
    is_listed: bool
    context_tokens: int | None
    retires_on: date | None


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate with what these very lines would have cost, in US dollars."""

    candidate: Candidate
    cost: Decimal
    saved: Decimal


@dataclass(frozen=True, slots=True)
class Returns:
    """What the posts of a persona brought for each dollar that it spent; then: had the best option been used."""

    spent: Decimal
    revenue: Decimal
    follows: Decimal

    def per_dollar(self, brought: Decimal, saved: Decimal) -> dict[str, Decimal | None]:
        return {"now": _ratio(brought, self.spent), "then": _ratio(brought, self.spent - saved)}

    def gain(self, saved: Decimal) -> tuple[Decimal, Decimal]:
        """How much more a dollar would bring: in dollars of revenue, and in follows."""
        if not 0 <= saved < self.spent:
            return Decimal(0), Decimal(0)
        more = 1 / (self.spent - saved) - 1 / self.spent
        return self.revenue * more, self.follows * more


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One work with its options, the one that saves most first."""

    mix: Mix
    cost: Decimal
    retires_on: date | None
    options: list[Option]
    returns: Returns | None

    @property
    def saved(self) -> Decimal:
        return self.options[0].saved

    def rank(self, by: str) -> tuple[Any, ...]:
        gain = self.returns.gain(self.saved) if by == RETURN and self.returns else (Decimal(0), Decimal(0))
        return (*(-each for each in gain), -self.saved, self.mix.work)


def recommendations(
    *,
    at: datetime,
    prices: PriceBook,
    lists: Lists,
    days: int = 30,
    persona_id: str | None = None,
    rank_by: str = SAVED,
    personas: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What would have saved how much in the last `days` full days, as one dict. Raises InvalidQuery.

    `lists` are the model switches, `personas` all that the asker may see (None: all).
    """
    if rank_by not in RANKS:
        raise InvalidQuery("rank_by", f"must be {' or '.join(RANKS)}, not {rank_by[:50]!r}")
    if not 1 <= days <= MOST_DAYS:
        raise InvalidQuery("days", f"must lie between 1 and {MOST_DAYS}")
    if persona_id is not None and (not 0 < len(persona_id) <= PERSONA_LENGTH or "\0" in persona_id):
        raise InvalidQuery("persona_id", f"must be a name of 1 to {PERSONA_LENGTH} characters")
    end = floor(at, HOUR)
    span = Span(end - timedelta(days=days), end)
    found = _Search(span, at, prices, lists).recommend(Whose(persona_id, personas))
    found.sort(key=lambda each: each.rank(rank_by))
    return {
        "start_date": span.start,
        "end_date": span.end,
        "rank_by": rank_by,
        "saved": sum((each.saved for each in found), Decimal(0)),
        "recommendations": [_told(each) for each in found[:MOST_RECOMMENDATIONS]],
        "omitted": max(len(found) - MOST_RECOMMENDATIONS, 0),
    }


class _Search:
    """One look at the ledger's lines of one span."""

    def __init__(self, span: Span, at: datetime, prices: PriceBook, lists: Lists) -> None:
        self._span, self._at, self._prices, self._lists = span, at, prices, lists
        self._retirements = Retirements(switch for listed in lists.values() for switch in listed)

    def recommend(self, whose: Whose) -> list[Recommendation]:
        asked = models_in(self._span, whose)
        if (charges := sum(asked.values())) > MOST_CHARGES:
            raise InvalidQuery(
                "days", f"has {charges:,} charges, more than {MOST_CHARGES:,}: ask for fewer or a persona"
            )
        candidates = {model: list(self._candidates(model)) for model in asked}
        named = [*asked, *(each.model for found in candidates.values() for each in found)]
        edges = edges_of(self._span, dict.fromkeys(named), self._prices)
        mixes = mixes_of(self._span, edges, whose)
        returns = self._returns([mix.work.persona_id for mix in mixes], whose)
        found = (
            self._recommendation(mix, candidates.get(mix.work.model._replace(tier=None), ()), returns) for mix in mixes
        )
        return [each for each in found if each]

    def _candidates(self, asked: Model) -> Iterator[Candidate]:
        """Alive, of the same kind, and under one name each: the list's first."""
        known = canonical(asked.cost_type, asked.provider or None, asked.model)
        seen = {known, asked.model.lower()}
        for target, switch in self._named(asked, known):
            model = self._sold(asked, target)
            its_id = canonical(model.cost_type, model.provider or None, model.model)
            if target.lower() in seen or its_id in seen or not self._retirements.is_alive(self._at, target, its_id):
                continue
            seen.update((its_id or target, target.lower()))
            tokens = switch.context_tokens if switch else None
            yield Candidate(
                model,
                switch is not None,
                tokens or context_tokens(model.cost_type, model.provider or None, model.model),
                self._retirements.day_of(target, its_id),
            )

    def _named(self, asked: Model, known: str | None) -> Iterator[tuple[str, Switch | None]]:
        listed = self._lists.get(asked.model.lower()) or self._lists.get((known or "").lower()) or ()
        yield from ((switch.target, switch) for switch in listed)
        seller = seller_of(asked.cost_type, asked.provider or None, asked.model)
        for model in models_of(seller or ""):
            if kind_of(model) == kind_of(asked.model):
                yield model, None

    def _sold(self, asked: Model, target: str) -> Model:
        """By who sells the asked model if they have it, else by who makes it."""
        if canonical(asked.cost_type, asked.provider or None, target):
            return asked._replace(model=target)
        maker = seller_of("", None, target)
        return Model(f"{maker}_api", maker, target) if maker else asked._replace(model=target)

    def _recommendation(
        self, mix: Mix, candidates: Sequence[Candidate], returns: Mapping[str, Returns]
    ) -> Recommendation | None:
        asked = mix.work.model
        cost = mix.price(self._prices, asked)
        options = list(self._options(mix, cost, candidates)) if cost else []
        if not cost or not options:
            return None
        day = self._retirements.day_of(asked.model, canonical(asked.cost_type, asked.provider or None, asked.model))
        return Recommendation(mix, cost, day, _best(options), returns.get(mix.work.persona_id))

    def _options(self, mix: Mix, cost: Decimal, candidates: Sequence[Candidate]) -> Iterator[Option]:
        speaks = self._speaks(mix.work.model)
        for each in candidates:
            is_too_small = each.context_tokens is not None and each.context_tokens < mix.largest
            is_of_unknown_size = each.context_tokens is None and not each.is_listed
            if is_too_small or is_of_unknown_size:
                continue
            model = each.model._replace(tier=mix.work.model.tier)
            amount = mix.price(self._prices, model)
            if amount and amount < cost and self._speaks(model) == speaks:
                yield Option(each, amount, cost - amount)

    def _speaks(self, model: Model) -> bool:
        """Whether it answers in tokens: an embedding stands in for no model that writes, nor the other way round."""
        names = (model.cost_type, model.provider or None, model.model, model.tier)
        return OUTPUT in self._prices.tariff(names, self._at).sheet.prices

    def _returns(self, names: Sequence[str], whose: Whose) -> dict[str, Returns]:
        """Of the personas whose posts brought something."""
        sums = HourlyOutcome.objects.sums(sorted(set(names)), self._span.start, self._span.end)
        if not sums:
            return {}
        start, end = self._span.start.isoformat(), self._span.end.isoformat()
        groups = breakdown(
            start_date=start, end_date=end, persona_id=whose.persona_id, group_by="persona_id", personas=whose.personas
        )["groups"]
        spent = {group["key"]["persona_id"] or "": group["cost"] for group in groups}
        revenues = {name: each.amount for (name, kind), each in sums.items() if kind is OutcomeKind.REVENUE}
        follows = {name: each.quantity for (name, kind), each in sums.items() if kind is OutcomeKind.FOLLOW}
        none = Decimal(0)
        return {
            name: Returns(spent.get(name, none), revenues.get(name, none), follows.get(name, none))
            for name in revenues.keys() | follows.keys()
        }


def kind_of(model: str) -> frozenset[str]:
    """The words of a name that say what a model is for."""
    words = model.lower().replace("/", "-").replace(":", "-").replace(".", "-").replace("_", "-").split("-")
    return KINDS & frozenset(words)


def _best(options: Sequence[Option]) -> list[Option]:
    """All of the switch list, and the best of the others, the one that saves most first."""
    ordered = sorted(options, key=lambda option: (-option.saved, option.candidate.model.model))
    others = [option for option in ordered if not option.candidate.is_listed][:MOST_OPTIONS]
    return [option for option in ordered if option.candidate.is_listed or option in others]


def _ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    return (part / whole).quantize(_RATIO) if whole > 0 else None


def _told(found: Recommendation) -> dict[str, Any]:
    work, returns = found.mix.work, found.returns
    return {
        "persona_id": work.persona_id or None,
        "operation": work.operation or None,
        "cost_type": work.model.cost_type,
        "provider": work.model.provider or None,
        "model": work.model.model,
        "service_tier": work.model.tier,
        "retires_on": found.retires_on,
        "calls": found.mix.calls,
        "largest_call_tokens": found.mix.largest,
        "cost": found.cost,
        "saved": found.saved,
        "options": [_told_of(option, found.cost) for option in found.options],
        "return_per_dollar": returns.per_dollar(returns.revenue, found.saved) if returns else None,
        "follows_per_dollar": returns.per_dollar(returns.follows, found.saved) if returns else None,
    }


def _told_of(option: Option, cost: Decimal) -> dict[str, Any]:
    each = option.candidate
    return {
        "model": each.model.model,
        "provider": each.model.provider or None,
        "cost_type": each.model.cost_type,
        "is_listed": each.is_listed,
        "cost": option.cost,
        "saved": option.saved,
        "saved_percent": percent_of(option.saved, cost),
        "context_tokens": each.context_tokens,
        "retires_on": each.retires_on,
    }
