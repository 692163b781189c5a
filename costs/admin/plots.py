"""A plot as the pages draw it: rows of values, drawn from the table that stands beneath it. Pure.

plots.js reads the table, so what is drawn, what is hovered and what is read are one and the same figure.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from costs.templatetags.ledger import instant, money, number

DOLLARS = "$"
MEAN_DECIMALS = Decimal("0.000000000001")


class Kind(StrEnum):
    """Bars, lines and single points over time, steps between two changes, or names one beneath the other."""

    BARS = "bars"
    LINES = "lines"
    POINTS = "points"
    STEPS = "steps"
    RANKS = "ranks"


class Look(StrEnum):
    """How a series or a level is drawn, told apart by its strokes, not only by its colour."""

    SERIES = "series"
    EXPECTED = "expected"
    TARGET = "target"
    ALERT = "alert"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    look: Look = Look.SERIES


@dataclass(frozen=True, slots=True)
class Row:
    """One place on the axis, with a value for each column (None: there is none) and the page of what lies behind."""

    label: str
    values: tuple[Decimal | None, ...]
    url: str = ""
    at: datetime | None = None
    note: str = ""

    @property
    def milliseconds(self) -> int | None:
        """Where it stands on an axis of time."""
        return None if self.at is None else round(self.at.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Level:
    """A line across the whole plot."""

    name: str
    value: Decimal
    look: Look


@dataclass(frozen=True, slots=True)
class Moment:
    """A line down the whole plot, on an axis of time."""

    name: str
    at: datetime

    @property
    def milliseconds(self) -> int:
        return round(self.at.timestamp() * 1000)

    @property
    def words(self) -> str:
        return f"{self.name} {instant(self.at.replace(microsecond=0))} UTC"


@dataclass(frozen=True, slots=True)
class Plot:
    """`first` is the head of the rows' labels; `unit` is $ or a word, such as `lines`.

    `around` names what the rows lead to where that is more than what they count, such as `the lines around it`.
    """

    name: str
    title: str
    kind: Kind
    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    levels: tuple[Level, ...] = ()
    moments: tuple[Moment, ...] = ()
    unit: str = DOLLARS
    note: str = ""
    around: str = ""

    @property
    def is_empty(self) -> bool:
        return not any(value for row in self.rows for value in row.values)

    @property
    def has_legend(self) -> bool:
        return bool(self.levels or self.moments) or len(self.columns) > 1

    def printed(self, value: Decimal | None) -> str:
        """With all digits and the unit."""
        if value is None:
            return ""
        return money(value) if self.unit == DOLLARS else f"{number(value)} {self.unit}".strip()

    @property
    def table(self) -> list[tuple[Row, list[tuple[str, str]]]]:
        """Each row with its cells, as (the digits for the script, the words for eyes)."""
        return [(row, [("" if value is None else f"{value:f}", self.printed(value)) for value in row.values])
                for row in self.rows]  # fmt: skip

    @property
    def printed_levels(self) -> list[tuple[Level, str, str]]:
        return [(level, f"{level.value:f}", self.printed(level.value)) for level in self.levels]


def mean(total: Decimal, count: int | Decimal) -> Decimal | None:
    """To 12 decimals, as all money is kept; None of nothing."""
    return (total / count).quantize(MEAN_DECIMALS) if count else None
