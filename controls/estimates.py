"""What a call will cost at most: its tokens at the prices of the model asked for, and of a cheaper one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from controls import switches
from controls.models.holds import LONGEST_LIFE
from controls.switches import Lists
from costs.models import DEFAULT_SOURCE
from costs.pricing import PriceBook, Quantities, canonical, dearest, seller_of

LIFE = timedelta(seconds=120)
MOST_TOKENS = 1_000_000_000
API = "_api"
LENGTHS = {"model": 100, "persona_id": 100, "post_id": 255, "operation": 100, "provider": 100, "cost_type": 100}


class InvalidCall(ValueError):
    """There can be no such call: `field` is wrong, as the sentence says."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field} {sentence}")
        self.field, self.sentence = field, sentence


@dataclass(frozen=True, slots=True)
class Call:
    """A paid call that somebody is about to make. `output_tokens` are the most that it may bring (max_tokens).

    `life` is how long the money stays reserved for it; provider and cost_type default to the model's maker.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    persona_id: str = ""
    post_id: str = ""
    operation: str = ""
    provider: str = ""
    cost_type: str = ""
    source: str = DEFAULT_SOURCE
    life: timedelta = LIFE

    def __post_init__(self) -> None:
        for name, longest in LENGTHS.items():
            text = getattr(self, name)
            _require("\0" not in text, name, "must not contain the NUL character")
            _require(len(text) <= longest, name, f"must have at most {longest} characters")
        _require(bool(self.model.strip()), "model", "must be named")
        for name in ("input_tokens", "output_tokens"):
            _require(0 <= getattr(self, name) <= MOST_TOKENS, name, f"must lie between 0 and {MOST_TOKENS:,}")
        # What reserves nothing would pass every budget.
        _require(self.input_tokens + self.output_tokens > 0, "estimated_tokens", "must say how many tokens at most")
        _require(timedelta(seconds=1) <= self.life <= LONGEST_LIFE, "ttl_seconds", "must be 1 second to 24 hours")

    @property
    def tokens(self) -> Quantities:
        given = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        return Quantities({name: count for name, count in given.items() if count})


@dataclass(frozen=True, slots=True)
class Estimate:
    """A call's cost in US dollars with one model. `is_known` is false where another model's price stands in.

    `listed` and `sold` are the model's and the cost type's names by the price list, however the call spells them.
    """

    model: str
    provider: str
    cost_type: str
    amount: Decimal
    is_known: bool = True

    @property
    def listed(self) -> str:
        return canonical(self.cost_type, self.provider or None, self.model) or self.model

    @property
    def sold(self) -> str:
        seller = seller_of(self.cost_type, self.provider or None, self.model)
        return _cost_type(seller) if seller else self.cost_type


def estimates(call: Call, *, at: datetime, prices: PriceBook, lists: Lists) -> Sequence[Estimate]:
    """The call as asked, and with the first model of its list that may stand in for it, if there is one."""
    asked = _as_asked(call, at, prices)
    targets = switches.targets_of(
        call.model,
        cost_type=asked.cost_type,
        provider=asked.provider or None,
        usage=call.tokens,
        at=at,
        prices=prices,
        among=lists,
        asked_amount=asked.amount,
    )
    return [asked, *(Estimate(t.model, t.provider or "", t.cost_type, t.amount) for t in targets[:1])]


def _as_asked(call: Call, at: datetime, prices: PriceBook) -> Estimate:
    seller = seller_of(call.cost_type, call.provider or None, call.model) or ""
    cost_type = call.cost_type or _cost_type(seller or call.provider or "unknown")
    known = prices.price(
        cost_type=cost_type, provider=call.provider or None, model=call.model, quantities=call.tokens, at=at
    ).amount
    if known is not None:
        return Estimate(call.model, call.provider or seller, cost_type, known)
    most = dearest(prices, seller or None, call.tokens, at) or Decimal(0)
    return Estimate(call.model, call.provider or seller, cost_type, most, is_known=False)


def _cost_type(seller: str) -> str:
    return f"{seller[: LENGTHS['cost_type'] - len(API)].lower()}{API}"


def _require(holds: bool, field: str, sentence: str) -> None:
    if not holds:
        raise InvalidCall(field, sentence)
