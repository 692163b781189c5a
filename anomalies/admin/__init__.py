"""Detection in the admin: what was found, by which levels, and what is tolerated."""

from anomalies.admin import anomalies, policies, tolerances

__all__ = ["anomalies", "policies", "tolerances"]
