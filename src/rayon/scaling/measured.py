"""What was measured of rayon's stages, and the lines through it.

`tests/benchmarks/scaling.py` runs the stages on catalogues of a few sizes and writes `measured.json` beside this file:
the points, the machine and the date, and of each quantity a fit. Knows numbers; neither rayon's stages nor what a plan
makes of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

STEEP = 1.1
"""An exponent from which a quantity is taken to grow as a power of the rows, and no longer by the row."""


class Fit(NamedTuple):
    """How a quantity y grows with n: y = fixed + each * n where it grows by the row, otherwise y = last * (n /
    largest) ** exponent. `exponent` is the slope of log y over log n between the two largest n measured; `off`
    is the largest relative distance of a point from the fit; `largest` and `last` are the largest n and its y.
    """

    fixed: float
    each: float
    exponent: float
    off: float
    largest: float
    last: float

    def at(self, n: float) -> float:
        """Return what is to be expected at n; beyond `largest` that is extrapolation."""
        if self.exponent > STEEP and n > self.largest:
            return float(self.last * (n / self.largest) ** self.exponent)
        return self.fixed + self.each * n


class Measured(NamedTuple):
    """The fits by stage and quantity, and how they were come by (machine, date, command)."""

    fits: Mapping[str, Mapping[str, Fit]]
    about: Mapping[str, Any]
    points: Mapping[str, Sequence[Mapping[str, float]]]

    def at(self, stage: str, quantity: str, n: float) -> float:
        """Return what a quantity of a stage is expected to be at n."""
        return self.fits[stage][quantity].at(n)

    def each(self, stage: str, quantity: str) -> float:
        """Return how much a quantity grows with one more."""
        return self.fits[stage][quantity].each


def fit(n: Sequence[float], y: Sequence[float]) -> Fit:
    """Fit a quantity that was measured at `n` (two sizes or more): neither part negative, each point counted by its
    relative distance.
    """
    x, values = np.asarray(n, float), np.maximum(np.asarray(y, float), 1e-12)
    (fixed, each), _ = nnls(np.column_stack([1 / values, x / values]), np.ones(len(values)))
    low, high = np.argsort(x)[-2:]
    exponent = float(np.log(values[high] / values[low]) / np.log(x[high] / x[low]))
    off = float(np.abs((fixed + each * x) / values - 1).max())
    return Fit(float(fixed), float(each), exponent, off, float(x[high]), float(values[high]))


def read_measured(text: str = "") -> Measured:
    """Return what was measured: what a benchmark wrote, or what comes with rayon."""
    content = json.loads(text or files("rayon.scaling").joinpath("measured.json").read_text(encoding="utf-8"))
    fits = {
        stage: {name: Fit(**values) for name, values in quantities.items()}
        for stage, quantities in content["fits"].items()
    }
    return Measured(fits, content["about"], content["points"])


def fit_all(points: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the fits of all quantities, by stage, as plain data; each point has its size under 'n'."""
    return {
        stage: {
            name: fit([point["n"] for point in measured], [point[name] for point in measured])._asdict()
            for name in measured[0]
            if name != "n"
        }
        for stage, measured in points.items()
    }
