"""From the inbox into the ledger."""

from decimal import Decimal

import pytest

from costs.models import CostEvent, DeadLetter, InboxRow, PostCost
from costs.verify import verify
from tests.costs.conftest import Ledger, amount_event, usage_event


def test_a_replayed_event_is_counted_once(ledger: Ledger) -> None:
    event = usage_event(event_id="call-1", post_id="p1")

    ledger.record([event])
    (replay,) = ledger.record([event])

    assert replay.status == "duplicate"
    assert CostEvent.objects.for_post("p1").total() == Decimal("0.0075")
