"""Runs one candidate of a training run: baseline, text, image or fusion.

Brings together training, the gold set, the live card and tracking; the flow stores what comes back. Metaflow's
`current` is handed in.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

from rayon.bundle import read_bundle
from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.gold import predict_gold, predict_gold_baseline, report_gold
from rayon.inputs import candidate_branches, encode_dataset
from rayon.outcome import BASELINE, summary_of
from rayon.preparing import progress_line, track


def run_candidate(name: str, dataset: Dataset, config: Config, current: Any) -> dict[str, Any]:
    """Train one candidate and run it on the gold set; return the artifact of its task, plain data.

    Keys: bundle (bytes, None for the baseline), gold (a dict of arrays), rows, labels and probabilities of held-out
    products (None for the baseline), history, resumed_from_epoch.
    """
    if name == BASELINE:
        print("tfidf: words and characters, logistic regression")
        gold = predict_gold_baseline(dataset)
        return {"bundle": None, "gold": gold._asdict(), "probabilities": None, "history": [], "resumed_from_epoch": 0}
    from rayon.cards_training import CardCallback  # Lightning, which the baseline does not need
    from rayon.checkpoints import Checkpoints
    from rayon.training import train_candidate

    _quieten()
    encoded = encode_dataset(dataset, config, progress_line())
    checkpoints = Checkpoints(config, current.flow_name, current.run_id, current.origin_run_id, name)
    branches = [branch.name for branch in candidate_branches(name, config)]
    with track(config, current, f"train-{name}", [name]) as run:
        card = CardCallback(name, {"branches": ", ".join(branches), "products": f"{len(dataset):,}"})
        logger = run.lightning_logger()
        trained = train_candidate(
            name,
            dataset,
            encoded,
            config,
            checkpoints.folder,
            [card, checkpoints],
            logger or False,
            {"run": f"{current.flow_name}/{current.run_id}"},
        )
        gold = predict_gold(read_bundle(trained.bundle), dataset, encoded)
        report = report_gold(gold, dataset, config)
        run.summary(summary_of(report))
        print(f"{name}: gold macro-F1 {report.metrics['macro_f1'].value:.3f} after {len(trained.history)} epochs")
    checkpoints.remove()
    return {**trained._asdict(), "probabilities": trained.probabilities, "gold": gold._asdict()}


def _quieten() -> None:
    """Keep Lightning's remarks on devices and workers out of the flow's log; its errors stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
