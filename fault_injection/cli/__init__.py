"""Commands of the fault-injection harness. `kessai` finds them by its entry points.

The harness knows the command line and not the other way round, so that a deployment may leave it
out.
"""

from fault_injection.cli import chaos, faults, model, simulate

__all__ = ["chaos", "faults", "model", "simulate"]
