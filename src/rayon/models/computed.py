"""Features that a function computes: a branch that is no network, such as the numbers in a title or a photo's colours.

Knows functions by name, each from texts or JPEGs to vectors. What is learnt from them, how they are weighed and where
they are kept is the same as for an encoder's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayon.models.bundled import EncoderError


class Computed(NamedTuple):
    """Features of a text or a photo by a function.

    `compute` takes N texts (title, line break, description), or N photos as JPEG bytes, and returns (N, D) finite
    numbers, each row from its own product alone. `version` is raised whenever it answers otherwise: features are kept,
    and models ask for those that they were trained on.
    """

    modality: Literal["text", "image"]
    compute: Callable[[Sequence[Any]], NDArray[np.floating]]
    version: int = 1


COMPUTED: dict[str, Computed] = {}
"""The functions by the name under which `branches.text.encoders` or `branches.image.encoders` lists them,
'computed:<name>'; the one place where such a branch is added."""


def is_computed(source: str, modality: str) -> bool:
    """Say whether a source is a function and no encoder.

    Raises:
        EncoderError: it is one for the other modality.
    """
    if source in COMPUTED and COMPUTED[source].modality != modality:
        raise EncoderError(
            f"{source} looks at the {COMPUTED[source].modality}: list it under branches.{COMPUTED[source].modality}"
            f".encoders, not branches.{modality}.encoders"
        )
    return source in COMPUTED


def compute_features(source: str, given: Sequence[Any]) -> NDArray[np.float32]:
    """Return the features of N texts or photos, (N, D).

    Raises:
        EncoderError: the function does not give a row of finite numbers a product.
    """
    features = np.asarray(COMPUTED[source].compute(given), dtype=np.float32)
    if features.ndim != 2 or len(features) != len(given) or not np.isfinite(features).all():
        raise EncoderError(
            f"{source} gives {features.shape} for {len(given)} products: it has to give a row of finite numbers each"
        )
    return features
