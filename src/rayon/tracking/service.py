"""W&B's service process: imported early where it will be needed, ended without waiting for ever.

Knows W&B's client and the process that it starts beside a task; nothing of runs.
"""

from __future__ import annotations

import subprocess
import threading

END_TIMEOUT = 15.0
"""Seconds that the service has to end; it has been seen to stay, and W&B's own client waits for ever."""


def import_wandb(mode: str) -> None:
    """Import W&B's client, unless `mode` is 'disabled'. For the first line of a step that tracks and trains.

    Its data models look through every module that is loaded, so it costs half as much before torch is there.
    """
    if mode != "disabled":
        import wandb
        import wandb.sdk.launch  # noqa: F401 - what `wandb.init` imports, and most of its cost


def end_service(wait: float = END_TIMEOUT) -> None:
    """End W&B's service process, and with it what its runs have not sent; kill it after `wait` seconds.

    The next run starts another.
    """
    import wandb

    process = _process()
    ending = threading.Thread(target=wandb.teardown, daemon=True)
    ending.start()
    ending.join(wait)
    if ending.is_alive() and process is not None:
        process.kill()
        ending.join(wait)


def leave_service() -> None:
    """End the service where no run of this process is left, instead of when Python ends, where nothing bounds it."""
    from wandb.sdk import wandb_setup

    if wandb_setup.singleton().most_recent_active_run is None:
        end_service()


def _process() -> subprocess.Popen[bytes] | None:
    """Return the service's process, None where this process has started none."""
    from wandb.sdk import wandb_setup

    # there is no public way to it, and without it no way to bound the wait
    connection = getattr(wandb_setup.singleton(), "_connection", None)
    process = getattr(getattr(connection, "_proc", None), "_process", None)
    return process if isinstance(process, subprocess.Popen) else None
