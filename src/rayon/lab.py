"""Trains a candidate outside any flow and puts it beside the champion: for a notebook where branches and heads change.

What is tried leaves no run, no checkpoint and no champion behind; a bundle's bytes are all that comes back. Knows the
registry through promotion alone.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rayon.bundle import read_bundle
from rayon.candidates import quieten
from rayon.comparison import Comparison, compare_said
from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.error_analysis import GONE
from rayon.gate import Said, Verdict
from rayon.gold import gold_rows
from rayon.inputs import candidate_branches, encode_dataset
from rayon.preparing import progress_line
from rayon.promotion import judge_candidate, open_model
from rayon.registry import Model, find_model
from rayon.report import Report, make_report
from rayon.rescoring import gold_labels, rescore

HERE = "notebook"
"""What signs a model that no run has made."""

_CURVES = {"train_loss": "training loss", "val_nll": "held-out loss", "val_macro_f1": "held-out macro-F1"}


class Trial(NamedTuple):
    """A candidate that was trained here: its bundle, its `history`, the branches that it looks through, the seconds of
    training and how many products had to be encoded for it.

    `history` has a row an epoch, from 1: training loss (nats, mean of the branches), and of products that the judging
    heads never saw, held-out loss (nats, fused) and held-out macro-F1.
    """

    bundle: bytes
    history: pd.DataFrame
    branches: tuple[str, ...]
    seconds: float
    encoded: int


class Beside(NamedTuple):
    """A trial and a rival, the model of `version`, on the same gold set: a report of each, by 'trial' and 'champion',
    and how the trial, the second, compares with the champion, the first.
    """

    version: str
    reports: dict[str, Report]
    comparison: Comparison


def train_trial(kind: str, dataset: Dataset, config: Config) -> Trial:
    """Train the candidate 'text', 'image' or 'fusion' under the settings; products are encoded where need be.

    Raises:
        ValueError: as `rayon.training.train_candidate`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm, which Lightning brings, misses widgets that nobody needs here
        from rayon.training import train_candidate

    quieten()
    encoded = encode_dataset(dataset, config, progress_line())
    begun = time.monotonic()
    # a folder of its own: with the same settings and other code an earlier training must not be gone on with
    with tempfile.TemporaryDirectory(prefix="rayon-lab-") as folder:
        trained = train_candidate(kind, dataset, encoded, config, Path(folder), about={"run": HERE})
    assert trained is not None  # this process is the first, and the only one
    history = pd.DataFrame(trained.history).rename(columns=_CURVES)
    return Trial(
        trained.bundle,
        history.assign(epoch=history["epoch"].astype(int) + 1).set_index("epoch")[list(_CURVES.values())],
        tuple(branch.name for branch in candidate_branches(kind, config)),
        time.monotonic() - begun,
        sum(encoded.encoded.values()),
    )


def put_beside(trial: Trial, dataset: Dataset, config: Config, rival: str = "") -> Beside:
    """Run a trial and the champion, or another `rival` (as `find_model` takes it), on the dataset's gold set.

    Raises:
        RegistryError: there is no champion and no finished training, or no such rival.
    """
    other = find_model(rival, config.name)
    said = {
        "trial": rescore(open_model(Model(HERE, trial.bundle), config), dataset),
        "champion": rescore(open_model(other, config), dataset),
    }
    reports = {name: _report(each, dataset, config) for name, each in said.items()}
    return Beside(other.version, reports, compare_said(said["champion"], said["trial"], dataset, config))


def ask_gate(trial: Trial, dataset: Dataset, config: Config) -> Verdict:
    """Return what the gate would say if a training came to this model; nothing is promoted."""
    return judge_candidate(Model(HERE, trial.bundle), dataset, config)[0]


def describe(trial: Trial) -> pd.Series:
    """Return what a trial is made of: branches, size of its bundle in MB, weights, seconds, products encoded anew."""
    network = read_bundle(trial.bundle).served.network
    return pd.Series(
        {
            "branches": ", ".join(trial.branches),
            "weights": sum(parameter.numel() for parameter in network.heads.parameters()),
            "bundle_mb": round(len(trial.bundle) / 1e6, 2),
            "seconds": round(trial.seconds, 1),
            "encoded": trial.encoded,
        },
        name="trial",
    )


def _report(said: Said, dataset: Dataset, config: Config) -> Report:
    """Measure what a model said of the gold set; nobody asks for the text's share here."""
    classes = said.whole.shape[1]
    return make_report(
        gold_labels(dataset),
        said.whole,
        (*dataset.categories, GONE)[:classes],
        config.evaluation.precision_targets,
        np.full(len(gold_rows(dataset)), np.nan),
        config.evaluation.bootstrap,
    )
