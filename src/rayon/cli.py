"""The command line of what is no flow: `python -m rayon --help`.

Parses arguments, calls the library and prints; a mistake of the user is a sentence and exit code 1. Heavy imports stay
inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rayon.config import Config

DriftKind = Literal["vocabulary", "mix", "photo_style", "broken_photos", "new_category", "concept"]

app = typer.Typer(
    help="rayon: what is done beside the flows (see flows/*.py, and `make help`).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Experiment = Annotated[Path, typer.Option("--experiment", "-e", help="the experiment's YAML file")]
Model = Annotated[str, typer.Option(help="a run of TrainFlow, 'champion', 'latest' or a bundle's file")]
DEMO = Path("configs/demo.yaml")


@app.callback()
def main() -> None:
    """Commands are added below; with a callback a single one keeps its name."""


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

    with _sentences():
        config = _read(experiment)
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


def _read(experiment: Path) -> Config:
    """Return an experiment's settings; as in the flows, their relative paths start at the project's root."""
    from rayon.config import parse_config, read_config, resolve_paths

    if not experiment.is_file():
        raise typer.BadParameter(
            f"there is no file {experiment}: name one of configs/*.yaml", param_hint="--experiment"
        )
    return resolve_paths(parse_config(read_config(experiment.read_text(encoding="utf-8"))), Path.cwd())


@contextmanager
def _sentences() -> Iterator[None]:
    """Print a mistake of the user as one sentence; anything else is a mistake of ours and keeps its traceback."""
    from rayon.config import ConfigError
    from rayon.preparing import RayonError, stopping

    try:
        with stopping():
            yield
    except (ConfigError, RayonError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
