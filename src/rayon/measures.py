"""What is compared between a window of production and a model's reference, and how each comparison is told in words.

Knows opened windows and the tests of `rayon.drift`; it knows neither limits nor verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.drift import Difference, ks_test, mix_test, mmd_test, psi, share_test
from rayon.monitoring_config import Limit, Limits
from rayon.tally import BLANK, Label, Tally, counts_of
from rayon.window import Window

LEAST = 20
_PHOTO_COLUMNS = ["photo_novelty", "brightness", "sharpness"]


class Compared(NamedTuple):
    """One comparison: its name, a key of `Limits`; what was found; and in words what was then and is now."""

    name: str
    difference: Difference
    sentence: str


class Comparison(NamedTuple):
    """A further comparison: from reference and window to what was found, and that in words; None where there is
    nothing to compare. `limit` says how large it has to be to matter.
    """

    find: Callable[[Window, Window], tuple[Difference, str] | None]
    limit: Limit


COMPARISONS: dict[str, Comparison] = {}
"""Further comparisons by name, beside those that are always made; the one place where one is added. A field of that
name in `Limits`, if there is one, goes before `limit`."""


class _Number(NamedTuple):
    """A plain column that is compared as a distribution: what it is called, how its values are written, and what
    stands for them, which for most is the median: a few strange products move a mean.
    """

    title: str
    write: Callable[[float], str]
    middle: Callable[[NDArray[np.float64]], float] = lambda values: float(np.median(values))


def write_share(value: float) -> str:
    """Return a share in [0, 1] as a sentence has it: '12%', '1.2%'.

    Example:
        >>> write_share(0.123), write_share(0.0123)
        ('12%', '1.2%')
    """
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def _two_digits(value: float) -> str:
    return f"{value:.2f}"


_NUMBERS = {
    "unknown_words": _Number("words that the model does not know", write_share, lambda values: float(values.mean())),
    "text_novelty": _Number("how unlike the training's the texts are", _two_digits),
    "photo_novelty": _Number("how unlike the training's the photos are", _two_digits),
    "confidence": _Number("confidence", write_share),
    "entropy": _Number("doubt (entropy, nats)", _two_digits),
    "text_length": _Number("characters of text", lambda value: f"{value:.0f}"),
    "brightness": _Number("brightness of the photos", write_share),
    "sharpness": _Number("sharpness of the photos", write_share),
}

_SHARES = {
    "without_text": "products without text",
    "without_description": "products without a description",
    "without_photo": "products without a photo that shows something",
}


def compare(
    reference: Window,
    current: Window,
    categories: Sequence[str],
    view_rows: int = 1000,
    permutations: int = 1999,
    seed: int = 0,
    labels: int = 10,
) -> list[Compared]:
    """Compare a window with the reference in every respect in which both were observed, on 20 products or more.

    What can be counted is compared on all products of a window, what has to be looked at on those that are opened.
    With `labels` labels or more of products that were filed, or sent to review, those stand for all that were.
    """
    then, now = reference.counted(), current.counted()
    reference, current = _without_blanks(reference), _without_blanks(current)
    found = [
        *_views(reference, current, view_rows, permutations, seed),
        *_numbers(reference.frame, current.frame),
        *_mixes(then, now, categories),
        *_shares(then, now),
        *_new_categories(now, then.rows, categories, labels),
        *_further(reference, current),
    ]
    return [each for each in found if min(each.difference.reference, each.difference.current) >= LEAST]


def limit_of(name: str, limits: Limits) -> Limit:
    """Return from which effect the comparison `name` matters."""
    limit: Limit | None = getattr(limits, name, None)
    return limit or COMPARISONS[name].limit


def mix_of(counted: Tally, categories: Sequence[str]) -> NDArray[np.int64]:
    """Return how many products each category was predicted for, (C,)."""
    return counts_of(counted.mix, categories)


def distributions(reference: Window, current: Window) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the values of each number that is compared, by its title: of 'training' and of the 'window'.

    Missing values are left out, and numbers that one side lacks.
    """
    reference, current = _without_blanks(reference), _without_blanks(current)
    found = {}
    for name, number in _NUMBERS.items():
        then, now = (_column(window.frame, name) for window in (reference, current))
        if len(then) and len(now):
            found[number.title] = {"training": then, "window": now}
    return found


def mix_psi(reference: Tally, current: Tally, categories: Sequence[str], minimum: int) -> float | None:
    """Return the population stability index of the predicted mix, None below `minimum` products on either side."""
    return psi(mix_of(reference, categories), mix_of(current, categories), minimum)


def _further(reference: Window, current: Window) -> list[Compared]:
    found = [(name, comparison.find(reference, current)) for name, comparison in COMPARISONS.items()]
    return [Compared(name, *told) for name, told in found if told is not None]


def _without_blanks(window: Window) -> Window:
    """Return the window with photos that show nothing taken for no photos."""
    blank = (window.frame["sharpness"] < BLANK).to_numpy()
    if not blank.any():
        return window
    frame, view = window.frame.copy(), window.photo_view.copy()
    frame.loc[blank, _PHOTO_COLUMNS] = np.nan
    frame.loc[blank, "has_image"] = False
    frame.loc[blank, "photo_problem"] = "blank"
    view[blank] = np.nan
    return window._replace(frame=frame, photo_view=view)


def _views(reference: Window, current: Window, rows: int, permutations: int, seed: int) -> list[Compared]:
    found = []
    for name, what in (("text_view", "texts"), ("photo_view", "photos")):
        then, now = (_present(getattr(window, name)) for window in (reference, current))
        if then.shape[1] and then.shape[1] == now.shape[1]:
            difference = mmd_test(then, now, rows, permutations, seed)
            sentence = f"{what} differ from the training's by {difference.effect:.2f} (0: alike, 1: nothing in common)"
            found.append(Compared(name, difference, sentence))
    return found


def _numbers(reference: pd.DataFrame, current: pd.DataFrame) -> list[Compared]:
    found = []
    for name, number in _NUMBERS.items():
        then, now = (_column(frame, name) for frame in (reference, current))
        if len(then) and len(now):
            middles = [number.write(number.middle(values)) for values in (now, then)]
            sentence = f"{number.title}: {middles[0]}, {middles[1]} in training"
            found.append(Compared(name, ks_test(then, now), sentence))
    return found


def _column(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    values = frame["title_length"] + frame["description_length"] if name == "text_length" else frame[name]
    numbers: NDArray[np.float64] = values.to_numpy(dtype=np.float64)
    return numbers[np.isfinite(numbers)]


def _mixes(reference: Tally, current: Tally, categories: Sequence[str]) -> list[Compared]:
    then, now = mix_of(reference, categories), mix_of(current, categories)
    shares = now / max(now.sum(), 1) - then / max(then.sum(), 1)
    most = int(np.abs(shares).argmax())
    before, after = (counts[most] / max(counts.sum(), 1) for counts in (then, now))
    much = [write_share(share) for share in (after, before)]
    sentence = f"predicted mix: '{categories[most]}' is {much[0]} of the products, {much[1]} in training"
    found = [Compared("predicted_mix", mix_test(then, now), sentence)]
    if reference.languages and current.languages:
        names = sorted({*reference.languages, *current.languages})
        counts = [counts_of(side.languages, names) for side in (reference, current)]
        told = int(np.abs(counts[1] / counts[1].sum() - counts[0] / counts[0].sum()).argmax())
        share = [float(each[told] / each.sum()) for each in counts]
        what = f"'{names[told]}'" if names[told] else "in no language that can be told"
        sentence = f"languages: {write_share(share[1])} of the texts are {what}, {write_share(share[0])} in training"
        found.append(Compared("language", mix_test(counts[0], counts[1]), sentence))
    return found


def _shares(reference: Tally, current: Tally) -> list[Compared]:
    found = []
    for name, what in _SHARES.items():
        then, now = reference.lacking[name], current.lacking[name]
        if then.known and now.known:
            shares = [write_share(side.hits / side.known) for side in (now, then)]
            sentence = f"{what}: {shares[0]}, {shares[1]} in training"
            if name == "without_photo":
                broken = current.broken
                sentence += f"; {broken:,} photos were there, unreadable or blank" if broken else ""
            found.append(Compared(name, share_test(then.hits, then.known, now.hits, now.known), sentence))
    return found


def _new_categories(current: Tally, reference: int, categories: Sequence[str], least: int) -> list[Compared]:
    known = set(categories)
    # those that the source gave come first
    labels: dict[Label, int] = dict(sorted(current.labels.items(), key=lambda label: not label[0].given))
    if not labels:
        return []
    # people look at what is sent to review, where new categories gather: labels count by what they stand for, unless
    # they are too few to stand for more than themselves; what nobody looked at counts as known
    labelled: Counter[str] = Counter()
    new: Counter[str] = Counter()
    for label, count in labels.items():
        labelled[label.decision] += count
        if label.category not in known:
            new[label.category] += count
    weights = {
        decision: current.decisions[decision] / count if count >= least else 1.0 for decision, count in labelled.items()
    }
    stand_for = sum(count * weights[label.decision] for label, count in labels.items() if label.category not in known)
    share = stand_for / sum(current.decisions.values())
    few, many = sum(new.values()), sum(labels.values())
    difference = share_test(0, reference, few, many)._replace(effect=share)
    names = ", ".join(f"'{name}'" for name, _ in new.most_common(3))
    sentence = f"{few:,} of {many:,} labelled products are of categories that the model does not know"
    return [Compared("new_categories", difference, f"{sentence}: {names}" if names else sentence)]


def _present(view: NDArray[np.float32]) -> NDArray[np.float32]:
    return view[np.isfinite(view).all(axis=1)]
