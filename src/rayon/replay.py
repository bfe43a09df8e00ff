"""Replays generated traffic into the app's store: judged as the app judges, kept as it keeps, labelled by people.

For watching the loop without an app and without waiting. Knows the demo catalogue's generator, a predictor and a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rayon.config import Synthetic
from rayon.data.synthetic import Drift, iter_products, true_category
from rayon.feedback import Logged, Store, new_id
from rayon.inference import Predictor, Ready, together
from rayon.requests import observations
from rayon.schema import Prediction

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
    kept = [place for place, one in enumerate(prepared) if isinstance(one, Ready)]
    ready = [one for one in prepared if isinstance(one, Ready)]
    columns = together(ready)
    answers = predictor.judge(columns)
    predictions = predictor.tell(ready, answers)
    ids = [new_id() for _ in ready]
    seen = observations(predictor, columns, answers)
    store.add_predictions(
        [
            Logged(name, one.designation, one.description, one.photo, said, SOURCE, note)
            for name, one, said, note in zip(ids, ready, predictions, seen, strict=True)
        ]
    )
    rng = np.random.default_rng((seed, rows[0]))
    labelled = 0
    for name, said, place in zip(ids, predictions, kept, strict=True):
        chance = crowd.review if said.decision == "review" else crowd.accepted
        if rng.random() < chance:
            category = truth[place]
            if rng.random() < crowd.mistakes:
                category = str(rng.choice(predictor.categories))
            store.add_feedback(name, category, f"person {int(rng.integers(crowd.people)) + 1}")
            labelled += 1
    return Replayed(
        len(ready),
        _share([said.category == truth[place] for said, place in zip(predictions, kept, strict=True)]),
        _share([_accepted(said) for said in predictions]),
        labelled,
    )


def _accepted(said: Prediction) -> bool:
    return said.decision == "accept"


def _share(flags: Sequence[bool]) -> float:
    return float(np.mean(flags)) if flags else float("nan")
