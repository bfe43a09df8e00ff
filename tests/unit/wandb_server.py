"""A stand-in for the parts of W&B's server that rayon's runs and dashboards use, on loopback, kept in memory.

It answers what wandb 0.31 and wandb-workspaces 0.4.13 ask: GraphQL by the name of the operation, the stream of a run's
history and summary, uploads of files and artifacts. It believes every key, and knows nothing of W&B's pages.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rayon.tracking.service import end_service

ENTITY = "team"
_LAST = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}


class Server(ThreadingHTTPServer):
    """What was asked, by operation (`asked`), and what was left: runs by id, files by path, artifacts, views by name.

    A run has what it was started with, and `history` (a dict a point), `summary` and `complete` as they were streamed.
    `broken` is a status that every further request is answered with, 0 for none.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lock = threading.Lock()
        self.broken = 0
        self.asked: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.projects: list[str] = []

    def stop(self) -> None:
        """Be gone: what comes is refused from now on."""
        if self.fileno() < 0:
            return
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""

    def query(self, text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one GraphQL document."""
        named = re.search(r"(?:query|mutation)\s+(\w+)", text)
        name = named[1] if named else text
        self.asked.append(name)
        answer: Callable[[Mapping[str, Any]], dict[str, Any]] | None = getattr(self, f"_on_{name.lower()}", None)
        return {"data": answer(variables)} if answer else {"errors": [{"message": f"no stand-in for {name}: {text}"}]}

    def stream(self, run: str, sent: Mapping[str, Any]) -> None:
        """Take in a piece of a run's stream: lines of its files, from an offset on."""
        kept = self.runs[run]
        for name, piece in sent.get("files", {}).items():
            lines = [json.loads(line) for line in piece["content"] if name.endswith((".json", ".jsonl"))]
            if name == "wandb-history.jsonl":
                kept["history"][piece["offset"] :] = lines
            elif name == "wandb-summary.json" and lines:
                kept["summary"] = lines[-1]
        if sent.get("complete"):
            kept["complete"] = sent["exitcode"]

    def _on_viewer(self, _: Mapping[str, Any]) -> dict[str, Any]:
        teams = {"edges": [{"node": {"name": ENTITY}}]}
        viewer = {"id": "V", "entity": ENTITY, "username": "anna", "email": "anna@example.org", "admin": False}
        return {"viewer": {**viewer, "name": "Anna", "flags": "{}", "teams": teams, "apiKeys": {"edges": []}}}

    def _on_getdefaultentity(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "V", "entity": ENTITY}}

    def _on_getprojects(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        node = {"__typename": "Project", "id": "P", "entityName": asked["entity"], "createdAt": "2026-01-01T00:00:00Z"}
        edges = [{"node": {**node, "name": name, "isBenchmark": False, "user": None}} for name in self.projects]
        return {"models": {"pageInfo": _LAST, "edges": edges}}

    def _on_createproject(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.projects.append(asked["input"]["name"])
        return {"result": {"project": None, "model": None, "inserted": True}}

    def _on_projectviews(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._views(asked["project"], asked.get("viewType", "runs"))

    def _on_view(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._views(asked["projectName"], asked["viewType"], asked["viewName"])

    def _views(self, project: str, kind: str, name: str = "") -> dict[str, Any]:
        if project not in self.projects:
            return {"project": None}
        found = [view for view in self.views.values() if view["type"] == kind and name in ("", view["name"])]
        edges = [
            {"cursor": "C", "node": {**view, "user": None, "updatedAt": None, "createdAt": None}} for view in found
        ]
        return {"project": {"allViews": {"edges": edges, "pageInfo": _LAST}}}

    def _on_upsertview(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        known = asked.get("id") or f"V{len(self.views) + 1}"
        inserted = known not in self.views
        self.views[known] = {**asked, "id": known}
        project = {"id": "P", "name": asked["projectName"], "entityName": asked["entityName"]}
        view = {**self.views[known], "project": project, "updatedAt": "2026-01-01T00:00:00Z"}
        return {"upsertView": {"view": view, "inserted": inserted}}

    _on_upsertview2 = _on_upsertview

    def _on_serverfeaturesquery(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _on_upsertbucket(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        empty: dict[str, Any] = {"history": [], "summary": {}, "complete": None}
        run = self.runs.setdefault(asked["name"], empty)
        run |= {name: value for name, value in asked.items() if value is not None}
        project = {"id": "P", "name": asked["project"], "entity": {"id": "E", "name": ENTITY}}
        bucket = {"id": "B", "name": asked["name"], "displayName": run["displayName"], "project": project}
        more = {"description": None, "config": run["config"], "sweepName": None, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": {**bucket, **more}, "inserted": True}}

    def _on_createrunfiles(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": self._place(asked["run"], name)} for name in asked["files"]]
        return {"createRunFiles": {"runID": "B", "uploadHeaders": [], "files": files}}

    def _on_artifacttype(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _on_createartifact(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        given = asked["input"]
        name = given["artifactCollectionName"]
        self.artifacts[name] = {**given, "committed": False}
        return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": {"id": "S"}}}}

    def _on_createartifactmanifest(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        file = {"id": "F", "uploadUrl": self._place(asked["artifactID"], asked["name"]), "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": asked["artifactID"], "file": file}}}

    def _on_updateartifactmanifest(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = asked["artifactManifestID"]
        file = {"id": "F", "uploadUrl": self._place(name, "wandb_manifest.json"), "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": name, "file": file}}}

    def _on_createartifactfiles(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                **{"id": "F", "name": file["name"], "displayName": file["name"], "storagePath": None},
                **{"uploadUrl": self._place(file["artifactID"], file["name"]), "uploadHeaders": []},
                **{"uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}},
            }
            for file in asked["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _on_commitartifact(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.artifacts[asked["artifactID"]]["committed"] = True
        return {"commitArtifact": {"artifact": {"id": asked["artifactID"], "digest": ""}}}

    def _place(self, owner: str, name: str) -> str:
        return f"{self.url}/storage/{owner}/{name}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing of requests."""

    def do_POST(self) -> None:
        body = self._body()
        with self.server.lock:
            if self.server.broken:
                self._answer({"errors": [{"message": "broken"}]}, self.server.broken)
            elif self.path == "/graphql":
                asked = json.loads(body)
                told = self.server.query(asked["query"], asked.get("variables") or {})
                self._answer(told, 200 if "data" in told else 400)
            elif streamed := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
                self.server.stream(streamed[1], json.loads(body))
                self._answer({})
            else:  # telemetry
                self._answer({})

    def do_PUT(self) -> None:
        body = self._body()
        with self.server.lock:
            self.server.files[self.path.removeprefix("/storage/")] = body
            self._answer({}, self.server.broken or 200)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = iter(lambda: self.rfile.read(int(self.rfile.readline(), 16) + 2)[:-2], b"")
            body = b"".join(pieces)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def wandb_server() -> Iterator[Server]:
    """Run the stand-in until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@contextmanager
def used_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run the stand-in, with W&B's client of this process told of it and of no other."""
    with wandb_server() as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        monkeypatch.setattr("wandb.apis.public.Api._HTTP_TIMEOUT", 1.0)  # a table waits so long for a dead server
        end_service(2.0)  # what W&B's client and its service process remember of other servers
        yield running
    end_service(2.0)
