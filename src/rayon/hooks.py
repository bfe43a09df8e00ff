"""Tells people that a run failed, through a webhook.

Knows one address and plain text. A flow's `@exit_hook` calls it, on a cluster in a pod of its own; it imports nothing
heavy.
"""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

WEBHOOK = "RAYON_WEBHOOK"
"""The variable with the address that failures are posted to, as JSON with `text` (as Slack and Mattermost read it),
`flow`, `run` and `steps`. Unset: nobody is told."""

_SECONDS = 10.0


def report_failure(run: Any = None) -> None:
    """Post which run failed, and in which steps. A webhook that does not answer is said and raises nothing.

    Args:
        run: the Metaflow run; None where there is no metadata service to ask.
    """
    address = os.environ.get(WEBHOOK, "")
    if not address:
        return
    path = str(getattr(run, "pathspec", "") or os.environ.get("RUN_PATHSPEC") or "a run")
    steps = failed_steps(run)
    where = f" in {', '.join(steps)}" if steps else ""
    content = {"text": f"rayon: {path} failed{where}", "flow": path.split("/")[0], "run": path, "steps": steps}
    try:
        if not address.startswith(("http://", "https://")):
            raise ValueError("it is no http(s) address")
        request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=_SECONDS).close()
    except (OSError, ValueError) as error:
        print(f"the failure of {path} could not be reported to {WEBHOOK}: {error}")


def failed_steps(run: Any) -> list[str]:
    """Return the names of the steps with a task that did not succeed."""
    try:
        return sorted({step.id for step in run for task in step if not task.successful}) if run is not None else []
    except Exception:  # whatever the service says: the failure itself must be told
        return []
