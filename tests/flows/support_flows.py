"""Real runs of the flows, in processes of their own, on a small generated catalogue in a temporary folder."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from metaflow import Run, namespace

ROOT = Path(__file__).resolve().parents[2]


class Finished(NamedTuple):
    """A flow's process: exit code, what it printed, and the number of its run ('' where none began)."""

    code: int
    output: str
    run_id: str


class Shop:
    """A catalogue in a folder and the settings to run flows on it; `change` gives other settings, a level deep.

    Its runs are kept below `datastore`, where all runs of this process are if not given.
    """

    def __init__(self, folder: Path, datastore: Path | None = None) -> None:
        self.folder = folder
        self.datastore = datastore or Path(os.environ["METAFLOW_DATASTORE_SYSROOT_LOCAL"])
        # cards are written below the working directory and looked for beside the runs: here both are one
        runs = self.datastore / ".metaflow"
        runs.mkdir(parents=True, exist_ok=True)
        if not (folder / ".metaflow").exists():
            (folder / ".metaflow").symlink_to(runs)
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
            env={
                **os.environ,
                "METAFLOW_RUN_MAX_WORKERS": "2",
                "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.datastore),
            },
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


class Story(NamedTuple):
    """What happened to one shop: trained alone, made a dataset version, lost one of two processes in training, was
    killed in every attempt, was resumed, and grew by 5%.
    """

    shop: Shop
    alone: Finished
    preprocessed: Finished
    killed: Finished
    kills: int
    failed: Finished
    resumed: Finished
    grown: Finished
    retrained: Finished


def artifacts(flow: str, done: Finished) -> Any:
    """The final artifacts of a run."""
    namespace(None)
    return Run(f"{flow}/{done.run_id}").data


def task_artifacts(flow: str, done: Finished, step: str) -> list[Any]:
    """The artifacts of every task of a step."""
    namespace(None)
    return [task.data for task in Run(f"{flow}/{done.run_id}")[step]]


def shown(html: str) -> str:
    """The page of a card, and the contents it carries encoded."""
    carried = [base64.b64decode(text).decode(errors="ignore") for text in re.findall(r'"([A-Za-z0-9+/=]{400,})"', html)]
    return html + "".join(carried)


def run_and_kill(
    shop: Shop, flow: str, step: str, pattern: str, attempts: int, *arguments: str, only: str = ""
) -> tuple[Finished, int]:
    """Run a flow and kill a step's task in so many attempts, each as soon as it has left a new file like `pattern`.

    Of a @parallel step `only` names the process to be killed, by the end of its task's number.
    """
    command = shop.command(flow, "run", *arguments)
    environment = {**os.environ, "PATH": os.defpath}  # no virtual environment is activated
    process = subprocess.Popen(
        command, cwd=shop.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    killed: set[int] = set()
    last = 0.0
    deadline = time.monotonic() + 300
    while len(killed) < attempts and process.poll() is None and time.monotonic() < deadline:
        written = [file.stat().st_mtime for file in shop.folder.glob(pattern)]
        if max(written, default=0.0) > last:
            for pid in task_processes(shop.folder, f"{flow}_flow.py", step, only) - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                last = max(written)
        time.sleep(0.005)
    output, _ = process.communicate(timeout=300)
    return finished(process.returncode, output), len(killed)


def task_processes(folder: Path, file: str, step: str, only: str = "") -> set[int]:
    """The processes that run a task of a flow's step from this folder: another test session's are left alone."""
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                elsewhere = (process / "cwd").resolve() != folder.resolve()
            except OSError:  # it has just ended
                continue
            named = any(word.endswith(file.encode()) for word in words)
            if only and not any(word.endswith(only.encode()) for word in words):
                continue
            if named and not elsewhere and b"step" in words and step.encode() in words:
                found.add(int(process.name))
    return found
