"""The live card of a training: how far it is, and the curves so far, an epoch at a time.

Knows Lightning and the card of the Metaflow task it runs in. Apart from the other cards since Lightning takes
seconds to import.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from metaflow import current
from metaflow.cards import MetaflowCardComponent, ProgressBar

from rayon.cards_charts import curves
from rayon.cards_layout import chart, section, style, table, verdict, verdict_html

_LOSSES = {"train_loss": "training loss", "val_nll": "validation log-loss"}
_SCORES = {"val_macro_f1": "validation macro-F1"}
_STOPPED = "val_nll"


class CardCallback(pl.Callback):
    """Shows a training on the card `card_id` of the running Metaflow task, refreshed every epoch.

    The history is part of the checkpoint: the curves of a continued training begin at its first epoch.

    Args:
        title: what is trained, as in 'fusion'.
        facts: what else to say of it: branches, products, device.
    """

    def __init__(self, title: str, facts: Mapping[str, str], card_id: str = "train") -> None:
        self._title = title
        self._facts = dict(facts)
        self._card_id = card_id
        self._rows: list[dict[str, float]] = []
        self._verdict = verdict(f"{title} is about to be trained")
        self._progress = ProgressBar(max=1, label="epochs")
        self._losses = chart(curves([], _LOSSES, "nats a product"))
        self._scores = chart(curves([], _SCORES, "macro-F1"))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epochs = trainer.max_epochs or 0
        first = trainer.current_epoch
        facts = {
            **self._facts,
            "device": str(pl_module.device),
            "precision": str(trainer.precision),
            "resumed": f"from epoch {first + 1}, the checkpoint of an earlier attempt" if first else "no",
        }
        self._progress = ProgressBar(max=epochs, label="epochs", value=first)
        components: list[MetaflowCardComponent] = [
            style(),
            self._verdict,
            self._progress,
            *section(
                "Log-loss", "Nats a product, lower is better. Training stops once validation rises.", self._losses
            ),
            *section("Macro-F1", "On the products each head is judged by.", self._scores),
            *section("Details", "", table(["fact", "value"], list(facts.items()))),
        ]
        self._card().extend(components)
        self._show(f"{self._title} is being trained: epoch {first + 1} of at most {epochs}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._rows.append({"epoch": float(trainer.current_epoch), **values})
        done = trainer.current_epoch + 1
        self._progress.update(done)
        self._show(f"{self._title} is being trained: {done} of at most {trainer.max_epochs} epochs done")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = len(self._rows)
        early = f" of at most {trainer.max_epochs}, stopped early" if done < (trainer.max_epochs or 0) else ""
        self._show(f"{self._title} is trained: {done} epochs{early}")

    def state_dict(self) -> dict[str, Any]:
        return {"rows": list(self._rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = list(state_dict["rows"])

    def _card(self) -> Any:
        return current.card[self._card_id]  # type: ignore[attr-defined]

    def _show(self, sentence: str) -> None:
        self._verdict.update(verdict_html(sentence, self._best()))
        self._losses.update(curves(self._rows, _LOSSES, "nats a product"))
        self._scores.update(curves(self._rows, _SCORES, "macro-F1"))
        self._card().refresh()

    def _best(self) -> list[str]:
        rows = [row for row in self._rows if math.isfinite(row.get(_STOPPED, math.nan))]
        if not rows:
            return []
        best = min(rows, key=lambda row: row[_STOPPED])
        score = f" and macro-F1 {best['val_macro_f1']:.3f}" if "val_macro_f1" in best else ""
        return [f"Best epoch: {best['epoch'] + 1:.0f}, with a validation log-loss {best[_STOPPED]:.3f}{score}."]
