"""The workload in the forms that the trials take: fields, bodies, batches, lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from django.utils.timezone import now

from bench.workload import TRACE, Fields, Tokens, Workload, generated_tokens, real_tokens
from costs.booking import Line, book
from costs.events import completed, encode, parse
from costs.models import DEFAULT_SOURCE
from costs.prices import current_book
from finops_project.local.home import SOURCE

T = TypeVar("T")
GENERATED = 20_000


class Supply:
    """Fresh events, as many as a trial asks for."""

    def __init__(self, trace: Path = SOURCE / TRACE) -> None:
        self.is_real = trace.exists()
        self.workload = Workload(_tokens(trace))

    @property
    def described(self) -> str:
        return "token counts of real requests" if self.is_real else "generated token counts (no trace at hand)"

    def fields(self, count: int) -> list[Fields]:
        return self.workload.events(count, at=now())

    def bodies(self, count: int) -> list[bytes]:
        return [encode(fields) for fields in self.fields(count)]

    def lines(self, count: int) -> list[Line]:
        """Priced lines, as a perfect producer would hand them in."""
        at = now()
        events = [completed(parse(body), at) for body in self.bodies(count)]
        return book(events, source=DEFAULT_SOURCE, prices=current_book()).lines


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _tokens(trace: Path) -> list[Tokens]:
    return real_tokens(trace) if trace.exists() else generated_tokens(GENERATED)
