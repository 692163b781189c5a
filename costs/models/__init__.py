"""The tables of the ledger, by story: who may write, what waits, is booked, is counted, what it costs and brings."""

from costs.models.archives import ArchivedPartition, ArchivedPost, ArchivedSum
from costs.models.counters import (
    DailyCost,
    DailyPersona,
    FiveMinuteCost,
    HourlyCost,
    HourlyOperation,
    HourlyPersona,
    KnownOperation,
    PostCost,
)
from costs.models.inbox import DeadLetter, EventKey, InboxRow
from costs.models.keys import DEFAULT_SOURCE, ApiKey, Scope
from costs.models.ledger import AdjustmentKey, CostEvent, EntryType, Evidence
from costs.models.metrics import MetricGauge, MetricNote, MetricTotal
from costs.models.outcomes import HourlyOutcome, Outcome, OutcomeKind, OutcomeSums, PostOutcome
from costs.models.prices import PriceRate, PriceSheet
from costs.models.schedule import ScheduledRun

__all__ = [
    "DEFAULT_SOURCE",
    "AdjustmentKey",
    "ApiKey",
    "ArchivedPartition",
    "ArchivedPost",
    "ArchivedSum",
    "CostEvent",
    "DailyCost",
    "DailyPersona",
    "DeadLetter",
    "EntryType",
    "EventKey",
    "Evidence",
    "FiveMinuteCost",
    "HourlyCost",
    "HourlyOperation",
    "HourlyOutcome",
    "HourlyPersona",
    "InboxRow",
    "KnownOperation",
    "MetricGauge",
    "MetricNote",
    "MetricTotal",
    "Outcome",
    "OutcomeKind",
    "OutcomeSums",
    "PostCost",
    "PostOutcome",
    "PriceRate",
    "PriceSheet",
    "ScheduledRun",
    "Scope",
]
