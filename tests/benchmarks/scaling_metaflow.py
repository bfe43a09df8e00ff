"""What Metaflow itself costs: tasks that carry many artifacts, runs that are looked up, requests to S3.

Small flows, run for real.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

FAN = """
import rayon
from metaflow import FlowSpec, Parameter, step


class FanFlow(FlowSpec):
    parts = Parameter("parts", default=10)
    artifacts = Parameter("artifacts", default=0)

    @step
    def start(self):
        self.numbers = list(range(self.parts))
        for number in range(self.artifacts or self.parts):
            setattr(self, f"part_{number:05d}", f"a part {number}" * 50)
        self.next(self.build, foreach="numbers")

    @step
    def build(self):
        self.built = self.input
        self.next(self.combine)

    @step
    def combine(self, inputs):
        self.all = [task.built for task in inputs]
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FanFlow()
"""
REQUEST_TASKS = 7
_WIDE = 20
LOOK = """
import sys, time
import rayon
from rayon.champions import runs_tagged
started = time.process_time()
found = list(runs_tagged("FanFlow", "model:shop"))
print(len(found), time.process_time() - started)
"""


def tasks(folder: Path, artifacts: Sequence[int]) -> list[dict[str, float]]:
    """Tasks that inherit so many artifacts, as those of PreprocessFlow inherit all parts: CPU seconds of a task, bytes
    of the note of what it refers to, files of metadata. Means of a whole run, whose first task stores the artifacts.
    """
    points = []
    for count in artifacts:
        home = folder / f"fan-{count}"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _flow(home, "--parts", str(_WIDE), "--artifacts", str(count))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        notes = [file.stat().st_size for file in home.glob(".metaflow/FanFlow/*/build/*/0.data.json")]
        files = sum(1 for _ in home.glob(".metaflow/FanFlow/*/build/*/_meta/0_artifact_*"))
        assert len(notes) == _WIDE
        points.append({"n": count, "cpu": cpu / (_WIDE + 3), "note": sum(notes) / _WIDE, "files": files / _WIDE})
        print("tasks:", points[-1], flush=True)
    return points


def runs_known(folder: Path, counts: Sequence[int]) -> list[dict[str, float]]:
    """Looking up a flow's runs by tag in local metadata: CPU seconds in a process of its own."""
    home = folder / "known"
    points: list[dict[str, float]] = []
    for count in counts:
        for number in range(count):
            made = home / ".metaflow" / "FanFlow" / str(1_790_000_000_000_000 + number) / "_meta"
            made.mkdir(parents=True, exist_ok=True)
            about = {"flow_id": "FanFlow", "run_number": made.parent.name, "user_name": "tests", "ts_epoch": 1}
            tags = {"tags": ["model:shop"], "system_tags": ["project_branch:user.tests"]}
            (made / "_self.json").write_text(json.dumps({**about, **tags}))
        flow = made.parent.parent / "_meta"
        flow.mkdir(exist_ok=True)
        (flow / "_self.json").write_text(
            json.dumps({"flow_id": "FanFlow", "ts_epoch": 1, "tags": [], "system_tags": []})
        )
        told = _python(home, ["-c", LOOK]).split()
        assert int(told[0]) == count
        points.append({"n": count, "cpu": float(told[1])})
        print("runs_known:", points[-1], flush=True)
    return points


def requests(folder: Path, artifacts: Sequence[int]) -> list[dict[str, float]]:
    """Requests to S3 of a run of `REQUEST_TASKS` tasks, by the artifacts it stores; a server on loopback counts."""
    import boto3
    from moto.server import ThreadedMotoServer

    counted: Counter[str] = Counter()

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found = re.search(r'"(?:\x1b\[\d+m)*(GET|PUT|HEAD|POST|DELETE) ', record.getMessage())
            if found:
                counted[found.group(1)] += 1

    log = logging.getLogger("werkzeug")
    log.setLevel(logging.INFO)
    log.addHandler(Counting())
    logging.disable(logging.NOTSET)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=True)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(keys)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="rayon-bench")
    points = []
    for count in artifacts:
        counted.clear()
        home = folder / f"s3-{count}"
        environment = {
            **keys,
            "METAFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
            "METAFLOW_DATASTORE_SYSROOT_S3": f"s3://rayon-bench/{count}",
        }
        _flow(
            home,
            "--parts",
            str(REQUEST_TASKS - 3),
            "--artifacts",
            str(count),
            options=["--datastore", "s3"],
            environment=environment,
        )
        point = {"n": float(count), "puts": float(counted["PUT"]), "gets": float(counted["GET"] + counted["HEAD"])}
        points.append(point)
        print("requests:", point, dict(counted), flush=True)
    client.close()  # an open connection would keep the server from stopping
    server.stop()
    return points


def _flow(home: Path, *arguments: str, options: Sequence[str] = (), environment: dict[str, str] | None = None) -> None:
    home.mkdir(parents=True)
    (home / "fan_flow.py").write_text(FAN)
    _python(home, ["fan_flow.py", *options, "run", *arguments], environment)


def _python(home: Path, words: list[str], environment: dict[str, str] | None = None) -> str:
    own = {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(home), "METAFLOW_PYLINT": "0", "METAFLOW_USER": "tests"}
    own |= {"RAYON_BRANCH": "user.tests", "METAFLOW_RUN_MAX_WORKERS": "2"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=home,
        env={**os.environ, **own, **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout
