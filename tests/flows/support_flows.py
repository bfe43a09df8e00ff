"""Real runs of the flows, in processes of their own, on a small generated catalogue in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]


class Finished(NamedTuple):
    """A flow's process: exit code, what it printed, and the number of its run ('' where none began)."""

    code: int
    output: str
    run_id: str


class Shop:
    """A catalogue in a folder and the settings to run flows on it; `change` gives other settings, a level deep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "debug.yaml").read_text())
        self.change(
            catalog={"products": str(folder / "raw" / "products.csv"), "images": str(folder / "raw" / "images")},
            cache=str(folder / "cache"),
        )

    def change(self, **sections: Any) -> None:
        """Replace settings; a dict is merged into its section."""
        for name, value in sections.items():
            self.settings[name] = {**self.settings[name], **value} if isinstance(value, dict) else value

    def as_yaml(self) -> str:
        """Return the settings as YAML text; 2e-05, as JSON has it, would be read as a string."""
        return yaml.safe_dump(self.settings)

    def command(self, flow: str, *arguments: str) -> list[str]:
        """Return the command line of a flow under these settings."""
        file = str(ROOT / "flows" / f"{flow}_flow.py")
        return [sys.executable, file, "--config-value", "experiment", self.as_yaml(), *arguments]

    def run(self, flow: str, *arguments: str) -> Finished:
        """Run a flow to its end, from a folder that is not the project's."""
        return self.execute(self.command(flow, "run", *arguments))

    def resume(self, flow: str, origin: Finished) -> Finished:
        """Resume a run that failed; it keeps the settings it began with."""
        file = str(ROOT / "flows" / f"{flow}_flow.py")
        return self.execute([sys.executable, file, "resume", "--origin-run-id", origin.run_id])

    def execute(self, command: list[str]) -> Finished:
        """Run a command of a flow to its end, from a folder that is not the project's."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "METAFLOW_RUN_MAX_WORKERS": "2"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        return finished(done.returncode, done.stdout + done.stderr)


def finished(code: int, output: str) -> Finished:
    """Read the number of a run off what its process printed."""
    marker = "(run-id "
    run_id = output.split(marker, 1)[1].split(")", 1)[0] if marker in output else ""
    return Finished(code, output, run_id)
