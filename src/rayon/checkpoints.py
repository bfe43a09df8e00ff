"""Where the checkpoints of a training are: on this machine, and in the shared place where there is one.

Knows files and folders. It does not know what a checkpoint holds; Lightning writes them into the folder.
"""

from __future__ import annotations

import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from rayon.config import Config
from rayon.data.outputs import OutputError, Outputs

EVERY_SECONDS = 20.0
"""How often checkpoints are sent to the shared place, at most."""


_LAST = "last.ckpt"


class Checkpoints(Callback):
    """The checkpoints of one candidate of a run: `folder` is where Lightning keeps them.

    Where the experiment has a shared place, those that are there are fetched first, and as a Lightning callback it
    sends what was written: the task goes on from there on whatever machine it is tried again. A place that does not
    answer costs no training: it begins anew, or goes on unsent, with a warning.
    """

    def __init__(self, config: Config, flow: str, run: str, origin: str | None, name: str) -> None:
        places = [f"checkpoints/{flow}-{each}/{name}" for each in (run, origin) if each]  # its own comes first
        self._place = places[0]
        self._shared = Outputs(config.shared) if config.shared else None
        self._sent: dict[str, int] = {}
        self._told = -EVERY_SECONDS
        cache = Path(config.cache)
        folder = cache / self._place
        for earlier in places[1:]:
            self._adopt(cache / earlier, folder)
        self.folder = folder.resolve()
        for place in places:
            if not any(self.folder.glob("*.ckpt")):
                self._attempt(lambda shared, place=place: self._fetch(shared, place))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send what the last epoch left: Lightning writes its checkpoints after all other callbacks."""
        due = time.monotonic() - self._told >= EVERY_SECONDS
        if trainer.is_global_zero and due and (self.folder / _LAST).exists():
            self._told = time.monotonic()
            self._attempt(self._send)

    def remove(self) -> None:
        """Remove them everywhere, now that the training is over."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._attempt(self._delete)

    @staticmethod
    def _adopt(origin: Path, folder: Path) -> None:
        """Go on in the folder of the run that is resumed. It is linked and not copied: Lightning forgets the best epoch
        so far when checkpoints lie elsewhere.
        """
        if origin.is_dir() and not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # another process of the same training has just done it
                folder.symlink_to(origin.resolve(), target_is_directory=True)

    def _attempt(self, action: Any) -> None:
        if self._shared is None:
            return
        try:
            action(self._shared)
        except (OutputError, OSError) as error:
            warnings.warn(f"checkpoints are not shared: {error}", stacklevel=3)

    def _fetch(self, shared: Outputs, place: str) -> None:
        for file in sorted(shared.listing(place), key=_order):
            shared.download(file.name, self.folder / Path(file.name).name)

    def _send(self, shared: Outputs) -> None:
        for file in sorted(self.folder.iterdir(), key=_order):
            written = file.stat().st_mtime_ns
            if file.suffix in (".ckpt", ".json") and self._sent.get(file.name) != written:
                shared.write(f"{self._place}/{file.name}", file.read_bytes())
                self._sent[file.name] = written

    def _delete(self, shared: Outputs) -> None:
        for file in list(shared.listing(self._place)):
            shared.delete(file.name)


def _order(file: Any) -> bool:
    """The last epoch goes after the best one and the mark: it never says more than what is there with it."""
    return bool(Path(file.name).name == _LAST)
