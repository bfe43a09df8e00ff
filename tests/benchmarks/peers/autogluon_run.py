"""Trains AutoGluon MultiModal on one split and writes its probabilities: run by `peer.py` in AutoGluon's environment.

    python autogluon_run.py --split split.parquet --encoders encoders/ --out out/ [--cpu-seconds 200] [--epochs 20]
    python autogluon_run.py --split split.parquet --encoders encoders/ --out out/ --gpu --workers 4

Knows a table with the columns text, image (a file, '' for none), category and part (train, validation, gold), and two
folders of encoders. It does not import rayon, and measures nothing but seconds, memory and bytes: who called it does.

The time limit is AutoGluon's own, but its clock counts the processor's seconds: this is fair on a machine that others
use as well. Everything runs in this one process, without loaders of its own, so that all is counted; on a GPU, where
seconds of the processor say little, photos are read by as many workers as are asked for.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from autogluon.multimodal import MultiModalPredictor


def count_processor_seconds() -> None:
    """Let Lightning's timer, which AutoGluon's time limit is, count the processor's seconds since it was made."""
    timer = pl.callbacks.Timer
    begun = time.process_time()
    timer.time_elapsed = lambda self, stage="train": time.process_time() - begun
    timer.time_remaining = lambda self, stage="train": (
        None if self._duration is None else self._duration - self.time_elapsed(stage)
    )
    assert isinstance(timer(timedelta(seconds=1)).time_elapsed(), float)


class Steps(pl.Callback):
    """Counts what was done, for the table."""

    steps = epochs = 0.0

    def on_train_batch_end(self, trainer, *_) -> None:
        Steps.steps = trainer.global_step
        Steps.epochs = (
            trainer.current_epoch + (trainer.fit_loop.epoch_loop.batch_idx + 1) / trainer.num_training_batches
        )


def train(options: argparse.Namespace, frame: pd.DataFrame) -> MultiModalPredictor:
    """Train on the split's training products; its validation products decide when to stop."""
    predictor = MultiModalPredictor(
        label="category",
        problem_type="multiclass",
        eval_metric="f1_macro",
        path=str(options.out / "model"),
        verbosity=2,
    )
    parts = {name: frame[frame["part"] == name][["text", "image", "category"]] for name in ("train", "validation")}
    predictor.fit(
        parts["train"].reset_index(drop=True),
        tuning_data=parts["validation"].reset_index(drop=True),
        column_types={"text": "text", "image": "image_path"},
        time_limit=options.cpu_seconds,
        seed=0,
        hyperparameters={
            "model.names": ["hf_text", "timm_image", "fusion_mlp"],
            "model.hf_text.checkpoint_name": str(options.encoders / "e5"),
            "model.hf_text.pooling_mode": "mean",
            "model.hf_text.max_text_len": 64,
            "model.timm_image.checkpoint_name": str(options.encoders / "lite0"),
            "model.timm_image.image_norm": "inception",
            "optim.max_epochs": options.epochs,
            "env.num_gpus": int(options.gpu),
            "env.per_gpu_batch_size": 128 if options.gpu else 32,
            "env.num_workers": options.workers,
            **({"env.precision": options.precision} if options.precision else {}),
            "env.num_workers_inference": 0,
        },
    )
    return predictor


def probabilities(predictor: MultiModalPredictor, frame: pd.DataFrame, categories: list[str]) -> np.ndarray:
    """Return the probabilities (N, C) in the order of `categories`, 0 for one that was not learnt."""
    told = predictor.predict_proba(frame[["text", "image"]].reset_index(drop=True), as_pandas=True)
    return told.reindex(columns=categories, fill_value=0.0).to_numpy(np.float32)


def peak_megabytes() -> float:
    """The most memory that this process ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--encoders", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cpu-seconds", type=int, help="training's limit; none: its own early stopping")
    parser.add_argument("--epochs", type=int, default=20, help="at most; the learning rate falls over so many (20)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpu", action="store_true", help="on the first GPU")
    parser.add_argument("--precision", default="", help="of the GPU, such as 32 (AutoGluon's own: half, mixed)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read photos (0: this one)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    frame = pd.read_parquet(options.split)
    categories = sorted(frame["category"].unique())
    count_processor_seconds()
    build = pl.Trainer.__init__

    def with_counter(self, *arguments, **settings) -> None:
        build(self, *arguments, **{**settings, "callbacks": [*(settings.get("callbacks") or []), Steps()]})

    pl.Trainer.__init__ = with_counter
    began, wall = time.process_time(), time.time()
    predictor = train(options, frame)
    facts = {"train_cpu": time.process_time() - began, "train_wall": time.time() - wall, "peak_mb": peak_megabytes()}
    gold = frame[frame["part"] == "gold"]
    began = time.process_time()
    told = {"whole": probabilities(predictor, gold, categories)}
    facts["rows_per_cpu_second"] = len(gold) / (time.process_time() - began)
    told["without_photo"] = probabilities(predictor, gold.assign(image=""), categories)
    told["without_text"] = probabilities(predictor, gold.assign(text=""), categories)
    np.savez(options.out / "probabilities.npz", rows=gold["row"].to_numpy(), categories=categories, **told)
    size = sum(file.stat().st_size for file in (options.out / "model").rglob("*") if file.is_file())
    names = ("autogluon.multimodal", "torch", "transformers", "timm")
    facts |= {"disk_mb": size / 1e6, "steps": Steps.steps, "epochs": Steps.epochs, "threads": torch.get_num_threads()}
    facts["versions"] = {name: version(name) for name in names}
    facts["gpu"] = torch.cuda.get_device_name() if options.gpu else None
    facts["precision"] = options.precision
    (options.out / "facts.json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
