"""Deploys the flows to Argo Workflows, or shows what that would make in a cluster.

`argo-workflows create --only-json` leaves out schedule and sensor. To show all, the real command runs against a
Kubernetes API on loopback that keeps what it is sent and executes nothing. Knows objects by group, kind and name.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from rayon.config import ConfigError, read_config

FLOWS = ("preprocess", "train", "score", "monitor", "feedback")
"""The flows that are deployed, by the first word of their files, in the order in which they first have to run."""

_OBJECT = re.compile(r"^/apis/[^/]+/[^/]+/namespaces/(?P<space>[^/]+)/(?P<kind>[^/?]+)(?:/(?P<name>[^/?]+))?")
_SECONDS = 600

Objects = dict[tuple[str, str, str], dict[str, Any]]


class DeployError(RuntimeError):
    """A flow could not be compiled. The message is what the command said."""


class KubernetesRecorder(ThreadingHTTPServer):
    """The part of the Kubernetes API that deploying uses: custom objects of a namespace, kept in `objects` by
    (namespace, plural kind, name), in memory, on a free port of loopback.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: Objects = {}
        self.versions = itertools.count(1)

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def kubeconfig(self) -> str:
        """Return the text of a KUBECONFIG file that leads to it."""
        name = "loopback"
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": name, "cluster": {"server": self.address}}],
                "users": [{"name": name, "user": {}}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                "current-context": name,
            }
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KubernetesRecorder

    def do_GET(self) -> None:
        found, key = self._key()
        if found and key[2]:
            self._answer(200 if key in self.server.objects else 404, self.server.objects.get(key, {"code": 404}))
        elif found:
            items = [item for place, item in self.server.objects.items() if place[:2] == key[:2]]
            self._answer(200, {"items": items, "metadata": {}})
        else:
            self._answer(404, {"code": 404})

    def do_POST(self) -> None:
        content = self._content()
        found, (space, kind, _) = self._key()
        facts = content.get("metadata", {})
        if not found:
            self._answer(404, {"code": 404})
            return
        version = str(next(self.server.versions))
        facts.setdefault("name", f"{facts.get('generateName', '')}{version}")
        facts["resourceVersion"] = version
        self.server.objects[space, kind, facts["name"]] = content
        self._answer(201, content)

    def do_PUT(self) -> None:
        content = self._content()
        _, key = self._key()
        content.setdefault("metadata", {})["resourceVersion"] = str(next(self.server.versions))
        self.server.objects[key] = content
        self._answer(200, content)

    do_PATCH = do_PUT  # noqa: N815 - the names that http.server looks for

    def do_DELETE(self) -> None:
        _, key = self._key()
        known = self.server.objects.pop(key, None)
        self._answer(404 if known is None else 200, {"status": "Failure" if known is None else "Success"})

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _key(self) -> tuple[bool, tuple[str, str, str]]:
        match = _OBJECT.match(self.path)
        return bool(match), (match["space"], match["kind"], match["name"] or "") if match else ("", "", "")

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        return content

    def _answer(self, code: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def flow_file(folder: Path, flow: str, experiment: Path) -> Path:
    """Return the file of a flow: of the training that for one process or that for several, as `trainer.nodes` says.

    Both make the same template, so that the one deployed last takes the other's place.

    Raises:
        DeployError: the experiment cannot be read.
    """
    name = flow
    if flow == "train":
        try:
            several = read_config(experiment.read_text(encoding="utf-8"))["trainer"]["nodes"] > 1
        except (OSError, ConfigError) as error:
            raise DeployError(f"the experiment {experiment} cannot be read: {error}") from None
        name = "train_nodes" if several else "train"
    return folder / f"{name}_flow.py"


@contextmanager
def recording() -> Iterator[KubernetesRecorder]:
    """Run a recorder for as long as the context lasts."""
    with KubernetesRecorder() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def compile_flow(
    flow: Path, experiment: Path, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return what deploying a flow's file would send to a cluster: template, schedule, sensor.

    The code package is uploaded to the S3 datastore, as in a deployment.

    Args:
        options: the flow's own options, such as '--production'.
        environment: the variables of the command; this process's, where None.

    Raises:
        DeployError: the command failed.
    """
    with recording() as server, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(server.kubeconfig())
        known = os.environ if environment is None else environment
        deploy_flow(flow, experiment, options, {**known, "KUBECONFIG": str(config)})
        return list(server.objects.values())


def deploy_flow(
    flow: Path, experiment: Path, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> str:
    """Deploy a flow's file to Argo Workflows, with S3 for its artifacts, and return what the command said.

    Args:
        options: as `compile_flow`.
        environment: as `compile_flow`.

    Raises:
        DeployError: the command failed.
    """
    command = [sys.executable, str(flow), "--no-pylint", "--datastore", "s3", "--config", "experiment", str(experiment)]
    known = os.environ if environment is None else environment
    done = subprocess.run(
        [*command, *options, "argo-workflows", "create"],
        env={**known, **SCHEDULES},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        lines = "\n".join(said.splitlines()[-15:])
        raise DeployError(f"{flow.name} cannot be deployed like this ({needed(known)}):\n{lines}")
    return said


def needed(environment: Mapping[str, str]) -> str:
    """Return which variables of a deployment are not set; Metaflow's own configuration file may have them."""
    missing = [name for name in NEEDED if not environment.get(name)]
    return f"not set: {', '.join(missing)}, see docs/production.md" if missing else "all variables are set"


NEEDED = (
    "METAFLOW_DATASTORE_SYSROOT_S3",
    "METAFLOW_SERVICE_URL",
    "METAFLOW_ARGO_EVENTS_EVENT",
    "METAFLOW_ARGO_EVENTS_EVENT_SOURCE",
    "METAFLOW_ARGO_EVENTS_SERVICE_ACCOUNT",
    "METAFLOW_ARGO_EVENTS_WEBHOOK_URL",
)
"""What a deployment reads of the environment, unless `metaflow configure` wrote it to a file."""

SCHEDULES = {"METAFLOW_ARGO_WORKFLOWS_USE_SCHEDULES": "1"}
"""Argo 4 refuses the older form of a CronWorkflow, which Metaflow writes by default."""
