"""The team's workspace and report in Weights & Biases: what is shown of all runs, beside one another.

Built with W&B's own library, wandb-workspaces, and of keys in `rayon.tracking.keys` alone. Knows neither flows nor
models; what is shown are the runs that W&B has of a catalogue, by their tags.
"""

from rayon.dashboard.views import DashboardError, Scope, publish, report, specification, workspace

__all__ = ["DashboardError", "Scope", "publish", "report", "specification", "workspace"]
