"""A ledger to write to in one line, inside the test's own transaction."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from costs import drain, ingest
from costs.events import encode
from costs.ingest import Receipt


def usage_event(**fields: Any) -> dict[str, Any]:
    """A call of gpt-4o that costs $0.0075: 1,000 tokens in, 500 out."""
    return {
        "cost_type": "openai_api",
        "provider": "openai",
        "model": "gpt-4o",
        "usage": {"input_tokens": 1000, "output_tokens": 500},
    } | fields


def amount_event(amount: str, **fields: Any) -> dict[str, Any]:
    """A cost whose amount the caller knows."""
    return {"cost_type": "cdn", "amount": amount} | fields


class Ledger:
    """Accepts and books at once, on the test's own connection."""

    def record(
        self,
        events: Sequence[Mapping[str, Any]],
        *,
        source: str = "default",
        at: datetime | None = None,
        personas: Sequence[str] | None = None,
    ) -> list[Receipt]:
        moment = at or datetime.now(UTC)
        receipts = self.accept(events, source=source, at=moment, personas=personas)
        drain.drain(at=moment)
        return receipts

    def accept(
        self,
        events: Sequence[Mapping[str, Any]],
        *,
        source: str = "default",
        at: datetime | None = None,
        personas: Sequence[str] | None = None,
    ) -> list[Receipt]:
        """Only into the inbox; any age is taken."""
        bodies = [encode(dict(event)) for event in events]
        moment = at or datetime.now(UTC)
        return ingest.accept(bodies, source=source, at=moment, personas=personas, oldest=None, using="default")


@pytest.fixture
def ledger(db: None) -> Ledger:
    return Ledger()
