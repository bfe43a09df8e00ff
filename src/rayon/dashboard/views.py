"""The workspace and the report: made, written down, published.

Knows W&B's library of workspaces and reports, and by which tags runs are found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from rayon.dashboard.panels import MANY
from rayon.dashboard.parts import parts
from rayon.tracking.keys import tags_of


class DashboardError(RuntimeError):
    """W&B did not take the dashboard. The message says why and what to do."""


class Scope(NamedTuple):
    """Whose runs are shown: those of a catalogue, in one Metaflow project branch or, with '', in all of them.

    `project` is W&B's, `target` the precision that decides what is filed without a human.
    """

    catalogue: str
    project: str
    target: float
    branch: str = ""

    @property
    def title(self) -> str:
        """What workspace and report are called."""
        return f"rayon: {self.catalogue}{f', {self.branch}' if self.branch else ''}"


def workspace(scope: Scope, entity: str) -> Any:
    """Return the workspace, a section a chapter, not yet saved (`wandb_workspaces.workspaces.Workspace`)."""
    import wandb_workspaces.workspaces as ws

    sections = [
        ws.Section(
            name=part.title,
            panels=part.panels(),
            is_open=True,
            layout_settings=ws.SectionLayoutSettings(columns=3, rows=2),
        )
        for part in parts(scope.target)
    ]
    shown = ["run:jobType", "config:candidate.value", "config:dataset.value", "summary:test/macro_f1", "run:createdAt"]
    return ws.Workspace(
        entity=entity,
        project=scope.project,
        name=scope.title,
        sections=sections,
        settings=ws.WorkspaceSettings(max_runs=MANY),
        runset_settings=ws.RunsetSettings(filters=_filters(scope), pinned_columns=shown),
    )


def report(scope: Scope, entity: str) -> Any:
    """Return the report, not yet saved (`wandb_workspaces.reports.v2.Report`): each chapter with its own table of runs.

    Its runs are those of the report's own project.
    """
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [wr.TableOfContents()]
    for part in parts(scope.target, windows=1):
        runs = wr.Runset(
            name=part.title,
            filters=_filters(scope, part.jobs, part.tags),
            pinned_columns=["run:displayName", *part.columns, "run:createdAt"],
        )
        blocks += [wr.H1(part.title), wr.P(part.words), wr.PanelGrid(runsets=[runs], panels=part.panels())]
    where = f" in the Metaflow project branch {scope.branch}" if scope.branch else ", whatever their Metaflow branch"
    words = f"All runs of the catalogue '{scope.catalogue}'{where}. Made by: python -m rayon dashboard"
    return wr.Report(
        entity=entity, project=scope.project, title=scope.title, description=words, blocks=blocks, width="fluid"
    )


def specification(scope: Scope, entity: str) -> dict[str, Any]:
    """Return workspace and report as W&B stores them, plain data. No key and no network are needed."""
    written: dict[str, Any] = {"entity": entity, "project": scope.project, "name": scope.title}
    for kind, view in (("workspace", workspace(scope, entity)), ("report", report(scope, entity))):
        written[kind] = json.loads(view._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    return written


def publish(scope: Scope, entity: str = "") -> tuple[str, str]:
    """Save workspace and report in W&B and return their addresses; those saved before are replaced.

    `entity` is a user or team, the default one of the key's owner if not given. WANDB_API_KEY has to be set.

    Raises:
        DashboardError: W&B cannot be reached or refuses.
    """
    import wandb

    try:
        api = wandb.Api()
        entity = entity or str(api.default_entity)
        written, shown = report(scope, entity), workspace(scope, entity)
        written.id = _report_before(api, scope, entity)
        written.save()  # first: it makes the project where there is none
        _name_as_before(shown)
        shown.save()
    except Exception as error:
        # whatever comes out of a client and a network: nothing is lost, and there is one thing to do about it
        words = " ".join(str(error).split()) or type(error).__name__
        raise DashboardError(
            f"W&B did not take the dashboard: {words}. Check WANDB_API_KEY, --entity and the network; with --output "
            "the specification goes to a file."
        ) from error
    return str(shown.url), str(written.url)


def _report_before(api: Any, scope: Scope, entity: str) -> str:
    """Return the id of the report of this title, '' where there is none."""
    try:
        return next((str(one.id) for one in api.reports(f"{entity}/{scope.project}") if _titled(one, scope)), "")
    except ValueError:  # the library's way to say that there is no such project yet
        return ""


def _titled(found: Any, scope: Scope) -> bool:
    return str(found.display_name) == scope.title


def _name_as_before(shown: Any) -> None:
    """Give a workspace the name that it has had since it was first saved, and the id that goes with it."""
    from wandb_workspaces.workspaces import internal

    key = sha256(shown.name.encode()).hexdigest()[:11]
    shown._internal_name = f"nw-{key}-v"  # W&B's own form of names; `save` would make up another one each time
    try:
        shown._internal_id = internal.get_view_dict(shown.entity, shown.project, key)["id"]
    except ValueError:  # the library's way to say that there is none yet
        shown._internal_id = ""


def _filters(scope: Scope, jobs: Sequence[str] = (), tags: Sequence[str] = ()) -> list[Any]:
    from wandb_workspaces import expr

    _, branch, catalogue = tags_of(scope.catalogue, scope.branch)
    wanted = [catalogue, *([branch] if scope.branch else []), *tags]
    chosen = [expr.Tags().isin([tag]) for tag in wanted]
    return [*chosen, *([expr.Metric("JobType").isin(list(jobs))] if jobs else [])]
