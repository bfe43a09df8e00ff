"""What both the JSON API and the app call: judge products, keep what was said, take what people say of it.

Brings together the live model, the batches and the store. Knows neither HTTP nor a user interface.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from rayon.config import Config
from rayon.data.text import clean_label, clean_text
from rayon.feedback import Logged, Store, StoreError
from rayon.gallery import Neighbour
from rayon.inference import Ready
from rayon.requests import judge_to_log
from rayon.schema import Prediction, Product, Refusal
from rayon.serving.batching import Batcher
from rayon.serving.live import LiveModel, Loaded
from rayon.serving.metrics import Metrics

log = logging.getLogger("rayon.serving")

MAX_PRODUCTS = 64
"""Products in one request."""
MAX_NAME_CHARS = 200
"""Characters of an id, a category, or a comment's author."""
_MAX_COMMENT_CHARS = 2000
_PURGE_SECONDS = 3600.0


class NoModelError(RuntimeError):
    """There is no model to answer with yet. The message says what to run."""


class Asked(NamedTuple):
    """A product that is prepared to be judged, or cannot be; who asks ('app', 'api', or a key's name); the model that
    prepared it, which judges it.
    """

    prepared: Ready | Refusal
    source: str
    model: Loaded


class Told(NamedTuple):
    """What was said of a product: `id` names the prediction in the store ('' where it could not be kept, or where the
    product was refused); `ready` is the product as it was judged, `model` by what.
    """

    id: str
    said: Prediction | Refusal
    ready: Ready | None
    model: Loaded


class Service:
    """Judges products with the live model, in batches, and keeps predictions and feedback."""

    def __init__(self, live: LiveModel, store: Store, config: Config, metrics: Metrics) -> None:
        self.live, self.store, self.config, self.metrics = live, store, config, metrics
        app = config.app
        self._batches: Batcher[Asked, Told] = Batcher(
            self._judge, app.batch, app.wait_ms / 1000, app.queue, app.timeout_seconds, metrics.batch_size.observe
        )
        metrics.waiting.set_function(lambda: float(self._batches.waiting))
        self._stop = threading.Event()
        self._janitor = threading.Thread(target=self._purge, name="rayon-purge", daemon=True)

    def start(self) -> None:
        """Begin to look for models and to purge what is too old."""
        self.live.start()
        self._janitor.start()

    def close(self) -> None:
        """Finish what waits, then stop."""
        self._stop.set()
        self._batches.close()
        self.live.stop()
        if self._janitor.is_alive():
            self._janitor.join()
        self.store.close()

    async def predict(self, products: Sequence[Product], source: str) -> list[Told]:
        """Judge up to `MAX_PRODUCTS` products, in their order.

        Raises:
            NoModelError: there is no model yet.
            BusyError: too much waits already; trying again later helps.
        """
        model = self.live.current
        if model is None:
            raise NoModelError(self.live.problem)
        # photos are shrunk while the model is busy with others, and wait as the small ones they have become
        prepared = await asyncio.to_thread(model.predictor.prepare, products)
        future = self._batches.submit([Asked(one, source, model) for one in prepared])
        return await asyncio.wrap_future(future)

    async def add_feedback(self, prediction: str, category: str, who: str, comment: str = "", key: str = "") -> int:
        """Keep what a person said of a prediction; see `rayon.feedback.Store.add_feedback`.

        Raises:
            ValueError: there is no category, or it is too long.
            UnknownPredictionError, StoreError: as there.
        """
        label = clean_label(category)
        if not label or len(label) > MAX_NAME_CHARS:
            raise ValueError(f"the category must have 1 to {MAX_NAME_CHARS} characters")
        # PostgreSQL takes no NUL, and nobody reads control characters
        words = (clean_label(who)[:MAX_NAME_CHARS], clean_text(comment, _MAX_COMMENT_CHARS), clean_label(key)[:64])
        number = await asyncio.to_thread(self.store.add_feedback, clean_label(prediction), label, *words)
        self.metrics.feedback.inc()
        return number

    def neighbours(self, told: Told, count: int = 8) -> list[Neighbour]:
        """Return the training products most like one that was judged; none where the model came without a gallery."""
        if told.ready is None or told.model.gallery is None:
            return []
        return told.model.gallery.nearest(told.model.predictor.features_of(told.ready), count)

    def _judge(self, asked: list[Asked]) -> list[Told]:
        told: list[Told] = []
        for _, group in groupby(asked, key=lambda each: id(each.model)):  # two where it was swapped meanwhile
            told += self._judge_by(list(group))
        return told

    def _judge_by(self, asked: list[Asked]) -> list[Told]:
        model = asked[0].model
        ready = [(each.prepared, each.source) for each in asked if isinstance(each.prepared, Ready)]
        logged = judge_to_log(model.predictor, [one for one, _ in ready], [source for _, source in ready])
        kept, judged = self._keep(logged), iter(logged)
        told = []
        for each in asked:
            if isinstance(each.prepared, Ready):
                one = next(judged)
                told.append(Told(one.id if kept else "", one.prediction, each.prepared, model))
            else:
                told.append(Told("", each.prepared, None, model))
        self.metrics.count(one.said for one in told)
        return told

    def _keep(self, logged: Sequence[Logged]) -> bool:
        """Log predictions and say whether they are kept: an answer is worth more than its record."""
        try:
            self.store.add_predictions(logged)
            return True
        except (StoreError, OSError, ValueError) as error:
            self.metrics.not_kept.inc(len(logged))
            log.error("predictions were not kept: %s", error)
            return False

    def _purge(self) -> None:
        while True:
            try:
                purged = self.store.purge(self.config)
                log.info("store purged", extra=purged._asdict())
            except Exception as error:
                log.error("the store was not purged: %s", error)
            if self._stop.wait(_PURGE_SECONDS):
                return
