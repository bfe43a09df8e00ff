"""Compose the title and the description of a demo product from what the product is.

Knows words and how sellers write them: templates, upper case, lost accents, HTML debris. Knows neither row numbers nor
photos. `wording` says how much a title gives away: 'own' names the product, 'family' uses a noun that several
departments share, 'vague' names no product at all.
"""

from __future__ import annotations

import html.entities
import random
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from rayon.data.synthetic_vocabulary import (
    ENGLISH_COLOURS,
    ENGLISH_SENTENCES,
    FAMILIES,
    FRESH_BRANDS,
    GENERIC_SENTENCES,
    SERIES,
    Department,
)

ENGLISH_SHARE = 0.15
NAMED_BRAND_SHARE = 0.55
"""Share of the products with a named brand whose brand is the department's own, not one of the family."""

_OWN = (
    "{noun} {brand} {size} {colour}",
    "{noun} {size} - {colour}",
    "{brand} {noun} {detail} - {colour}",
    "{noun} {detail}",
    "{noun} {detail} {size} {brand}",
    "{noun} {brand} {model}",
    "{lot} {nouns} {size} - {colour}",
    "{brand} - {noun} {detail} {size}",
    "{noun} {series} {colour}",
    "{noun} {brand} {series} {detail}",
    "{noun} {word} {colour}",
    "{noun} {word} {detail} - {size}",
    "{noun}",
    "{lot} {nouns} {word} {size}",
)
_FAMILY = (
    "{noun} {brand} {size} - {colour}",
    "{noun} {word} {colour}",
    "{brand} {noun} {word} {size}",
    "{noun} {brand} {model} {colour}",
    "{noun} {word}, {word2} - {size}",
    "{lot} {brand} {noun} {word}",
    "{noun} {series} {brand} - {word}",
    "{noun} {series} {colour} {size}",
)
_VAGUE = (
    "{brand} {word} {size} - {colour}",
    "{brand} {series} {model} {colour}",
    "{brand} {series} {size} - {colour}",
    "{lot} {brand} {word} {size}",
    "{brand} - {word} {word2} - {size}",
    "{brand} {model} - {word} {colour}",
    "{word} {size} {colour} {brand}",
)
_ENGLISH = (
    "{brand} {noun} {model} {colour}",
    "{noun} {size} {colour} {english_word}",
    "{n}pcs {noun} {size} - {colour}",
    "{noun} {english_word} {brand}",
    "{series} {english_word} {noun} {colour}",
)
_ENGLISH_WORDS = (
    *("New", "High Quality", "Vintage", "for Kids", "Portable", "Universal", "Home Decor", "Hot Sale", "Professional"),
    *(
        "Gift Set",
        "Lightweight",
        "Waterproof",
        "Premium",
        "Mini",
        "Replacement",
        "Limited Edition",
        "Outdoor",
        "Durable",
    ),
)
_ENDINGS = (
    "- Neuf",
    "NEUF",
    "- Livraison gratuite",
    "- Occasion",
    "(neuf)",
    "- Promo",
    "!",
    "- Très bon état",
    "- Qualité",
)
_HTML_BREAKS = ("<br />", "<br>", "<br/><br/>", "</p><p>", "&nbsp; ", "\n", " - ", "<li>")
_NUMBERS: dict[str, Sequence[int | str]] = {
    "{cm}": (10, 12, 15, 18, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 140, 160, 180, 200, 240, 305, 366),
    "{d}": (40, 45, 50, 55, 60, 70, 75, 80, 85, 90, 100, 110, 120, 130, 140, 150, 160, 180, 200, 220, 240),
    "{n}": (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 36, 48, 50, 52, 64, 72, 75, 80, 96, 100, 120, 128, 150, 200, 250),
    "{h}": (
        64,
        80,
        96,
        120,
        128,
        150,
        160,
        180,
        192,
        200,
        240,
        250,
        256,
        300,
        320,
        350,
        400,
        450,
        500,
        512,
        600,
        750,
        800,
    ),
    "{vol}": range(1, 13),
    "{year}": range(1945, 2000),
    "{l}": (1, 2, 5, 10, 20, 30, 60, 100),
    "{kg}": ("0,5", 1, "1,5", 2, 3, 4, 5, 10, 12, 15, 20),
    "{m}": ("0,5", 1, "1,5", 2, 3, 5, 10, 15, 20, 25),
    "{age}": (1, 2, 3, 4, 5, 6, 8, 10, 12),
    "{size}": ("XS", "S", "M", "L", "XL"),
}
"""What stands for a number in a size or a detail, and the numbers it may be."""


class Subject(NamedTuple):
    """What a title is about. Two near-duplicates share it and differ in their `Variant`."""

    department: Department
    family: str
    noun: str
    wording: str
    english: bool
    fresh: bool
    seed: int


class Variant(NamedTuple):
    """What tells two near-duplicates apart: the colour, how many, and the seed of sizes and endings."""

    colour: str
    number: int
    seed: int


def compose_title(subject: Subject, variant: Variant) -> str:
    """Return the title of `subject` in `variant`, as a seller would type it. Equal arguments give equal titles."""
    steady, varying = random.Random(subject.seed), random.Random(variant.seed)
    department, family = subject.department, FAMILIES[subject.family]
    own = subject.wording == "own"
    templates = (
        _ENGLISH if subject.english and own else {"own": _OWN, "family": _FAMILY, "vague": _VAGUE}[subject.wording]
    )
    brands = department.brands if own and steady.random() < NAMED_BRAND_SHARE else family.brands
    noun = steady.choice(family.nouns) if subject.wording == "family" else subject.noun
    brand, template = steady.choice(brands), steady.choice(templates)
    if subject.fresh:
        brand, noun = steady.choice(FRESH_BRANDS), steady.choice(department.fresh)
        template = "{noun} {brand} {word} {size} {colour}"
    word, word2 = steady.sample(family.words, 2)
    detail, english_word = steady.choice(department.details), steady.choice(_ENGLISH_WORDS)
    model = f"{steady.choice('ABCDGKLMRSTXZ')}{steady.choice(('', 'X', '-', 'S'))}{steady.randrange(10, 9000)}"
    sizes = department.sizes if own else family.sizes
    colour = ENGLISH_COLOURS.get(variant.colour, "Multicolor") if subject.english else variant.colour
    several = variant.number if variant.number > 1 else varying.choice((2, 3, 5, 6, 10))
    title = template.format(
        series=steady.choice(SERIES),
        noun=noun,
        nouns=_plural(noun),
        brand=brand,
        word=word,
        word2=word2,
        detail=_numbers(detail, steady),
        model=model,
        english_word=english_word,
        size=_numbers(varying.choice(sizes), varying),
        colour=colour,
        n=several,
        lot=f"Lot de {several}",
    )
    return _as_typed(title, steady, varying)


def compose_description(subject: Subject, seed: int) -> str:
    """Return a description of one to nine sentences; about half carry HTML tags or entities."""
    rng = random.Random(seed)
    department, family = subject.department, FAMILIES[subject.family]
    sentences = list(rng.sample(ENGLISH_SENTENCES if subject.english else GENERIC_SENTENCES, rng.randint(1, 4)))
    own_share = {"own": 0.6, "family": 0.2, "vague": 0.15}[subject.wording]
    noun = rng.choice(department.fresh) if subject.fresh else subject.noun
    if rng.random() < own_share:
        sentences.insert(0, f"{noun} : {', '.join(rng.sample(department.details, rng.randint(1, 3)))}")
    if rng.random() < 0.5:
        sentences.insert(0, f"{rng.choice(family.nouns)} {' '.join(rng.sample(family.words, 2))}")
    if rng.random() < own_share:
        sentences.append(f"Dimensions : {rng.choice(department.sizes)}")
    sentences = [_numbers(sentence, rng) for sentence in sentences]
    style = rng.random()
    if style < 0.5:
        return ". ".join(sentences) + "."
    text = rng.choice(_HTML_BREAKS).join(sentences)
    if style < 0.7:
        text = f"<p>{text}</p>"
    elif style < 0.8:
        text = f"<b>{sentences[0]}</b><br />{text}"
    return _entities(text) if rng.random() < 0.5 else text


def _plural(noun: str) -> str:
    """Return the French plural of the first word: 'Coussin velours' gives 'Coussins velours'."""
    first, _, rest = noun.partition(" ")
    if first.endswith(("eau", "eu")):
        first += "x"
    elif not first.endswith(("s", "x", "z")):
        first += "s"
    return f"{first} {rest}".strip()


def _numbers(text: str, rng: random.Random) -> str:
    """Fill the placeholders of `_NUMBERS` in `text`; each is drawn anew."""
    if "{" not in text:
        return text
    return re.sub(r"\{\w+\}", lambda key: str(rng.choice(_NUMBERS[key.group()])), text)


def _as_typed(title: str, steady: random.Random, varying: random.Random) -> str:
    """Return `title` with a seller's habits: shouting, lost accents, entities, an ending; cleaned of double blanks."""
    title = " ".join(title.split())
    title = title[:1].upper() + title[1:]
    if varying.random() < 0.15:
        title = f"{title} {varying.choice(_ENDINGS)}"
    habit = steady.random()
    if habit < 0.07:
        return title.upper()
    if habit < 0.13:
        return title.lower()
    if habit < 0.21:
        return unicodedata.normalize("NFD", title).encode("ascii", "ignore").decode()
    if habit < 0.28:
        return _entities(title)
    return title.title() if habit < 0.36 else title


def _entities(text: str) -> str:
    """Return `text` with its accented letters as HTML entities, as a careless export leaves them."""
    names = html.entities.codepoint2name
    return "".join(f"&{names[ord(c)]};" if ord(c) > 127 and ord(c) in names else c for c in text)
