"""The tables of the ledger, by story: who may write, what waits, what is booked, what is counted, what it costs."""

from costs.models.counters import DailyCost, HourlyCost, HourlyOperation, KnownOperation, PostCost
from costs.models.inbox import DeadLetter, EventKey, InboxRow
from costs.models.keys import DEFAULT_SOURCE, ApiKey, Scope
from costs.models.ledger import AdjustmentKey, CostEvent, EntryType, Evidence
from costs.models.prices import PriceRate, PriceSheet

__all__ = [
    "DEFAULT_SOURCE",
    "AdjustmentKey",
    "ApiKey",
    "CostEvent",
    "DailyCost",
    "DeadLetter",
    "EntryType",
    "EventKey",
    "Evidence",
    "HourlyCost",
    "HourlyOperation",
    "InboxRow",
    "KnownOperation",
    "PostCost",
    "PriceRate",
    "PriceSheet",
    "Scope",
]
