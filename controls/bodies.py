"""What callers send to the controls: strict and exact, and every refusal is a sentence with its path."""

import re
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from rest_framework.exceptions import ParseError

from costs.events import AMOUNT_LIMIT, EVERY_DIGIT, MONEY_DECIMALS, PLAIN_NUMBER, exact
from costs.periods import InvalidQuery, parse_zone
from costs.problems import Problem, invalid

Name = Annotated[str, Meta(max_length=100)]
Title = Annotated[str, Meta(min_length=1, max_length=100)]
Levels = Annotated[list[Annotated[int, Meta(ge=1, le=100)]], Meta(min_length=1, max_length=3)]
Body = TypeVar("Body")

_FIELD = re.compile(r"Object (contains unknown|missing required) field `([^`]{1,100})`(?: - at `\$\.?(.*)`)?$")
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`$")


class ScopeBody(msgspec.Struct, forbid_unknown_fields=True):
    persona_id: Name | None = None
    model: Name | None = None
    cost_type: Name | None = None


class NewBudget(msgspec.Struct, forbid_unknown_fields=True):
    name: Title
    scope: ScopeBody
    period: Literal["daily", "weekly", "monthly"]
    limit: Any
    timezone: str = "UTC"
    hard: bool = False
    warn_levels: Levels | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """The columns that were given. Raises Problem."""
        refuse_nul(name=self.name, **_prefixed("scope", msgspec.structs.asdict(self.scope)))
        try:
            parse_zone(self.timezone)
        except InvalidQuery as error:
            raise invalid("timezone", error.sentence) from None
        scope = {name: value or "" for name, value in msgspec.structs.asdict(self.scope).items()}
        given = {"name": self.name, "period": self.period, "timezone": self.timezone, "hard": self.hard, **scope}
        return given | {"limit": amount("limit", self.limit)} | _levels(self.warn_levels)


class BudgetChanges(msgspec.Struct, forbid_unknown_fields=True):
    name: Title | UnsetType = UNSET
    limit: Any = UNSET
    hard: bool | UnsetType = UNSET
    warn_levels: Levels | UnsetType = UNSET
    scope: Any = UNSET
    period: Any = UNSET
    timezone: Any = UNSET

    def fields(self) -> dict[str, Any]:
        """The columns that change. Raises Problem."""
        for name in ("scope", "period", "timezone"):
            if getattr(self, name) is not UNSET:
                raise invalid(name, "cannot change: end this budget and make another")
        refuse_nul(name=self.name)
        given: dict[str, Any] = {"name": self.name, "hard": self.hard}
        changes = {name: value for name, value in given.items() if value is not UNSET}
        if self.limit is not UNSET:
            changes["limit"] = amount("limit", self.limit)
        return changes | _levels(self.warn_levels)


def read(body: bytes, kind: type[Body]) -> Body:
    """Raises ParseError for what is no JSON, Problem for JSON that is not of this kind."""
    try:
        wanted: Any = kind
        decoded: Body = _decoder(wanted).decode(body)
        return decoded
    except msgspec.ValidationError as error:
        raise _problem(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"The body is no JSON object: {error}.") from None
    except ValueError as error:
        raise invalid("", str(error)) from None


@cache
def _decoder(kind: Any) -> Any:
    """To make one takes longer than to use it."""
    return msgspec.json.Decoder(kind, float_hook=exact)


def _problem(text: str) -> Problem:
    if found := _FIELD.match(text):
        is_unknown, path = found[1] == "contains unknown", ".".join(filter(None, (found[3], found[2])))
        return invalid(path, "is no field here" if is_unknown else "is required")
    if found := _PLACE.match(text):
        return invalid(found[2], found[1])
    return invalid("", text)


def amount(path: str, value: Any) -> Decimal:
    """US dollars above 0. Raises Problem."""
    found = number(path, value)
    if not 0 < found < AMOUNT_LIMIT:
        raise invalid(path, f"must be above 0 and below {AMOUNT_LIMIT}")
    exponent = found.normalize(EVERY_DIGIT).as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MONEY_DECIMALS:
        raise invalid(path, f"at most {MONEY_DECIMALS} decimals")
    return found


def number(path: str, value: Any) -> Decimal:
    """A decimal, as a JSON number or as a string of plain digits. Raises Problem."""
    if isinstance(value, str) and PLAIN_NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise invalid(path, "must be a decimal number, or a string that holds one")
    return Decimal(value)


def _levels(levels: list[int] | UnsetType) -> dict[str, list[int]]:
    if isinstance(levels, UnsetType):
        return {}
    if levels != sorted(set(levels)):
        raise invalid("warn_levels", "must ascend, such as [80, 85, 95]")
    return {"warn_levels": levels}


def _prefixed(prefix: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in fields.items()}


def refuse_nul(**texts: Any) -> None:
    for path, text in texts.items():
        if isinstance(text, str) and "\0" in text:
            raise invalid(path, "must not contain the NUL character")
