"""Executes compiled Argo Workflows manifests without a cluster: the DAG, its retries, its hooks, events and sensors.

What a workflow's containers do is theirs, and real: `pods` runs them. Understands what Metaflow writes and says so
where it meets something else.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from pods import Node, PodResult, Watch

Values = dict[str, str]


class Attempt(NamedTuple):
    """One pod of a workflow: template, attempt from 0, how it ended."""

    template: str
    number: int
    result: PodResult


class Workflow(NamedTuple):
    """An executed workflow: 'Succeeded' or 'Failed', its Metaflow run, and all its pods in the order in which they
    ended.
    """

    status: str
    run: str
    attempts: tuple[Attempt, ...]

    def told(self) -> str:
        """Return what its failed pods said, for a test that fails."""
        failed = [attempt for attempt in self.attempts if attempt.result.code]
        return "\n".join(f"== {a.template} {a.number}: {a.result.output[-4000:]}" for a in failed)


class PodError(Exception):
    """A container failed in every attempt."""


class Argo:
    """A cluster's workflow templates, sensors and event bus."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.templates: dict[str, dict[str, Any]] = {}
        self.sensors: dict[str, dict[str, Any]] = {}
        self.watch: dict[str, Watch] = {}
        """What is done to the first attempt of a template, by its name."""
        self._count = 0

    def apply(self, objects: list[dict[str, Any]]) -> None:
        """Take in what a deployment made."""
        for item in objects:
            known = {"WorkflowTemplate": self.templates, "Sensor": self.sensors}.get(item["kind"])
            if known is not None:
                known[item["metadata"]["name"]] = item

    def submit(self, template: str, **parameters: Any) -> Workflow:
        """Execute a workflow to its end; parameters are the flow's."""
        item = self.templates[template]
        self._count += 1
        name = f"{template.replace('.', '-')}-{self._count:03d}"
        given = {key: json.dumps(value) for key, value in parameters.items()}
        return _Execution(self, item["spec"], name, given).execute()

    def deliver(self, event: Mapping[str, Any]) -> Iterator[Workflow]:
        """Execute the workflows of the sensors that an event satisfies."""
        for sensor in self.sensors.values():
            (trigger,) = sensor["spec"]["triggers"]
            resource = trigger["template"]["k8s"]["source"]["resource"]
            # without `conditions` a sensor waits for all its dependencies; the flows here have one each
            (dependency,) = sensor["spec"]["dependencies"]
            if all(_holds(line, event) for line in dependency["filters"]["exprs"]):
                parameters = {p["name"]: p["value"] for p in resource["spec"]["arguments"]["parameters"]}
                parameters[dependency["name"]] = json.dumps(event["payload"])
                item = self.templates[resource["spec"]["workflowTemplateRef"]["name"]]
                self._count += 1
                name = f"{item['metadata']['name'].replace('.', '-')}-{self._count:03d}"
                yield _Execution(self, item["spec"], name, parameters).execute()


class _Execution:
    def __init__(self, argo: Argo, spec: Mapping[str, Any], name: str, parameters: Values) -> None:
        self.argo = argo
        self.spec = spec
        self.templates = {item["name"]: item for item in spec["templates"]}
        values = {p["name"]: p.get("value", "") for p in spec["arguments"].get("parameters", [])}
        self.parameters = {**values, **parameters}
        self.name = name
        self.attempts: list[Attempt] = []
        self.facts: Values = {
            "workflow.name": name,
            "workflow.namespace": "default",
            "workflow.creationTimestamp": datetime.now(UTC).isoformat(),
            "workflow.status": "Running",
            "workflow.failures": "[]",
            **{f"workflow.parameters.{key}": value for key, value in self.parameters.items()},
        }

    def execute(self) -> Workflow:
        status = "Succeeded"
        try:
            self._run(self.spec["entrypoint"], {})
        except PodError:
            status = "Failed"
        self.facts["workflow.status"] = status
        for hook in (self.spec.get("hooks") or {}).values():
            template = self.templates[hook["template"]]
            if "container" in template and _applies(hook.get("expression", ""), status):
                with suppress(PodError):  # it is among the attempts
                    self._container({**template, "retryStrategy": {}}, {})
        return Workflow(status, f"argo-{self.name}", tuple(self.attempts))

    def _run(self, name: str, inputs: Values) -> Values:
        template = self.templates[name]
        return self._dag(template, inputs) if "dag" in template else self._container(template, inputs)

    def _dag(self, template: Mapping[str, Any], inputs: Values) -> Values:
        known = {f"inputs.parameters.{key}": value for key, value in inputs.items()}
        waiting, done = list(template["dag"]["tasks"]), set[str]()
        while waiting:
            ready = [task for task in waiting if set(_needs(task)) <= done]
            if not ready:
                raise NotImplementedError(f"tasks wait for one another: {[task['name'] for task in waiting]}")
            for task in ready:
                if "when" in task:
                    raise NotImplementedError(f"{task['name']}: conditional tasks are not executed here")
                known |= {f"tasks.{task['name']}.outputs.parameters.{k}": v for k, v in self._task(task, known).items()}
                done.add(task["name"])
                waiting.remove(task)
        outputs = template.get("outputs", {}).get("parameters", [])
        return {p["name"]: self._fill(p["valueFrom"]["parameter"], known) for p in outputs}

    def _task(self, task: Mapping[str, Any], known: Values) -> Values:
        def run(extra: Values) -> Values:
            given = {p["name"]: self._fill(str(p.get("value", "")), {**known, **extra}) for p in arguments}
            return self._run(task["template"], given)

        arguments = task.get("arguments", {}).get("parameters", [])
        if "withParam" not in task:
            return run({})
        items = [str(item) for item in json.loads(self._fill(task["withParam"], known))]
        results = [run({"item": item}) for item in items]
        return {key: json.dumps([result[key] for result in results]) for key in results[0]}

    def _container(self, template: Mapping[str, Any], inputs: Values) -> Values:
        tries = int(template.get("retryStrategy", {}).get("limit") or 0) + 1
        known = {f"inputs.parameters.{key}": value for key, value in inputs.items()}
        for number in range(tries):
            facts = {**known, "retries": str(number)}
            container = template["container"]
            filled = {
                **container,
                "command": [self._fill(word, facts) for word in container["command"]],
                "env": [
                    {**entry, "value": None if entry.get("value") is None else self._fill(str(entry["value"]), facts)}
                    for entry in container["env"]
                ],
            }
            watch = self.argo.watch.pop(template["name"], None)
            result = self.argo.node.run(filled, {}, watch)
            self.attempts.append(Attempt(template["name"], number, result))
            if result.code == 0:
                found = self.argo.node.outputs
                outputs = template.get("outputs", {}).get("parameters", [])
                return {p["name"]: found[p["valueFrom"]["path"].removeprefix("/mnt/out/")] for p in outputs}
        raise PodError(template["name"])

    def _fill(self, text: str, known: Values) -> str:
        facts = {**self.facts, **known}

        def value(match: re.Match[str]) -> str:
            expression = match[1].strip()
            encoded = re.fullmatch(r"=toBase64\(workflow\.parameters\['([^']+)'\]\)", expression)
            if encoded:
                return base64.b64encode(self.parameters[encoded[1]].encode()).decode()
            if expression not in facts:
                raise NotImplementedError(f"the expression {expression} is not understood here")
            return facts[expression]

        return re.sub(r"\{\{(.*?)\}\}", value, text)


def _needs(task: Mapping[str, Any]) -> list[str]:
    depends = task.get("depends") or ""
    found = re.findall(r"([\w-]+)\.Succeeded", depends)
    if re.sub(r"[\w-]+\.Succeeded|&&|\s", "", depends):
        raise NotImplementedError(f"{task['name']} depends on {depends}, which is not understood here")
    return found


def _applies(expression: str, status: str) -> bool:
    wanted = re.findall(r"workflow\.status == '(\w+)'", expression)
    return not expression or status in wanted


def _holds(line: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event passes one line of a sensor's filter, `field == 'value'` with the path of the field."""
    (field,) = line["fields"]
    wanted = re.fullmatch(r"\w+ == '([^']*)'", line["expr"])
    if wanted is None:
        raise NotImplementedError(f"the filter {line['expr']} is not understood here")
    value: Any = {"body": event}
    for part in field["path"].split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value) == wanted[1]


class Webhook(ThreadingHTTPServer):
    """Takes JSON by POST on a free port of loopback and keeps it, in `received`: the event source, or a chat."""

    daemon_threads = True

    def __init__(self) -> None:
        received: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.received = received
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()
