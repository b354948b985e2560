# SPDX-License-Identifier: Apache-2.0
"""What a recurrent network remembers, measured on the user's own data, and what to change."""

from elman.diagnosis.measure import diagnose
from elman.diagnosis.monitor import HorizonMonitor
from elman.diagnosis.report import Report
from elman.diagnosis.trace import Trace, trace

__all__ = ["HorizonMonitor", "Report", "Trace", "diagnose", "trace"]
