"""Where the checkpoints of a training are: on this machine, and in the shared place where there is one.

Knows files and folders. It does not know what a checkpoint holds; Lightning, which is imported where a training is
watched, writes them into the folder.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayon.config import Config
from rayon.data.outputs import OutputError, Outputs

if TYPE_CHECKING:
    import pytorch_lightning as pl

EVERY_SECONDS = 20.0
"""How often checkpoints are sent to the shared place, at most."""

_LAST = "last.ckpt"


class Checkpoints:
    """The checkpoints of one candidate of a run: `folder` is where Lightning keeps them.

    Where the experiment has a shared place, those that are there are fetched first, and `sending` sends what was
    written: the task goes on from there on whatever machine it is tried again. A place that does not answer costs no
    training: it begins anew, or goes on unsent, with a warning.
    """

    def __init__(self, config: Config, flow: str, run: str, origin: str | None, name: str) -> None:
        places = [f"{each}/{name}" for each in _of_run(flow, run, origin)]  # its own comes first
        self._place = places[0]
        self._shared = config.shared
        self._sent: dict[str, int] = {}
        self._told = -EVERY_SECONDS
        cache = Path(config.cache)
        folder = cache / self._place
        for earlier in places[1:]:
            self._adopt(cache / earlier, folder)
        self.folder = folder.resolve()
        for place in places:
            if not any(self.folder.glob("*.ckpt")):
                _attempt(self._shared, partial(self._fetch, place))

    def sending(self) -> pl.Callback:
        """Return the callback of a training that sends what its last epoch left: Lightning writes its checkpoints after
        all other callbacks.
        """
        from pytorch_lightning.callbacks import LambdaCallback

        return LambdaCallback(on_train_epoch_start=self._epoch_starts)

    def _epoch_starts(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        due = time.monotonic() - self._told >= EVERY_SECONDS
        if trainer.is_global_zero and due and (self.folder / _LAST).exists():
            self._told = time.monotonic()
            _attempt(self._shared, self._send)

    @staticmethod
    def _adopt(origin: Path, folder: Path) -> None:
        """Go on in the folder of the run that is resumed. It is linked and not copied: Lightning forgets the best epoch
        so far when checkpoints lie elsewhere.
        """
        if origin.is_dir() and not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # another process of the same training has just done it
                folder.symlink_to(origin.resolve(), target_is_directory=True)

    def _fetch(self, place: str, shared: Outputs) -> None:
        for file in sorted(shared.listing(place), key=_order):
            shared.download(file.name, self.folder / Path(file.name).name)

    def _send(self, shared: Outputs) -> None:
        for file in sorted(self.folder.iterdir(), key=_order):
            written = file.stat().st_mtime_ns
            if file.suffix in (".ckpt", ".json") and self._sent.get(file.name) != written:
                shared.write(f"{self._place}/{file.name}", file.read_bytes())
                self._sent[file.name] = written


def remove_checkpoints(config: Config, flow: str, run: str, origin: str | None) -> None:
    """Remove the checkpoints of all candidates of a run, and of the one that it resumes, here and in the shared place.

    Their time is over when Metaflow has stored what the trainings came to, and not before.
    """
    for place in _of_run(flow, run, origin):
        folder = Path(config.cache) / place
        for entry in folder.glob("*"):
            shutil.rmtree(entry.resolve(), ignore_errors=True)  # those of a resumed run may lie elsewhere
        shutil.rmtree(folder, ignore_errors=True)
    _attempt(config.shared, partial(_delete, _of_run(flow, run, origin)))


def _delete(places: Sequence[str], shared: Outputs) -> None:
    for place in places:
        for file in list(shared.listing(place)):
            shared.delete(file.name)


def _of_run(flow: str, run: str, origin: str | None) -> list[str]:
    """Return where the checkpoints of a run are, and those of the one that it resumes."""
    return [f"checkpoints/{flow}-{each}" for each in (run, origin) if each]


def _attempt(shared: str | None, action: Callable[[Outputs], None]) -> None:
    if not shared:
        return
    try:
        action(Outputs(shared))  # which may ask the network where the bucket is
    except (OutputError, OSError) as error:
        warnings.warn(f"checkpoints are not shared: {error}", stacklevel=3)


def _order(file: Any) -> bool:
    """The last epoch goes after the best one and the mark: it never says more than what is there with it."""
    return bool(Path(file.name).name == _LAST)
