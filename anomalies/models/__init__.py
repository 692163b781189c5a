"""The tables of detection: what was found, by which levels, and what is remembered between two looks."""

from anomalies.models.anomalies import Anomaly, Tolerance, Transition, key_of
from anomalies.models.policies import RulePolicy
from anomalies.models.state import Baseline, SeriesState, Touch, Watermark

__all__ = [
    "Anomaly",
    "Baseline",
    "RulePolicy",
    "SeriesState",
    "Tolerance",
    "Touch",
    "Transition",
    "Watermark",
    "key_of",
]
