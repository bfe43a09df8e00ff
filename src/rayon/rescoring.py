"""Runs a model on today's gold set, whatever it was trained on, and checks that its bundle says the same elsewhere.

Two models are compared on what they say of the same products, never by scores of different days. Knows datasets and
predictors, no flow and no registry.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayon.bundle import read_bundle
from rayon.bundle_document import describe_bundle
from rayon.config import Split
from rayon.data.dataset import Dataset
from rayon.data.shards import read_table, write_table
from rayon.data.splits import assign_splits
from rayon.gate import Said
from rayon.gold import gold_rows
from rayon.inference import Predictor, Prepared
from rayon.models.features import FeatureStore
from rayon.models.served import Predicted

CHECKED = 32
"""How many gold products a fresh process must give the same probabilities for."""

_FLOOR = -30.0
_SECONDS = 300


def gold_products(dataset: Dataset, count: int | None = None) -> Prepared:
    """Return the gold set's products, or the first `count` of them."""
    rows = gold_rows(dataset)[:count]
    frame = dataset.frame.iloc[rows]
    return Prepared(frame["designation"].tolist(), frame["description"].tolist(), dataset.photos(rows.tolist()))


def gold_labels(dataset: Dataset) -> NDArray[np.int64]:
    """Return the labels of the gold set, (N,)."""
    return dataset.frame["label"].to_numpy()[gold_rows(dataset)].astype(np.int64)


def gold_learnt(bundle: bytes, dataset: Dataset) -> int:
    """Count the gold products that were not gold where the model was trained: it may have learnt from them.

    Where the model's split was that of the dataset there are none. A bundle from before they told is believed.
    """
    gold = describe_bundle(bundle)["about"].get("gold")
    if gold is None:
        return 0
    groups = dataset.frame["group"].to_numpy()[gold_rows(dataset)]
    return int((assign_splits(groups, Split(test=gold["test"], seed=gold["seed"], validation=0.0)) != "test").sum())


def rescore(predictor: Predictor, dataset: Dataset) -> Said:
    """Return what a model says of the dataset's gold set, in the dataset's categories.

    A category that the model does not know gets probability 0; of those that the dataset no longer has, the one that it
    holds for likeliest is one more, last column: the model's answer stays what it is.
    """
    whole, *without = predictor.ablated(gold_products(dataset))

    def said(predicted: Predicted) -> NDArray[np.float64]:
        return _translated(predicted.log_probabilities, predictor.categories, dataset.categories)

    return Said(said(whole), *(said(predicted) if predicted else None for predicted in without))


def reproduced(bundle: bytes, dataset: Dataset, cache: Path) -> float:
    """Return the largest difference between the probabilities of a bundle here and in a process that has just started.

    Compared on the first gold products; infinite where the other process does not get that far.
    """
    products = gold_products(dataset, CHECKED)
    here = _probabilities(bundle, products, cache)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bundle").write_bytes(bundle)
        (folder / "products").write_bytes(write_table(pa.table(products._asdict(), schema=_SCHEMA)))
        command = [sys.executable, "-m", "rayon.rescoring", name, str(cache)]
        try:
            subprocess.run(command, check=True, timeout=_SECONDS, capture_output=True, env=_environment())
            there = np.load(folder / "probabilities.npy", allow_pickle=False)
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
            print(f"the bundle could not be run in a fresh process: {error}", *said.splitlines()[-5:], sep="\n  ")
            return float("inf")
    return float(np.abs(here - there).max(initial=0.0)) if here.shape == there.shape else float("inf")


def _environment() -> dict[str, str]:
    """This process's environment, in which the other one finds the same package: on a cluster it is not installed."""
    paths = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


_SCHEMA = pa.schema({"designations": pa.string(), "descriptions": pa.string(), "photos": pa.large_binary()})


def _probabilities(bundle: bytes, products: Prepared, cache: Path) -> NDArray[np.float64]:
    predictor = Predictor(read_bundle(bundle), "", None, FeatureStore(cache / "features"))
    return np.exp(predictor.probabilities(products).log_probabilities)


def _translated(log: NDArray[np.float64], known: tuple[str, ...], categories: tuple[str, ...]) -> NDArray[np.float64]:
    if known == categories:
        return log
    places = {name: place for place, name in enumerate(categories)}
    probabilities = np.zeros((len(log), len(categories) + 1))
    for column, name in enumerate(known):
        place = places.get(name, len(categories))
        probabilities[:, place] = np.maximum(probabilities[:, place], np.exp(log[:, column]))
    return np.log(np.maximum(probabilities, np.exp(_FLOOR)))


def _main(folder: Path, cache: Path) -> None:
    table = read_table((folder / "products").read_bytes())
    products = Prepared(*(table[name].to_pylist() for name in _SCHEMA.names))
    np.save(folder / "probabilities.npy", _probabilities((folder / "bundle").read_bytes(), products, cache))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
