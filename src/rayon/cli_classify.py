"""The command `python -m rayon classify`: what the champion says of one product.

Parses, prints; `rayon.inference` judges. Heavy imports stay inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayon.cli_shared import DEMO, Experiment, print_table, read_settings, sentences, write_json

if TYPE_CHECKING:
    from rayon.schema import Prediction


def classify(
    designation: Annotated[str, typer.Argument(help="the product's title")] = "",
    image: Annotated[Path | None, typer.Option(help="its photo: JPEG, PNG, WebP ...", show_default="none")] = None,
    description: Annotated[str, typer.Option(help="its description")] = "",
    experiment: Experiment = DEMO,
    model: Annotated[
        str,
        typer.Option(
            help="a run of TrainFlow, 'champion', 'latest' or a bundle's file", show_default="champion, else latest"
        ),
    ] = "",
    json_file: Annotated[
        str, typer.Option("--json", help="write the answer as JSON to this file, - for the screen")
    ] = "",
) -> None:
    """Classify one product: the five likeliest categories, accept or review, what text and photo counted."""
    if image is not None and not image.is_file():
        raise typer.BadParameter(f"there is no file {image}", param_hint="--image")
    if image is None and not designation.strip() and not description.strip():
        raise typer.BadParameter("a product needs a title, a --description or a photo (--image)")
    with sentences():
        from rayon.preparing import RayonError
        from rayon.registry import find_model
        from rayon.schema import Product, Refusal
        from rayon.score_run import open_predictor

        config = read_settings(experiment)
        predictor = open_predictor(find_model(model, config.name), config)
        photo = None if image is None else image.read_bytes()
        answer = predictor.predict_all([Product("1", designation, description, image=photo)])[0]
        if isinstance(answer, Refusal):
            raise RayonError(f"this product cannot be judged: {answer.detail}.")
    if json_file:
        write_json(_plain(answer), json_file)
    if json_file != "-":
        _tell(answer, predictor.threshold, config.score.precision)


def _plain(answer: Prediction) -> dict[str, object]:
    top = [{"category": name, "probability": probability} for name, probability in answer.top_k]
    return {name: value for name, value in answer._asdict().items() if name != "product_id"} | {"top_k": top}


def _tell(answer: Prediction, threshold: float, precision: float) -> None:
    print_table([(f"{probability:6.1%}", name) for name, probability in answer.top_k])
    sure = "no confidence is enough" if threshold > 1 else f"from {threshold:.1%} on"
    typer.echo(f"\ndecision  {answer.decision} (accept: {sure}, for {precision:.0%} precision)")
    typer.echo(f"counted   text {answer.text_contribution:.0%}, photo {answer.image_contribution:.0%}")
    if answer.photo_problem:
        typer.echo(f"photo     not looked at: {answer.photo_problem}")
    typer.echo(f"model     {answer.model_version}")
