"""Follows a run in Weights & Biases, online or as an offline folder that can be uploaded later.

With `rayon.dashboard`, all of rayon that knows W&B. Knows neither Metaflow nor products: plain strings, numbers and
bytes come in, under the names of `rayon.tracking.keys`. W&B is a witness and never a condition: what fails in it is
said once, in a warning, and the work goes on. A server that stops answering costs the upload and nothing else: all that
was logged is kept as an offline run.
"""

from rayon.tracking.run import Keep, TrackedRun
from rayon.tracking.service import import_wandb
from rayon.tracking.starting import Identity, start

__all__ = ["Identity", "Keep", "TrackedRun", "import_wandb", "start"]
