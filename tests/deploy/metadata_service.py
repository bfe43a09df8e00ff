"""The API of Metaflow's metadata service over a folder: `python metadata_service.py FOLDER PORT`.

metaflow-local-service is made for runs that ask the service for their number. On Argo Workflows a run and its tasks
bring theirs (argo-..., t-...), and a run is asked for before it is there: these two are added here.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from metaflow.exception import MetaflowInternalError
from metaflow_local_service import store
from metaflow_local_service.server import create_app


def main(folder: str, port: int) -> None:
    create_run, next_task = store.new_run_id, store._next_task_id
    given: dict[str, Any] = {}

    def with_run(original: Any) -> Any:
        def create(flow: str, body: dict[str, Any]) -> Any:
            given["run"] = body.get("run_number")
            return original(flow, body)

        return create

    def with_task(original: Any) -> Any:
        def create(flow: str, run: str, step: str, body: dict[str, Any]) -> Any:
            given["task"] = body.get("task_id")
            return original(flow, run, step, body)

        return create

    def or_nothing(original: Any) -> Any:
        def look(*path: str) -> Any:
            try:
                return original(*path)
            except MetaflowInternalError:  # what is above it is not there yet
                return None

        return look

    store.new_run_id = lambda: given["run"] or create_run()
    store._next_task_id = lambda flow, run: given["task"] or next_task(flow, run)
    store.create_run, store.create_task = with_run(store.create_run), with_task(store.create_task)
    for name in ("get_run", "get_step", "get_task"):
        setattr(store, name, or_nothing(getattr(store, name)))
    uvicorn.run(create_app(folder), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
