"""Texts: cleaning a title or a description, and the one text that every text branch reads.

Knows strings alone: no frame, no file, no language. Training, scoring and the app clean through this module, so that
the same product reads the same everywhere.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5

_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<[!?][^<>]*>")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Zero-width and bidirectional marks change what is compared, not what is read. The joiners U+200C/D stay: scripts and
# emoji need them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_HIDDEN = (
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(r"<script\b", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(r"<style\b", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
)
_ESCAPE_LEVELS = 3
_MARKUP_ALLOWANCE = 16


def clean_text(text: str, max_chars: int) -> str:
    """Return the readable text: no markup, entities resolved, NFC, white space folded to single spaces.

    Tags (escaped ones too), comments, scripts and styles become a space; entities are resolved even where they were
    escaped twice; control characters, lone surrogates and zero-width marks go. The result has at most `max_chars`
    characters. Of a longer input, 16 times as many characters are looked at, which bounds the work.

    Example:
        >>> clean_text("<p>Piscine&nbsp;tubulaire &amp;amp; pompe</p>", 100)
        'Piscine tubulaire & pompe'
    """
    text = text[: _MARKUP_ALLOWANCE * max_chars]
    if "<" in text or "&" in text:
        text = _without_markup(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())[:max_chars].rstrip()


def clean_label(text: str) -> str:
    """Return an id or a category as written, '0012' and 'R&amp;D' alike, without control characters and outer space."""
    return text if text.isalnum() else " ".join(_CONTROL.sub(" ", text).split())


def product_text(designation: str, description: str) -> str:
    """Return the text that stands for a product: cleaned title, line break, cleaned description; '' where both are."""
    return f"{designation}\n{description}" if designation and description else designation or description


def title_group(designation: str) -> str:
    """Return the title stripped of case, accents and punctuation; words, digits and their order stay.

    Products with one such title are the same article to a split: they stay on one side.

    Example:
        >>> title_group("Théière « Été » n° 12")
        'theiere ete n 12'
    """
    if not designation.isascii():
        spread = unicodedata.normalize("NFKD", designation)
        designation = "".join(character for character in spread if not unicodedata.combining(character))
    return _NOT_ALPHANUMERIC.sub(" ", designation.casefold()).strip()


def _without_markup(text: str) -> str:
    for _ in range(_ESCAPE_LEVELS):
        text = _without_tags(text)
        resolved = _ENTITY.sub(_resolve, text) if "&" in text else text
        if resolved == text:
            return text
        text = resolved
    return _without_tags(text)


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    for opening, closing in _HIDDEN:
        text = _without_spans(text, opening, closing)
    return _TAG.sub(" ", text)


def _without_spans(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    # Walked rather than matched by one lazy pattern, which takes quadratic time on openings that never close.
    pieces: list[str] = []
    position = 0
    while start := opening.search(text, position):
        end = closing.search(text, start.end())
        if end is None:
            break
        pieces.append(text[position : start.start()])
        position = end.end()
    return " ".join([*pieces, text[position:]]) if pieces else text


def _resolve(entity: re.Match[str]) -> str:
    # With its semicolon only: the HTML rule without one would turn 'tops&notebooks' into 'tops¬ebooks'.
    name = entity.group()
    return html.unescape(name) if name[1] == "#" else html5.get(name[1:], name)
