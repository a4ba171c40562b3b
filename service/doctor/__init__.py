"""Whether this deployment is fit to run: each thing that must hold, looked at, with what to do where it does not."""

from service.doctor.examination import examine
from service.doctor.findings import Finding, Level

__all__ = ["Finding", "Level", "examine"]
