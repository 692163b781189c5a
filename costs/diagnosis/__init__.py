"""What an operator looks at when something is slow, full or stuck, gathered in one go."""

from costs.diagnosis.database import read
from costs.diagnosis.findings import Diagnosis, Section

__all__ = ["Diagnosis", "Section", "read"]
