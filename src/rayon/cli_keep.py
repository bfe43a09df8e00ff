"""The command `python -m rayon gc`: what of the past may go, and away with it.

Parses, prints; `rayon.keeping` knows the rest. Heavy imports stay inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayon.cli_shared import DEMO, Experiment, count, print_table, read_settings, sentences, write_json

if TYPE_CHECKING:
    from rayon.keeping.gc import Garbage


def gc(
    experiment: Experiment = DEMO,
    yes: Annotated[bool, typer.Option("--yes", help="delete; without it nothing is touched")] = False,
    days: Annotated[float, typer.Option(min=0.0, help="keep runs that began in the last days")] = 30.0,
    runs: Annotated[int, typer.Option(min=1, help="keep the last finished runs of each flow")] = 5,
    failed_days: Annotated[
        float,
        typer.Option(
            min=0.01,
            help="days of silence after which a run that did not finish is no longer taken for running, and goes: more "
            "where tasks wait longer for a machine",
        ),
    ] = 1.0,
    everything: Annotated[
        bool, typer.Option("--all", help="runs of all catalogues and project branches, not only this one's")
    ] = False,
    datastore: Annotated[str, typer.Option(help="local or s3", show_default="Metaflow's default datastore")] = "",
    grace: Annotated[
        float, typer.Option(min=0.0, help="seconds between hiding runs and deleting, for whoever reads just then")
    ] = 10.0,
    only_dropped: Annotated[bool, typer.Option("--dropped", help="list only what goes")] = False,
    json_file: Annotated[str, typer.Option("--json", help="write all as JSON to this file, - for the screen")] = "",
) -> None:
    """List what earlier runs left and nothing needs any more; with --yes, delete it.

    Kept: what is young (--days), the last finished runs of each flow (--runs; 30 of MonitorFlow, whose history later
    ones read), every run that ever was champion, runs tagged 'keep', runs that may be going on; and whatever one of
    these needs: the dataset version a model was trained on, the runs that hold its shards, or that hold predictions of
    a resumed scoring, the feedback that the next training counts. Predictions that the monitor looks at are as young as
    its window: keep --days above it. Failed runs go after a day. Each line says why.

    Of the cache, and of what machines share: features of encoders that neither the experiment nor a kept bundle uses,
    opened shards of no kept dataset version, old copies of catalogues, checkpoints of trainings that have ended. Of the
    app's store: photos that no prediction names. Never: W&B's folders, Parquet files of predictions, reports, code
    packages, other people's runs.

    With Metaflow's files, a run is deleted whole. The metadata service keeps its rows: there a run loses its data and
    is tagged 'rayon.swept'. A flow that is running is left for later. A gc may be cut off at any point: the next one
    goes on.
    """
    from rayon.keeping.gc import collect_garbage
    from rayon.keeping.known import open_stores
    from rayon.keeping.places import KeepError
    from rayon.keeping.policy import Policy

    with sentences(KeepError):
        config = read_settings(experiment)
        found = collect_garbage(
            config,
            open_stores(datastore),
            Policy(days, runs, failed_days),
            yes,
            everything,
            grace,
            lambda words: typer.echo(words, err=True),
        )
    if json_file:
        write_json({"deleted": yes, **found.as_dict()}, json_file)
    if json_file != "-":
        _tell(found, yes, only_dropped)


def _tell(found: Garbage, deleted: bool, only_dropped: bool) -> None:
    lines = [line for line in found.lines if not (only_dropped and line.keep)]
    if lines:
        table = [("", "what", "name", "since", "bytes", "why")]
        table += [
            ("keep" if line.keep else "DROP", line.what, line.name, line.since[:16], f"{line.size:,}", line.why)
            for line in lines
        ]
        print_table(table)
    kept, dropped = (found.as_dict()["bytes"][name] for name in ("kept", "dropped"))
    runs = [line for line in found.lines if line.what == "run"]
    going = sum(not line.keep for line in runs)
    typer.echo(f"\n{count(len(runs), 'run')}, {going} to go; {_bytes(kept)} needed, {_bytes(dropped)} not")
    if found.others:
        typer.echo(f"{count(found.others, 'run')} of other catalogues and branches, all kept: --all")
    if found.elsewhere:
        typer.echo(f"{count(found.elsewhere, 'run')} with data elsewhere: --datastore, or the machine they ran on")
    if found.unfinished:
        after = "are gone with the others" if deleted else "go with --yes"
        typer.echo(f"{count(found.unfinished, 'run')} that an earlier gc, cut off, had hidden {after}")
    for one in found.swept:
        done = f"{count(len(one.runs), 'run')} gone, with {_bytes(one.freed)} of artifacts"
        typer.echo(f"{one.flow}: {one.left or done}")
    if not deleted and dropped:
        typer.echo("nothing was touched: --yes deletes what is marked DROP")


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
