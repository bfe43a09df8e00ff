"""The command `python -m rayon dashboard`: parses arguments, calls the library and prints."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from rayon.cli_shared import DEMO, Experiment, read_settings, sentences, write_json


def dashboard(
    experiment: Experiment = DEMO,
    entity: Annotated[
        str, typer.Option(help="W&B's user or team; that of WANDB_API_KEY if not given", envvar="WANDB_ENTITY")
    ] = "",
    output: Annotated[
        str, typer.Option(help="write the specification to this JSON file, and publish nothing", show_default="build/")
    ] = "",
    keys: Annotated[bool, typer.Option("--keys", help="print all keys that runs log, as a Markdown table")] = False,
) -> None:
    """Make the team's workspace and report in Weights & Biases, of all runs of a catalogue.

    Publishes where WANDB_API_KEY is set, else writes what it would publish to a file. With --branch, or RAYON_BRANCH,
    only runs of that Metaflow project branch are shown.
    """
    from rayon.dashboard import DashboardError, Scope, publish, specification
    from rayon.tracking.keys import as_markdown

    if keys:
        typer.echo(as_markdown(), nl=False)
        return
    with sentences(DashboardError):
        config, branch = read_settings(experiment), os.environ.get("RAYON_BRANCH", "")
        scope = Scope(config.name, config.tracking.project, config.score.precision, branch)
        if os.environ.get("WANDB_API_KEY") and not output:
            workspace, report = publish(scope, entity)
            typer.echo(f"workspace  {workspace}\nreport     {report}")
            return
        file = Path(output or f"build/dashboard-{config.name}.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(specification(scope, entity), str(file))
    again = f"python -m rayon {f'--branch {branch} ' if branch else ''}dashboard -e {shlex.quote(str(experiment))}"
    typer.echo(f"the specification is in {file}; with WANDB_API_KEY set, `{again}` publishes it.")
