"""Opens what serves an experiment: its champion through the registry, its store, its batches.

The one part of serving that knows Metaflow.
"""

from __future__ import annotations

from rayon.bundle import read_bundle
from rayon.config import Config
from rayon.feedback import open_store
from rayon.gallery import Gallery, read_gallery
from rayon.inference import Predictor
from rayon.models.recent import RecentFeatures
from rayon.registry import find_model, find_version, read_gallery_of
from rayon.serving.live import LiveModel
from rayon.serving.metrics import Metrics
from rayon.serving.service import Service


def open_service(config: Config, model: str = "") -> Service:
    """Return the service of an experiment; it starts to look for models once it is started.

    Args:
        model: '' for the champion, or the latest successful training where nothing was promoted; else as
            `rayon.registry.find_model` takes it.

    Raises:
        rayon.feedback.StoreError: the store cannot be opened.
    """
    features = RecentFeatures()

    def load(version: str) -> tuple[Predictor, Gallery | None]:
        found = find_model(version, config.name)
        predictor = Predictor(read_bundle(found.bundle), found.version, config.score.precision, features)
        gallery = read_gallery_of(found.version) if found.version.startswith("TrainFlow/") else None
        return predictor, read_gallery(gallery) if gallery else None

    live = LiveModel(lambda: find_version(model, config.name), load, config.app.poll_seconds)
    return Service(live, open_store(config), config, Metrics())
