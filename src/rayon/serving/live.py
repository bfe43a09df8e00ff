"""The model that serves, swapped while it answers.

A thread asks every few seconds which model should serve, loads another one beside the present one, tries it, and only
then puts it in place. One that cannot be loaded leaves the old one serving. Knows how to ask and how to load through
callables; it knows no registry.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from rayon.gallery import Gallery
from rayon.inference import Predictor
from rayon.schema import Product

log = logging.getLogger("rayon.serving")

_AGAIN_SECONDS = 60.0


class Loaded(NamedTuple):
    """A model that is ready to answer, with what it can compare a product to, and since when (UTC)."""

    predictor: Predictor
    gallery: Gallery | None
    since: datetime

    @property
    def version(self) -> str:
        """What its predictions are signed with."""
        return self.predictor.version


class LiveModel:
    """The model that serves now, `current`, None as long as there is none; `problem` says what is wrong, '' if nothing.

    Args:
        find: returns the version that should serve; it raises, with a sentence, where there is none.
        load: returns the model of that version; it raises, with a sentence, where that cannot be.
        poll_seconds: how often `find` is asked. A version that failed is tried again a minute later.
    """

    def __init__(
        self,
        find: Callable[[], str],
        load: Callable[[str], tuple[Predictor, Gallery | None]],
        poll_seconds: float,
    ) -> None:
        self._find, self._load, self._poll = find, load, poll_seconds
        self.current: Loaded | None = None
        self.problem = "no model has been looked for yet"
        self.failures = 0
        self._failed, self._failed_at = "", 0.0
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, in a thread."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, name="rayon-model", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; the present model stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def refresh(self) -> None:
        """Look now: swap the model if another one should serve."""
        with self._looking:
            present = self.current.version if self.current else ""
            try:
                wanted = self._find()
            except Exception as error:
                self._note(f"no model can be found: {_sentence(error)}")
                return
            if wanted == present:
                self._note("")
                return
            if wanted == self._failed and time.monotonic() - self._failed_at < _AGAIN_SECONDS:
                return
            try:
                predictor, gallery = self._load(wanted)
                # Encoders are loaded by the first product: that is not to be a customer's.
                predictor.predict_all([Product("warm-up", "warm-up")])
            except Exception as error:
                self.failures += 1
                self._failed, self._failed_at = wanted, time.monotonic()
                kept = f"{present} goes on serving" if present else "nothing is served"
                self._note(f"the model {wanted} cannot be loaded, {kept}: {_sentence(error)}")
                return
            self.current = Loaded(predictor, gallery, datetime.now(UTC))
            self._failed = ""
            self._note("")
            log.info("model swapped", extra={"model": wanted, "before": present})

    def _note(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning(problem)
        self.problem = problem

    def _watch(self) -> None:
        while True:
            try:
                self.refresh()
            except Exception:
                log.exception("looking for a model failed")
            if self._stop.wait(self._poll):
                return


def _sentence(error: Exception) -> str:
    """Mistakes that were foreseen say what to do; of others the log alone tells more, it may hold paths."""
    if isinstance(error, (ValueError, LookupError)) and not isinstance(error, (KeyError, IndexError, UnicodeError)):
        return " ".join(str(error).split())
    log.error("looking for a model failed", exc_info=error)
    return type(error).__name__
