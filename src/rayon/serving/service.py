"""What both the JSON API and the app call: judge products, keep what was said, take what people say of it.

Brings together the live model, the batches and the store. Knows neither HTTP nor a user interface.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from rayon.config import Config
from rayon.data.images import PhotoError
from rayon.data.text import clean_label, clean_text
from rayon.feedback import Logged, Store, StoreError
from rayon.gallery import Neighbour
from rayon.inference import Ready
from rayon.requests import judge_to_log
from rayon.schema import Prediction, Product, Refusal
from rayon.serving.batching import Batcher, BusyError
from rayon.serving.downloads import Downloads
from rayon.serving.live import LiveModel, Loaded
from rayon.serving.metrics import Metrics
from rayon.serving.recording import Recorder

log = logging.getLogger("rayon.serving")

T = TypeVar("T")

MAX_PRODUCTS = 64
"""Products in one request."""
MAX_NAME_CHARS = 200
"""Characters of an id, a category, or a comment's author."""
_MAX_COMMENT_CHARS = 2000
_PURGE_SECONDS = 3600.0
_RECORD_SECONDS = 3.0
"""How long an answer waits until its record is in the store; later, it goes out without an id."""
_CHECK_SECONDS = 3.0
_THREADS = 4


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
    """What was said of a product: `id` names the prediction in the store ('' where it could not be kept in time, or
    where the product was refused); `ready` is the product as it was judged, `model` by what.
    """

    id: str
    said: Prediction | Refusal
    ready: Ready | None
    model: Loaded


class _Judged(NamedTuple):
    """What was said of a product, and whether the store has it, once that is known."""

    told: Told
    kept: Future[bool]


class Service:
    """Judges products with the live model, in batches, and keeps predictions and feedback."""

    def __init__(self, live: LiveModel, store: Store, config: Config, metrics: Metrics) -> None:
        self.live, self.store, self.config, self.metrics = live, store, config, metrics
        app = config.app
        self._batches: Batcher[Asked, _Judged] = Batcher(
            self._judge, app.batch, app.wait_ms / 1000, app.queue, app.timeout_seconds, metrics.batch_size.observe
        )
        self._records = Recorder(store, app.queue, metrics.not_kept.inc)
        self._downloads = Downloads(app.url_hosts, app.timeout_seconds, app.max_upload_megabytes)
        # each its own threads: feedback that waits for the store keeps nobody from an answer
        self._shrinking = ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + _THREADS), "rayon-photos")
        self._saying = ThreadPoolExecutor(_THREADS, "rayon-feedback")
        self._said = 0  # feedback on its way to the store; known to the event loop alone
        self._looking = ThreadPoolExecutor(1, "rayon-check")
        self._look: asyncio.Future[None] | None = None
        self._preparing = 0  # products on their way to the batches; known to the event loop alone
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
        self._downloads.close()
        self._batches.close()
        for threads in (self._shrinking, self._saying, self._looking):
            threads.shutdown(cancel_futures=True)
        self._records.close()
        self.live.stop()
        if self._janitor.is_alive():
            self._janitor.join()
        self.store.close()

    @property
    def judging(self) -> bool:
        """Whether the thread that judges is there."""
        return self._batches.alive

    async def predict(self, products: Sequence[Product], source: str, addresses: Sequence[str] = ()) -> list[Told]:
        """Judge up to `MAX_PRODUCTS` products, in their order.

        Args:
            products: what is to be judged.
            source: who asks.
            addresses: where to fetch the photo of each, '' for nowhere; none at all where nothing is to be fetched. A
                photo that cannot be had costs the product its photo only.

        Raises:
            NoModelError: there is no model yet.
            BusyError: too much waits already; trying again later helps.
        """
        model = self.live.current
        if model is None:
            raise NoModelError(self.live.problem)
        self._batches.check_room(len(products), ahead=self._preparing)
        self._preparing += len(products)
        try:
            found, problems = await self._fetch(products, addresses, model)
            # photos are shrunk while the model is busy with others, and wait as the small ones they have become
            prepared = await _in(self._shrinking, model.predictor.prepare, found, problems)
        finally:
            self._preparing -= len(products)
        judged = await asyncio.wrap_future(self._batches.submit([Asked(one, source, model) for one in prepared]))
        # a request is never split: one record is that of all its products
        kept = any(one.told.id for one in judged) and await _in_time(judged[0].kept)
        return [one.told if kept else one.told._replace(id="") for one in judged]

    async def _fetch(
        self, products: Sequence[Product], addresses: Sequence[str], model: Loaded
    ) -> tuple[list[Product], dict[int, PhotoError]]:
        """Return the products with the photos that were fetched, and by place why one was not."""
        found, problems = list(products), {}
        places = [place for place, address in enumerate(addresses) if address]
        if places:
            megabytes = model.predictor.bundle.preprocess.max_image_megabytes
            photos = await self._downloads.fetch([addresses[place] for place in places], megabytes)
            for place, photo in zip(places, photos, strict=True):
                if isinstance(photo, PhotoError):
                    problems[place] = photo
                else:
                    found[place] = found[place]._replace(image=photo)
        return found, problems

    async def add_feedback(self, prediction: str, category: str, who: str, comment: str = "", key: str = "") -> int:
        """Keep what a person said of a prediction; see `rayon.feedback.Store.add_feedback`.

        Raises:
            ValueError: there is no category, or it is too long.
            BusyError: too much feedback waits for the store already.
            UnknownPredictionError, StoreError: as there.
        """
        label = clean_label(category)
        if not label or len(label) > MAX_NAME_CHARS:
            raise ValueError(f"the category must have 1 to {MAX_NAME_CHARS} characters")
        # PostgreSQL takes no NUL, and nobody reads control characters
        words = (clean_label(who)[:MAX_NAME_CHARS], clean_text(comment, _MAX_COMMENT_CHARS), clean_label(key)[:64])
        if self._said >= self.config.app.queue:
            raise BusyError(f"{self._said} pieces of feedback wait for the store already: try again in a moment")
        self._said += 1
        try:
            number = await _in(self._saying, self.store.add_feedback, clean_label(prediction), label, *words)
        finally:
            self._said -= 1
        self.metrics.feedback.inc()
        return number

    async def check_store(self) -> str:
        """Return what is wrong with the store, '' for nothing. One that is silent is asked once, whoever asks."""
        if self._look is None or self._look.done():
            self._look = _in(self._looking, self.store.check)
            self._look.add_done_callback(lambda look: look.cancelled() or look.exception())  # nobody may wait any more
        try:
            await asyncio.wait_for(asyncio.shield(self._look), _CHECK_SECONDS)
        except TimeoutError:
            return f"it has not answered for {_CHECK_SECONDS:g} seconds"
        except StoreError as error:
            return str(error)
        return ""

    def neighbours(self, told: Told, count: int = 8) -> list[Neighbour]:
        """Return the training products most like one that was judged; none where the model came without a gallery."""
        if told.ready is None or told.model.gallery is None:
            return []
        return told.model.gallery.nearest(told.model.predictor.features_of(told.ready), count)

    def _judge(self, asked: list[Asked]) -> list[_Judged]:
        told: list[Told] = []
        logged: list[Logged] = []
        for _, group in groupby(asked, key=lambda each: id(each.model)):  # two where it was swapped meanwhile
            told += self._judge_by(list(group), logged)
        self.metrics.count(one.said for one in told)
        kept = self._records.keep(logged)
        return [_Judged(one, kept) for one in told]

    def _judge_by(self, asked: list[Asked], logged: list[Logged]) -> list[Told]:
        """Judge products with their model; what is to be kept of them is added to `logged`."""
        model = asked[0].model
        ready = [(each.prepared, each.source) for each in asked if isinstance(each.prepared, Ready)]
        new = judge_to_log(model.predictor, [one for one, _ in ready], [source for _, source in ready])
        logged += new
        judged, told = iter(new), []
        for each in asked:
            if isinstance(each.prepared, Ready):
                one = next(judged)
                told.append(Told(one.id, one.prediction, each.prepared, model))
            else:
                told.append(Told("", each.prepared, None, model))
        return told

    def _purge(self) -> None:
        while True:
            try:
                purged = self.store.purge(self.config)
                log.info("store purged", extra=purged._asdict())
            except Exception as error:
                log.error("the store was not purged: %s", error)
            if self._stop.wait(_PURGE_SECONDS):
                return


def _in(threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Call a function in one of these threads."""
    return asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


async def _in_time(kept: Future[bool]) -> bool:
    """Say whether predictions are in the store, as far as that is known soon."""
    known = asyncio.wrap_future(kept)
    await asyncio.wait([known], timeout=_RECORD_SECONDS)  # and cancels nothing: it is the record of others, too
    return known.done() and not known.cancelled() and known.result()
