"""Commands to go on with, as a run's last lines name them: of the experiment that the run is about.

Knows this process's arguments, and leaves the experiment's file in the environment of its tasks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_FILE = "RAYON_EXPERIMENT_FILE"


def flow_command(flow: str, words: str = "run", file: str = "") -> str:
    """Return the command of a flow, 'train' say, for an experiment's file: that of this run if none is given."""
    file = file or os.environ.get(_FILE, "")
    return f"python flows/{flow}_flow.py {f'--config experiment {file} ' if file else ''}{words}"


def _remember(arguments: Sequence[str]) -> None:
    """Keep the experiment's file for this process's tasks, whose own arguments do not have it."""
    for option, name, file in zip(arguments, arguments[1:], arguments[2:], strict=False):
        if (option, name) == ("--config", "experiment"):
            os.environ[_FILE] = file


_remember(sys.argv)
