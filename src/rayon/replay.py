"""Replays generated traffic into the app's store: judged as the app judges, kept as it keeps, labelled by people.

For watching the loop without an app and without waiting. Knows the demo catalogue's generator, a predictor and a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rayon.config import Synthetic
from rayon.data.synthetic import Drift, iter_products, true_category
from rayon.feedback import Store
from rayon.inference import Predictor, Ready
from rayon.requests import judge_to_log

SOURCE = "replay"


class Crowd(NamedTuple):
    """The people who label: so many, taking turns; each product sent to review is labelled with the chance `review`,
    each other one with the chance `accepted`; a share of `mistakes` of the labels is wrong.
    """

    people: int = 4
    review: float = 1.0
    accepted: float = 0.1
    mistakes: float = 0.01


class Replayed(NamedTuple):
    """What became of a lot: products judged, the shares judged rightly and accepted, labels kept."""

    products: int
    right: float
    accepted: float
    labelled: int


def replay(
    rows: Sequence[int],
    settings: Synthetic,
    drift: Drift | None,
    predictor: Predictor,
    store: Store,
    crowd: Crowd,
    seed: int = 0,
) -> Replayed:
    """Judge the generator's products `rows`, a range beyond the catalogue's own, and have people label some of them."""
    products = list(iter_products(settings, drift, rows[0], rows[-1] + 1))
    truth = [true_category(settings, row, drift) for row in rows]
    prepared = predictor.prepare(products)
    kept = [true for true, one in zip(truth, prepared, strict=True) if isinstance(one, Ready)]
    ready = [one for one in prepared if isinstance(one, Ready)]
    logged = judge_to_log(predictor, ready, [SOURCE] * len(ready))
    store.add_predictions(logged)
    rng = np.random.default_rng((seed, rows[0]))
    labelled = 0
    for one, true in zip(logged, kept, strict=True):
        chance = crowd.review if one.prediction.decision == "review" else crowd.accepted
        if rng.random() < chance:
            category = true
            if rng.random() < crowd.mistakes:
                category = str(rng.choice(predictor.categories))
            store.add_feedback(one.id, category, f"person {int(rng.integers(crowd.people)) + 1}")
            labelled += 1
    return Replayed(
        len(ready),
        _share([one.prediction.category == true for one, true in zip(logged, kept, strict=True)]),
        _share([one.prediction.decision == "accept" for one in logged]),
        labelled,
    )


def _share(flags: Sequence[bool]) -> float:
    return float(np.mean(flags)) if flags else float("nan")
