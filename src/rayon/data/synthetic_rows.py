"""One row of the demo catalogue: what the product is, what is said of it, how it is labelled and photographed.

Row i depends on the seed and on i alone, never on how many rows there are. What is wrong with the catalogue is wrong on
purpose and listed in data/README.md. Knows no file: `rayon.data.synthetic` writes the rows and is what others import.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import math
import random
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from rayon.config import Synthetic
from rayon.data.synthetic_departments import LARGE
from rayon.data.synthetic_departments_more import OUTSIDE, SMALL
from rayon.data.synthetic_photos import blank_photo, draw_photo, truncate_photo
from rayon.data.synthetic_shapes import AMBIGUOUS_SHAPES
from rayon.data.synthetic_titles import ENGLISH_SHARE, Subject, Variant, compose_description, compose_title
from rayon.data.synthetic_vocabulary import COLOURS, FAMILIES, Department
from rayon.schema import Product

DEPARTMENTS: tuple[Department, ...] = LARGE + SMALL

WITHOUT_DESCRIPTION = 0.35
WRONG_LABELS = 0.03
MISSING_PHOTOS = 0.03
DANGLING_PHOTOS = 0.25
"""Share of the missing photos whose row still names a file."""
TRUNCATED_PHOTOS = 0.005
VARIANTS = 0.12
"""Share of the rows whose title is another row's, in another size, colour or number."""
REPEATS = 0.02
"""Share of the rows whose title is exactly another row's."""
IMBALANCE = 5.5
"""How many times larger the first category is than the last."""
WORDINGS = {"own": 0.84, "family": 0.08, "vague": 0.08}
"""Shares of the titles that name their product, that use a word several departments share, that name none."""
TELLING_PHOTOS = {"own": 0.70, "family": 0.97, "vague": 0.97}
"""Share of the photos that show the product, by what the title gives away; the others show a box, a bag, a fabric."""
_REACH = 200
"""A near-duplicate repeats a row at most this far before it."""

DriftKind = Literal["vocabulary", "mix", "photo_style", "broken_photos", "new_category", "concept"]


@dataclass(frozen=True)
class Drift:
    """A change in the traffic. `strength` in [0, 1] is the share of the products it touches.

    - vocabulary: products and brands that the catalogue does not know; photos and categories stay.
    - mix: departments come in another season's shares.
    - photo_style: another photographer: darker, tinted, on other backgrounds. Touches every photo, by `strength`.
    - broken_photos: photos missing, truncated or blank.
    - new_category: products of departments that no catalogue holds.
    - concept: half of the products of each department now belong to another; titles and photos stay.
    """

    kind: DriftKind
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(DriftKind):
            raise ValueError(f"unknown drift '{self.kind}': known are {', '.join(get_args(DriftKind))}")
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"drift strength {self.strength} is outside [0, 1]")


class _Item(NamedTuple):
    """What a product is, before it is written about and photographed."""

    department: Department
    subject: Subject
    noun: int
    shape: str


def make_product(settings: Synthetic, row: int, drift: Drift | None = None, photos: bool = True) -> Product:
    """Return the product of one row; `image` is None without `photos`. See `rayon.data.synthetic.iter_products`."""
    base, variant_row = _origins(settings.seed, row)
    item, variant = _item(settings, base, drift), _variant(settings.seed, variant_row)
    rng = _random(settings.seed, row, "description")
    described = rng.random() >= WITHOUT_DESCRIPTION
    return Product(
        product_id=product_id(row),
        designation=compose_title(item.subject, variant),
        description=compose_description(item.subject, rng.getrandbits(48)) if described else "",
        category=_label(settings, row, _truth(settings, base, item, drift)),
        image=_photo(settings.seed, row, item.shape, variant, drift) if photos else None,
    )


def product_id(row: int) -> str:
    """Return the identifier of a row: 'P0000012' for row 12."""
    return f"P{row:07d}"


def true_category(settings: Synthetic, row: int, drift: Drift | None = None) -> str:
    """Return the category that row `row` belongs to, whatever its label says."""
    base, _ = _origins(settings.seed, row)
    return _truth(settings, base, _item(settings, base, drift), drift)


def _truth(settings: Synthetic, base: int, item: _Item, drift: Drift | None) -> str:
    if not _struck(settings.seed, base, drift, "concept") or item.noun % 2:
        return item.department.name
    return _neighbours(item.department, settings.categories)[0].name


def _random(seed: int, row: int, purpose: str) -> random.Random:
    """Return the generator of one purpose of one row; no two share numbers."""
    digest = hashlib.blake2b(f"{seed}/{row}/{purpose}".encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def _struck(seed: int, row: int, drift: Drift | None, kind: DriftKind) -> bool:
    """Say whether a drift of `kind` touches `row`. A stronger drift touches the same rows and more."""
    return drift is not None and drift.kind == kind and _random(seed, row, "drift").random() < drift.strength


def _origins(seed: int, row: int) -> tuple[int, int]:
    """Return the row that first had this product, and the one that first had it in this size, colour and number."""
    variant = row
    same = True  # while only repeats were followed
    while True:
        rng = _random(seed, row, "source")
        share, other = rng.random(), row - 1 - rng.randrange(_REACH)
        if other < 0 or share >= VARIANTS + REPEATS:
            return row, variant
        same = same and share >= VARIANTS
        row, variant = other, other if same else variant


def _variant(seed: int, row: int) -> Variant:
    rng = _random(seed, row, "variant")
    count = rng.choice((2, 2, 3, 4, 4, 6)) if rng.random() < 0.25 else 1
    return Variant(rng.choice(tuple(COLOURS)), count, rng.getrandbits(48))


def _item(settings: Synthetic, base: int, drift: Drift | None) -> _Item:
    """Return what the product of row `base` is; the near-duplicates of a row are the same item."""
    rng = _random(settings.seed, base, "item")
    department = _department(settings, base, rng.random(), drift)
    wording = rng.choices(tuple(WORDINGS), tuple(WORDINGS.values()))[0]
    english = rng.random() < ENGLISH_SHARE
    nouns = department.english if english else department.nouns
    noun = rng.randrange(len(nouns))
    family = rng.choice(department.families)
    shape = nouns[noun].shape
    if rng.random() >= TELLING_PHOTOS[wording]:
        shape = rng.choice(FAMILIES[family].shapes if rng.random() < 0.6 else AMBIGUOUS_SHAPES)
    fresh = _struck(settings.seed, base, drift, "vocabulary")
    subject = Subject(department, family, nouns[noun].name, wording, english, fresh, rng.getrandbits(48))
    return _Item(department, subject, noun, shape)


def _department(settings: Synthetic, row: int, draw: float, drift: Drift | None) -> Department:
    if _struck(settings.seed, row, drift, "new_category"):
        return OUTSIDE[int(draw * len(OUTSIDE))]
    shares = _shares(settings.categories)
    if _struck(settings.seed, row, drift, "mix"):
        shares = shares[::-1]
    index = bisect.bisect(list(itertools.accumulate(shares[:-1])), draw)
    return DEPARTMENTS[index]


@functools.cache
def _shares(categories: int) -> tuple[float, ...]:
    """Return Zipf weights that sum to 1 and whose first is `IMBALANCE` times the last."""
    power = math.log(IMBALANCE) / math.log(categories)
    weights = [(rank + 1) ** -power for rank in range(categories)]
    return tuple(weight / sum(weights) for weight in weights)


def _neighbours(department: Department, categories: int) -> list[Department]:
    """Return the catalogue's other departments that share a family with `department`; all others if none does."""
    others = [other for other in DEPARTMENTS[:categories] if other != department]
    return [other for other in others if set(other.families) & set(department.families)] or others


def _label(settings: Synthetic, row: int, truth: str) -> str:
    """Return the truth, or for `WRONG_LABELS` of the rows another category, two times in three a confusable one."""
    rng = _random(settings.seed, row, "label")
    if rng.random() >= WRONG_LABELS:
        return truth
    department = next(department for department in DEPARTMENTS + OUTSIDE if department.name == truth)
    near = rng.random() < 2 / 3
    names = [
        d.name for d in (_neighbours(department, settings.categories) if near else DEPARTMENTS[: settings.categories])
    ]
    return rng.choice([name for name in names if name != truth])


def _photo(seed: int, row: int, shape: str, variant: Variant, drift: Drift | None) -> bytes | None:
    """Return the photo of `row` as it reaches us: whole, truncated, blank or missing."""
    rng = _random(seed, row, "photo")
    fate, pixels = rng.random(), rng.getrandbits(48)
    if _struck(seed, row, drift, "broken_photos"):
        fate *= 0.9
        if fate >= 0.6:
            return blank_photo(pixels)
        fate = 0.0 if fate < 0.3 else MISSING_PHOTOS
    if fate < MISSING_PHOTOS:
        return None
    strangeness = drift.strength if drift is not None and drift.kind == "photo_style" else 0.0
    photo = draw_photo(shape, variant.colour, variant.number, pixels, strangeness)
    return truncate_photo(photo, pixels) if fate < MISSING_PHOTOS + TRUNCATED_PHOTOS else photo


def has_dangling_photo(settings: Synthetic, row: int) -> bool:
    """Say whether a file of `row`, should its photo be missing, names the photo all the same."""
    return _random(settings.seed, row, "dangling").random() < DANGLING_PHOTOS
