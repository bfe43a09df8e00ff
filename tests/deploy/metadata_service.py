"""A metadata service for the tests, with the API of Metaflow's own, over PostgreSQL.

    python metadata_service.py postgresql+psycopg://... PORT

The service that Metaflow runs in production comes as a container image, which does not run here; the package
metaflow-local-service knows no runs that bring their own number, as those on Argo Workflows do. It answers what the
Metaflow client asks for: flows, runs, steps, tasks, artifacts by attempt, metadata, tags.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from sqlalchemy.dialects.postgresql import JSONB, insert

VERSION = "2.5.0"
Body = dict[str, Any]

_META = sa.MetaData()
_OBJECTS = sa.Table(
    "metaflow_objects",
    _META,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("parent", sa.Text, index=True),
    sa.Column("body", JSONB),
    sa.Column("number", sa.BigInteger, sa.Identity()),
)
_ARTIFACTS = sa.Table(
    "metaflow_artifacts",
    _META,
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("body", JSONB),
)
_METADATA = sa.Table(
    "metaflow_metadata",
    _META,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("task", sa.Text, index=True),
    sa.Column("body", JSONB),
)


class Records:
    """The rows. A path is that of the API: 'flow/run/step/task'."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, pool_pre_ping=True)
        _META.create_all(self.engine)

    def create(self, parent: str, id: str, body: Body, key: str) -> Body:
        with self.engine.begin() as connection:
            if not id:
                id = str(connection.execute(sa.select(sa.func.count()).select_from(_OBJECTS)).scalar_one() + 1)
            row = {"path": f"{parent}/{id}" if parent else id, "parent": parent, "body": {**body, key: id}}
            made = connection.execute(insert(_OBJECTS).values(row).on_conflict_do_nothing())
            if not made.rowcount:
                raise HTTPException(409)
        return dict(row["body"])

    def get(self, path: str) -> Body:
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(_OBJECTS.c.body).where(_OBJECTS.c.path == path)).scalar()
        if found is None:
            raise HTTPException(404)
        return dict(found)

    def below(self, parent: str) -> list[Body]:
        query = sa.select(_OBJECTS.c.body).where(_OBJECTS.c.parent == parent).order_by(_OBJECTS.c.number.desc())
        with self.engine.connect() as connection:
            return [dict(body) for body in connection.execute(query).scalars()]

    def change_tags(self, path: str, added: Iterable[str], removed: Iterable[str]) -> list[str]:
        with self.engine.begin() as connection:
            row = connection.execute(
                sa.select(_OBJECTS.c.body).where(_OBJECTS.c.path == path).with_for_update()
            ).scalar_one()
            tags = sorted((set(row["tags"]) - set(removed)) | (set(added) - set(row["system_tags"])))
            connection.execute(_OBJECTS.update().where(_OBJECTS.c.path == path).values(body={**row, "tags": tags}))
        return tags

    def keep_artifacts(self, task: str, artifacts: list[Body]) -> None:
        with self.engine.begin() as connection:
            for body in artifacts:
                row = {"task": task, "attempt": body["attempt_id"], "name": body["name"], "body": body}
                made = insert(_ARTIFACTS).values(row)
                connection.execute(made.on_conflict_do_update(constraint=_ARTIFACTS.primary_key, set_=row))

    def artifacts(self, task: str, attempt: int | None = None) -> list[Body]:
        """The artifacts of an attempt, of the last one where none is named."""
        of_task = sa.select(_ARTIFACTS.c.attempt, _ARTIFACTS.c.body).where(_ARTIFACTS.c.task == task)
        with self.engine.connect() as connection:
            rows = connection.execute(of_task).all()
        wanted = max((row.attempt for row in rows), default=0) if attempt is None else attempt
        return [dict(row.body) for row in rows if row.attempt == wanted]

    def keep_metadata(self, task: str, metadata: list[Body]) -> None:
        if metadata:
            with self.engine.begin() as connection:
                connection.execute(_METADATA.insert(), [{"task": task, "body": body} for body in metadata])

    def metadata(self, task: str) -> list[Body]:
        query = sa.select(_METADATA.c.id, _METADATA.c.body).where(_METADATA.c.task == task).order_by(_METADATA.c.id)
        with self.engine.connect() as connection:
            return [{**row.body, "id": row.id} for row in connection.execute(query)]


def make_service(records: Records) -> FastAPI:
    """Return the service's routes."""
    service = FastAPI()
    run, step, task = (
        "/flows/{flow}/runs/{run}",
        "/flows/{flow}/runs/{run}/steps/{step}",
        "/flows/{flow}/runs/{run}/steps/{step}/tasks/{task}",
    )

    async def content(request: Request) -> Any:
        return json.loads(await request.body() or b"{}")

    @service.get("/ping")
    def ping() -> Response:
        return Response("pong", headers={"METADATA_SERVICE_VERSION": VERSION})

    @service.get("/flows")
    def flows() -> list[Body]:
        return records.below("")

    @service.post("/flows/{flow}")
    async def make_flow(flow: str, request: Request) -> Body:
        return records.create("", flow, await content(request), "flow_id")

    @service.get("/flows/{flow}")
    def get_flow(flow: str) -> Body:
        return records.get(flow)

    @service.get("/flows/{flow}/runs")
    def runs(flow: str) -> list[Body]:
        return records.below(flow)

    @service.post("/flows/{flow}/run")
    async def make_run(flow: str, request: Request) -> Body:
        body = await content(request)
        return records.create(flow, body.get("run_number", ""), body, "run_number")

    @service.get(run)
    def get_run(flow: str, run: str) -> Body:
        return records.get(f"{flow}/{run}")

    @service.patch(f"{run}/tag/mutate")
    async def change_tags(flow: str, run: str, request: Request) -> Body:
        body = await content(request)
        tags = records.change_tags(f"{flow}/{run}", body["tags_to_add"], body["tags_to_remove"])
        return {"tags": tags}

    @service.post(f"{run}/heartbeat")
    def run_lives(flow: str, run: str) -> Body:
        return {"wait_time_in_seconds": 10}

    @service.get(f"{run}/steps")
    def steps(flow: str, run: str) -> list[Body]:
        return records.below(f"{flow}/{run}")

    @service.post(f"{step}/step")
    async def make_step(flow: str, run: str, step: str, request: Request) -> Body:
        return records.create(f"{flow}/{run}", step, await content(request), "step_name")

    @service.get(step)
    def get_step(flow: str, run: str, step: str) -> Body:
        return records.get(f"{flow}/{run}/{step}")

    @service.get(f"{step}/tasks")
    def tasks(flow: str, run: str, step: str) -> list[Body]:
        return records.below(f"{flow}/{run}/{step}")

    @service.get(f"{step}/filtered_tasks")
    def filtered(flow: str, run: str, step: str, metadata_field_name: str = "", pattern: str = "") -> list[str]:
        paths = [f"{flow}/{run}/{step}/{body['task_id']}" for body in records.below(f"{flow}/{run}/{step}")]

        def fits(path: str) -> bool:
            return any(
                (not metadata_field_name or entry["field_name"] == metadata_field_name)
                and re.search(pattern or ".*", str(entry["value"]))
                for entry in records.metadata(path)
            )

        return [path for path in paths if (not metadata_field_name and not pattern) or fits(path)]

    @service.post(f"{step}/task")
    async def make_task(flow: str, run: str, step: str, request: Request) -> Body:
        body = await content(request)
        return records.create(f"{flow}/{run}/{step}", body.get("task_id", ""), body, "task_id")

    @service.get(task)
    def get_task(flow: str, run: str, step: str, task: str) -> Body:
        return records.get(f"{flow}/{run}/{step}/{task}")

    @service.post(f"{task}/heartbeat")
    def task_lives(flow: str, run: str, step: str, task: str) -> Body:
        return {"wait_time_in_seconds": 10}

    @service.post(f"{task}/artifact")
    async def keep_artifacts(flow: str, run: str, step: str, task: str, request: Request) -> Body:
        records.keep_artifacts(f"{flow}/{run}/{step}/{task}", await content(request))
        return {}

    @service.get(f"{task}/artifacts")
    def artifacts(flow: str, run: str, step: str, task: str) -> list[Body]:
        return records.artifacts(f"{flow}/{run}/{step}/{task}")

    @service.get(f"{task}/attempt/{{attempt}}/artifacts")
    def artifacts_of(flow: str, run: str, step: str, task: str, attempt: int) -> list[Body]:
        return records.artifacts(f"{flow}/{run}/{step}/{task}", attempt)

    @service.get(f"{task}/artifacts/{{name}}")
    def artifact(flow: str, run: str, step: str, task: str, name: str) -> Body:
        return named(records.artifacts(f"{flow}/{run}/{step}/{task}"), name)

    @service.get(f"{task}/artifacts/{{name}}/attempt/{{attempt}}")
    def artifact_of(flow: str, run: str, step: str, task: str, name: str, attempt: int) -> Body:
        return named(records.artifacts(f"{flow}/{run}/{step}/{task}", attempt), name)

    @service.post(f"{task}/metadata")
    async def keep_metadata(flow: str, run: str, step: str, task: str, request: Request) -> Body:
        records.keep_metadata(f"{flow}/{run}/{step}/{task}", await content(request))
        return {}

    @service.get(f"{task}/metadata")
    def metadata(flow: str, run: str, step: str, task: str) -> list[Body]:
        return records.metadata(f"{flow}/{run}/{step}/{task}")

    return service


def named(artifacts: list[Body], name: str) -> Body:
    """Return the artifact of a name."""
    for body in artifacts:
        if body["name"] == name:
            return body
    raise HTTPException(404)


if __name__ == "__main__":
    uvicorn.run(make_service(Records(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
