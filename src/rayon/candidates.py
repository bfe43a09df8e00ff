"""Runs the candidates of a training run: baseline, text, image or fusion; alone, or together with other processes.

Brings together training, the gold set, the live card and tracking; the flow stores what comes back. Metaflow's
`current` is handed in.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from rayon.bundle import read_bundle
from rayon.checkpoints import Checkpoints
from rayon.config import BASELINE, Config
from rayon.data.dataset import Dataset
from rayon.gold import predict_gold, predict_gold_baseline, report_gold
from rayon.inputs import candidate_branches, encode_dataset
from rayon.nodes import ALONE, Nodes
from rayon.outcome import summary_of
from rayon.preparing import progress_line, track
from rayon.tracking.keys import STEP


def run_candidate(
    name: str, dataset: Dataset, config: Config, current: Any, heads: bytes | None = None
) -> dict[str, Any]:
    """Train one candidate and run it on the gold set; return what its task keeps, plain data.

    Keys: bundle (bytes, None for the baseline), gold (a dict of arrays), rows, labels and probabilities of held-out
    products (None for the baseline), history, resumed_from_epoch, heads (`rayon.training.Trained`).

    Args:
        heads: those of an earlier training, to go on from.
    """
    if config.trainer.nodes > 1:
        print(f"{name}: in one process; flows/train_nodes_flow.py heeds trainer.nodes = {config.trainer.nodes}")
    return _run(name, dataset, config, current, ALONE, heads)


def run_together(names: Sequence[str], dataset: Dataset, config: Config, current: Any) -> dict[str, dict[str, Any]]:
    """Train candidates one after the other, each with all processes of a Metaflow @parallel step.

    Returns:
        What `run_candidate` returns, by name, on the first process, and nothing on the others. It alone measures, and
        fits the baseline: last, so that nobody waits for it.
    """
    nodes = nodes_of(config, current)
    results: dict[str, dict[str, Any]] = {}
    for turn, name in enumerate(sorted(names, key=lambda name: name == BASELINE)):
        # a port each: a process that is early must not meet those who still take leave
        results[name] = _run(name, dataset, config, current, nodes._replace(port=nodes.port + turn))
    return {name: results[name] for name in names} if nodes.first else {}


def nodes_of(config: Config, current: Any) -> Nodes:
    """Return which process of a Metaflow @parallel step this is, and how it meets the others.

    The first one listens at a port that depends on the task and its attempt: what is left of an earlier attempt cannot
    be met.
    """
    gang, trainer = current.parallel, config.trainer
    meeting = f"{current.run_id}/{gang.control_task_id}/{current.retry_count}"
    port = 20_000 + int(sha256(meeting.encode()).hexdigest(), 16) % 10_000
    nodes = Nodes(gang.node_index, gang.num_nodes, "gloo", gang.main_ip, port, trainer.wait_minutes)
    if trainer.backend != "auto":
        return nodes._replace(backend=trainer.backend)
    return nodes._replace(backend="nccl" if trainer.accelerator != "cpu" and nodes.gpu is not None else "gloo")


def _run(
    name: str, dataset: Dataset, config: Config, current: Any, nodes: Nodes, heads: bytes | None = None
) -> dict[str, Any]:
    if name == BASELINE:
        if not nodes.first:
            return {}
        print("tfidf: words and characters, logistic regression")
        gold = predict_gold_baseline(dataset)
        nothing: dict[str, Any] = {"bundle": None, "probabilities": None, "history": [], "resumed_from_epoch": 0}
        return {**nothing, "gold": gold._asdict(), "heads": None}
    from rayon.cards_training import CardCallback  # Lightning, which the baseline does not need
    from rayon.training import train_candidate

    quieten()
    encoded = encode_dataset(dataset, config, progress_line())
    checkpoints = Checkpoints(config, current.flow_name, current.run_id, current.origin_run_id, name)
    if not nodes.first:
        train_candidate(name, dataset, encoded, config, checkpoints.folder, nodes=nodes)
        return {}
    branches = [branch.name for branch in candidate_branches(name, config)]
    about = {"candidate": name, "dataset": dataset.fingerprint[:12]}
    with track(config, current, "train", [name], title=f"train {name}", axis=STEP, **about) as run:
        card = CardCallback(name, {"branches": ", ".join(branches), "products": f"{len(dataset):,}"})
        logger = run.lightning_logger()
        trained = train_candidate(
            name,
            dataset,
            encoded,
            config,
            checkpoints.folder,
            [card, checkpoints.sending()],
            logger or False,
            {"run": f"{current.flow_name}/{current.run_id}"},
            nodes,
            heads,
        )
        assert trained is not None  # the first process has it
        gold = predict_gold(read_bundle(trained.bundle), dataset, encoded)
        report = report_gold(gold, dataset, config)
        run.summary(summary_of(report))
        epochs = f"{len(trained.history)} epoch{'s' * (len(trained.history) != 1)}"
        begun = " on the heads of an earlier training" if trained.warm else ""
        print(f"{name}: gold macro-F1 {report.metrics['macro_f1'].value:.3f} after {epochs}{begun}")
    return {**trained._asdict(), "probabilities": trained.probabilities, "gold": gold._asdict()}


def quieten() -> None:
    """Keep Lightning's remarks on devices and workers out of the flow's log; its errors stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
