"""What was found: tables of figures, and sentences about those that look wrong. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One table: what its columns hold, its rows, and a sentence that explains them or says why there are none."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""

    @property
    def as_dicts(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(slots=True)
class Diagnosis:
    """All sections, in the order of reading, and what looks wrong, worst first as they were found."""

    sections: list[Section] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, section: Section, wrong: Iterable[str] = ()) -> None:
        self.sections.append(section)
        self.wrong.extend(wrong)

    @property
    def summary(self) -> str:
        """The first sentence that a person reads."""
        if not self.wrong:
            return "Nothing looks wrong."
        return f"{len(self.wrong)} things look wrong:" if len(self.wrong) > 1 else "One thing looks wrong:"
