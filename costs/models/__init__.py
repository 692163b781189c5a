"""The tables of the ledger, by story: who may write, what waits, is booked, is counted, what it costs and brings."""

from costs.models.counters import DailyCost, FiveMinuteCost, HourlyCost, HourlyOperation, KnownOperation, PostCost
from costs.models.inbox import DeadLetter, EventKey, InboxRow
from costs.models.keys import DEFAULT_SOURCE, ApiKey, Scope
from costs.models.ledger import AdjustmentKey, CostEvent, EntryType, Evidence
from costs.models.outcomes import HourlyOutcome, Outcome, OutcomeKind, OutcomeSums, PostOutcome
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
    "FiveMinuteCost",
    "HourlyCost",
    "HourlyOperation",
    "HourlyOutcome",
    "InboxRow",
    "KnownOperation",
    "Outcome",
    "OutcomeKind",
    "OutcomeSums",
    "PostCost",
    "PostOutcome",
    "PriceRate",
    "PriceSheet",
    "Scope",
]
