"""The rules, each by the type of the anomalies that it finds."""

from anomalies.detectors.base import Detector, Judgement, Levels, Reading, Window
from anomalies.detectors.budget_overrun import BudgetOverrun
from anomalies.detectors.burn_rate import BurnRate
from anomalies.detectors.cost_spike import CostSpike
from anomalies.detectors.cost_threshold import CostThreshold
from anomalies.detectors.dead_letters import DeadLetters
from anomalies.detectors.efficiency_drop import EfficiencyDrop
from anomalies.detectors.forecast import ForecastOverrun
from anomalies.detectors.learned_rule import Learned
from anomalies.detectors.ledger_drift import LedgerDrift
from anomalies.detectors.negative_roi import NegativeROI
from anomalies.detectors.no_data import NoData
from anomalies.detectors.unpriced import Unpriced

__all__ = ["DETECTORS", "Detector", "Judgement", "Levels", "Reading", "Window"]

DETECTORS: dict[str, Detector] = {
    "cost_spike": CostSpike(),
    "efficiency_drop": EfficiencyDrop(),
    "negative_roi": NegativeROI(),
    "budget_overrun": BudgetOverrun(),
    "cost_threshold": CostThreshold(),
    "learned": Learned(),
    "unpriced": Unpriced(),
    "no_data": NoData(),
    "forecast": ForecastOverrun(),
    "burn_rate": BurnRate(),
    "dead_letters": DeadLetters(),
    "ledger_drift": LedgerDrift(),
}
