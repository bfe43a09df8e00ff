"""Runs the containers of compiled workflows on this machine, each as its pod would see the world.

A pod has a file system of its own where it matters: Python with the project's dependencies at /opt, an empty /tmp, the
folder of outputs at /mnt/out, an empty working folder, and nothing where the project's repository is. The network is
this machine's loopback. Made of Linux namespaces, without a container engine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 300

# What lies below a folder that is covered later is bound first; the repository may lie below /tmp.
_ENTER = """
set -e
mount --bind "$IMAGE" /opt
mount --bind "$SITE" /opt/deps
mount --bind "$POD/mnt" /mnt
mount --bind "$POD/work" /srv
mkdir "$POD/tmp/nothing"
mount --bind "$POD/tmp/nothing" "$REPOSITORY"
mount --bind "$POD/tmp" /tmp
cd /srv
exec "$@"
"""


class PodResult(NamedTuple):
    """How a pod ended: its exit status and all that it wrote."""

    code: int
    output: str


Watch = Callable[[subprocess.Popen[bytes], Path], None]
"""Called with a pod's process that has just started and the pod's folder; the pod is waited for once it returns."""


class Node:
    """A machine that pods run on. `secrets` are the cluster's Kubernetes secrets, by name."""

    def __init__(self, folder: Path, secrets: Mapping[str, Mapping[str, str]]) -> None:
        self.folder = folder
        self.secrets = secrets
        self._image = folder / "image"
        if not self._image.exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self._image)], check=True)
            (self._image / "deps").mkdir()
            # a path in a .pth is searched, but no .pth in it is read: the project's own editable install is not seen
            site = next(self._image.glob("lib/python*/site-packages"))
            (site / "dependencies.pth").write_text("/opt/deps\n")

    def run(self, container: Mapping[str, Any], variables: Mapping[str, str], watch: Watch | None = None) -> PodResult:
        """Run a container to its end; the outputs that it left are in `outputs` until the next one."""
        pod = self.folder / f"pod-{uuid.uuid4().hex[:8]}"
        for part in ("mnt/out", "work", "tmp"):
            (pod / part).mkdir(parents=True)
        log = pod / "log"
        site = sysconfig.get_paths()["purelib"]
        inner = {"IMAGE": str(self._image), "SITE": site, "POD": str(pod), "REPOSITORY": str(ROOT)}
        # with --pdeathsig it ends with the tests, however they end
        alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
        command = [*alone, "--kill-child", "bash", "-c"]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [*command, _ENTER, "pod", *container["command"]],
                env={**_plain(container, self.secrets), **variables, **inner},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if watch is not None:
                watch(process, pod)
            try:
                code = process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                kill(process)
                code = process.wait()
        result = PodResult(code, log.read_text(errors="replace"))
        self.outputs = {file.name: file.read_text() for file in (pod / "mnt" / "out").iterdir()}
        shutil.rmtree(pod, ignore_errors=True)
        return result


def available() -> str:
    """Return why pods cannot run here, '' where they can."""
    if shutil.which("unshare") is None:
        return "there is no `unshare` here, which gives a process its own file system"
    tried = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"], check=False)
    return "" if tried.returncode == 0 else "namespaces are not allowed here, which give a process its own file system"


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a pod as a node that goes away does: at once, with all that runs in it."""
    os.killpg(process.pid, signal.SIGKILL)


def kill_when(ready: Callable[[], bool], seconds: float = 120.0) -> Watch:
    """Return what kills a pod as soon as something is the case; it waits no longer than the pod runs."""

    def watch(process: subprocess.Popen[bytes], pod: Path) -> None:
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            if ready():
                kill(process)
                return
            time.sleep(0.02)

    return watch


def _plain(container: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The environment of a container and nothing of this process's."""
    found = {"PATH": "/opt/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    # the image has them, and no package index is asked
    found |= {"METAFLOW_SKIP_INSTALL_DEPENDENCIES": "1"}
    for source in container.get("envFrom") or []:
        found |= secrets[source["secretRef"]["name"]]
    for entry in container["env"]:
        found[entry["name"]] = entry["value"] if entry.get("value") is not None else "loopback"
    return found
