"""The command line of what is no flow: `python -m rayon --help`.

Parses arguments, calls the library and prints; a mistake of the user is a sentence and exit code 1. Heavy imports stay
inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from rayon.cli_classify import classify
from rayon.cli_dashboard import dashboard
from rayon.cli_deploy import deploy
from rayon.cli_init import init
from rayon.cli_keep import gc
from rayon.cli_plan import plan
from rayon.cli_shared import DEMO, Experiment, print_table, read_settings, sentences, told_by, write_json

DriftKind = Literal["vocabulary", "mix", "photo_style", "broken_photos", "new_category", "concept"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Option(help="a run of TrainFlow, 'champion', 'latest' or a bundle's file")]


app.command(help=told_by(init))(init)
app.command()(classify)
app.command(help=told_by(dashboard))(dashboard)
app.command()(deploy)
app.command(help=told_by(gc))(gc)
app.command(help=told_by(plan))(plan)


@app.callback()
def main(
    branch: Annotated[
        str,
        typer.Option(help="the Metaflow project branch to look at, such as prod or user.anna", envvar="RAYON_BRANCH"),
    ] = "",
) -> None:
    """rayon: what is done beside the flows (see flows/*.py, and `make help`)."""
    if branch:
        os.environ["RAYON_BRANCH"] = branch


@app.command()
def simulate(
    experiment: Experiment = DEMO,
    lots: Annotated[int, typer.Option(min=1, help="how many lots arrive")] = 10,
    size: Annotated[int, typer.Option(min=1, help="products a lot")] = 50,
    drift: Annotated[
        DriftKind | None,
        typer.Option(help="what is different about them; the demo catalogue alone can do this", show_default="nothing"),
    ] = None,
    strength: Annotated[float, typer.Option(min=0.0, max=1.0, help="the share of products that drift touches")] = 1.0,
    feedback: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="the share of products sent to review that a person labels")
    ] = 0.0,
    mistakes: Annotated[float, typer.Option(min=0.0, max=1.0, help="the share of those labels that are wrong")] = 0.02,
    start: Annotated[datetime | None, typer.Option(help="when the first lot arrives, UTC", show_default="now")] = None,
    minutes: Annotated[
        float, typer.Option(min=0.0, help="simulated minutes between lots: nobody waits for them")
    ] = 60.0,
    model: Model = "",
    output: Annotated[
        str, typer.Option(help="the folder of the Parquet files, a lot each; below the cache if not given")
    ] = "",
    seed: Annotated[int, typer.Option(help="of who labels what")] = 0,
) -> None:
    """Replay traffic: products that no training saw arrive in lots, are predicted, and people label some."""
    from rayon.data.outputs import Outputs
    from rayon.data.synthetic import Drift
    from rayon.registry import find_model
    from rayon.score_run import open_predictor
    from rayon.simulation import Traffic
    from rayon.simulation import simulate as replay

    with sentences():
        config = read_settings(experiment)
        traffic = Traffic(
            lots,
            size,
            (start or datetime.now(UTC)).replace(microsecond=0, tzinfo=UTC),
            timedelta(minutes=minutes),
            Drift(drift, strength) if drift else None,
            feedback,
            mistakes,
            seed,
        )
        predictor = open_predictor(find_model(model, config.name), config)
        folder = output or str(Path(config.cache) / "traffic" / config.name)
        typer.echo(f"model {predictor.version}; lots go to {folder}")
        for lot in replay(traffic, predictor, config, Outputs(folder)):
            typer.echo(
                f"{lot.time:%Y-%m-%d %H:%M}  {lot.products} products, {lot.refused} refused, {lot.accepted} accepted, "
                f"{lot.right:.0%} right, {lot.labelled} labelled by people"
            )


Run = Annotated[str, typer.Argument(help="a run of TrainFlow, such as 12 or TrainFlow/12")]
Reason = Annotated[str, typer.Option(help="why, for the history")]


@app.command()
def models(
    experiment: Experiment = DEMO,
    json_file: Annotated[
        str, typer.Option("--json", help="write the table as JSON to this file, - for the screen")
    ] = "",
) -> None:
    """List the models of a catalogue: how good, what the gate said, which is champion."""
    from rayon.models_table import catalog

    with sentences():
        rows = catalog(read_settings(experiment).name)
    if json_file:
        write_json([row._asdict() for row in rows], json_file)
        return
    if not rows:
        typer.echo("no model yet: `python flows/train_flow.py run` trains one.")
        return
    table = [("run", "created", "trained", "on", "macro-F1", "ECE", "gate", "champion", "since", "until", "")]
    for row in rows:
        score = "" if row.macro_f1 is None else f"{row.macro_f1:.3f} [{row.low:.3f}, {row.high:.3f}]"
        ece = "" if row.ece is None else f"{row.ece:.3f}"
        when = (row.created[:16], row.since[:16], row.until[:16])
        table.append(
            (row.run, when[0], row.candidate, row.dataset, score, ece, row.gate, row.champion, *when[1:], row.problem)
        )
    print_table(table)


@app.command()
def history(experiment: Experiment = DEMO) -> None:
    """Tell who was made champion when, by whom and why."""
    from rayon.champions import history as events

    with sentences():
        told = events(read_settings(experiment).name)
    if not told:
        typer.echo("nothing was promoted yet: `python -m rayon promote RUN`, or train with --promote auto.")
        return
    table = [("", "when", "what", "champion", "before", "who", "gate", "why")]
    table += [(str(e.number), e.time[:19], e.kind, e.to, e.before, e.who, e.verdict, e.reason) for e in told]
    print_table(table)


@app.command()
def promote(
    run: Run,
    reason: Reason,
    experiment: Experiment = DEMO,
    force: Annotated[bool, typer.Option("--force", help="promote what the gate holds")] = False,
) -> None:
    """Judge a model against the champion on today's gold set, and make it champion if it passes."""
    from rayon.promotion import promote_by_hand

    with sentences():
        done = promote_by_hand(_run(run), read_settings(experiment), force, reason)
    for record in done.verdict.records:
        typer.echo(f"{'holds' if record.passed else 'FAILS'}  {record.sentence}")
    if done.event is None:
        typer.echo(f"held: {done.before or 'no model'} stays champion. --force promotes it all the same.", err=True)
        raise typer.Exit(2)
    typer.echo(f"{done.event.to} is champion (before: {done.event.before or 'none'})")
    typer.echo(f"W&B: {done.wandb}")


@app.command()
def rollback(
    reason: Reason,
    run: Annotated[str, typer.Argument(help="the champion to take back: may be repeated, whatever was killed")] = "",
    experiment: Experiment = DEMO,
) -> None:
    """Return to the champion before this one, or before RUN; nothing happens where RUN is not champion."""
    from rayon.promotion import roll_back

    with sentences():
        taken = _run(run) if run else ""
        event, wandb = roll_back(read_settings(experiment), reason, taken=taken)
    if event.kind == "rollback" and taken in ("", event.before):
        typer.echo(f"{event.to} is champion again (before: {event.before})")
    else:
        typer.echo(f"{taken} is not champion, {event.to} is: nothing was changed")
    typer.echo(f"W&B: {wandb}")


@app.command()
def compare(
    first: Run,
    second: Run,
    experiment: Experiment = DEMO,
    rows: Annotated[int, typer.Option(help="how many products they disagree on to show")] = 20,
) -> None:
    """Run two models on today's gold set: gains by category, and products they disagree on."""
    from rayon.comparison import compare as measure
    from rayon.preparing import open_latest

    with sentences():
        config = read_settings(experiment)
        found = measure(_run(first), _run(second), open_latest(config), config)
    gain = found.gain
    typer.echo(f"{found.products} gold products; macro-F1 of the second less the first: {gain.value:+.4f} ", nl=False)
    typer.echo(f"[{gain.low:+.4f}, {gain.high:+.4f}]\n")
    table = [("category", "products", "first", "second", "gain")]
    table += [(str(r.category), str(r.products), f"{r.first:.3f}", f"{r.second:.3f}", f"{r.gain:+.3f}")
              for r in found.categories.itertuples()]  # fmt: skip
    print_table(table)
    counts = found.disagreements["right"].value_counts()
    typer.echo(f"\nthey disagree on {len(found.disagreements)} products; right: ", nl=False)
    typer.echo(", ".join(f"{who} {count}" for who, count in counts.items()) or "nobody")
    shown = found.disagreements.head(rows)
    if not len(shown):
        return
    print_table(
        [tuple(shown.columns), *(tuple(str(cell)[:48] for cell in line) for line in shown.itertuples(index=False))]
    )


@app.command()
def show(run: Run, experiment: Experiment = DEMO) -> None:
    """Tell what is known of one model, the gate's lines included."""
    from metaflow import Run as MetaflowRun

    from rayon.champions import RegistryError
    from rayon.models_table import catalog, verdict_of

    with sentences():
        name = read_settings(experiment).name
        row = next((row for row in catalog(name) if row.run == _run(run)), None)
        if row is None:
            raise RegistryError(f"there is no model {_run(run)} of '{name}': see `python -m rayon models`.")
    for field, value in row._asdict().items():
        if value not in ("", None):
            typer.echo(f"{field:10} {value if not isinstance(value, float) else f'{value:.4f}'}")
    stored = verdict_of(MetaflowRun(row.run)) if row.gate else None
    if stored is not None:
        for record in stored["records"]:
            typer.echo(f"{'  holds' if record['passed'] else '  FAILS'}    {record['sentence']}")
    if not row.problem:
        typer.echo(f"card       python flows/train_flow.py card view {row.run.partition('/')[2]}/evaluate --id model")


@app.command()
def loop(
    experiment: Experiment = DEMO,
    every: Annotated[str, typer.Option(help="pass again and again, so often: 10m, 1h", show_default="one pass")] = "",
    window: Annotated[
        str, typer.Option(help="how far back the monitor looks: 7d, 12h", show_default="retraining.window")
    ] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show what the flows print")] = False,
) -> None:
    """Close the loop here: take in feedback, make a dataset version, monitor, train if asked; the gate promotes.

    May be stopped and started at any point: what was done is read from finished runs, and nothing is done twice.
    """
    import time

    from metaflow.exception import MetaflowException

    from rayon.loop import alone, run_pass
    from rayon.preparing import stopping
    from rayon.production import parse_window

    with sentences():
        config = read_settings(experiment)
        pause = parse_window(every).total_seconds() if every else 0.0
        if window:
            parse_window(window)
        with alone(config):
            while True:
                try:
                    with stopping():  # the store and the registry may be away for a moment, too
                        run_pass(config, experiment.resolve(), Path.cwd() / "flows", _stamped, window, verbose)
                except MetaflowException as error:
                    if not pause:
                        raise
                    _stamped(f"this pass failed, the next one tries again: {error}")
                if not pause:
                    return
                time.sleep(pause)


@app.command(name="demo-loop")
def demo_loop(
    experiment: Experiment = Path("configs/loop.yaml"),
    drift: Annotated[DriftKind, typer.Option(help="what happens to the products")] = "new_category",
    strength: Annotated[float, typer.Option(min=0.0, max=1.0, help="the share of products it touches")] = 0.5,
    days: Annotated[int, typer.Option(min=2, help="simulated days, a lot of products each")] = 7,
    size: Annotated[int, typer.Option(min=50, help="products a day")] = 250,
    drift_from: Annotated[int, typer.Option(min=2, help="the day on which it begins")] = 3,
    output: Annotated[Path, typer.Option(help="the folder of the table and the picture")] = Path("build/demo-loop"),
) -> None:
    """Watch the whole loop: train, serve, drift, notice, learn from people, gate, promote, recover.

    In a project branch and a store of its own: what is served otherwise is not touched.
    """
    name = f"loop_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    os.environ["RAYON_BRANCH"] = f"test.{name}"
    output.mkdir(parents=True, exist_ok=True)
    os.environ["RAYON_STORE"] = f"sqlite:///{(output / f'{name}.sqlite').resolve()}"
    from rayon.data.synthetic import Drift
    from rayon.demo_loop import Story, draw, play, recovered, write_table

    table, picture = output / "days.csv", output / "days.png"
    with sentences():
        config = read_settings(experiment)
        _stamped(f"project branch test.{name}; table and picture go to {output}")
        story, played = Story(days, size, Drift(drift, strength), drift_from), []
        for day in play(story, config, experiment.resolve(), Path.cwd() / "flows", _stamped):
            played.append(day)
            write_table(played, table)
            draw(played, picture)
            _stamped(f"day {day.day}: {day.accuracy:.1%} right; monitor: {day.verdict or 'nothing'} {day.reasons}")
    print_table(
        [
            ("day", "drifted", "right", "filed", "labelled", "monitor", "champion after it"),
            *(
                (
                    str(day.day),
                    "yes" if day.drifted else "",
                    f"{day.accuracy:.3f}",
                    f"{day.accepted:.2f}",
                    str(day.labelled),
                    day.verdict,
                    day.promoted,
                )
                for day in played
            ),
        ]
    )
    typer.echo(f"{recovered(played):.0%} of the lost accuracy came back; {table}, {picture}")


def _stamped(words: str) -> None:
    typer.echo(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  {words}")


def _run(run: str) -> str:
    from rayon.champions import run_path

    return run_path("TrainFlow", run)
