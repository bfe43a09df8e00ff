"""Nothing that people or catalogues wrote becomes markup, or code of a template."""

from __future__ import annotations

import pytest
from pieces import answer, notice, similar
from words import _WORDS, preferred, say

from rayon.gallery import Neighbour
from rayon.schema import Prediction, Refusal

NASTY = "<img src=x onerror=alert(1)>\"'`${alert(2)}{{x}}"


@pytest.mark.parametrize("language", ["fr", "en"])
def test_texts_from_outside_are_escaped(language):
    said = Prediction("1", NASTY, 0.9, ((NASTY, 0.9), ("b", 0.1)), 0.4, 0.6, "review", NASTY, f"photo_damaged: {NASTY}")
    shown = [
        answer(language, said, 0.95),
        answer(language, Refusal(NASTY, "no_text", NASTY), 0.95),
        similar(language, [Neighbour(NASTY, NASTY, NASTY, None, 0.5)]),
        notice(NASTY),
    ]
    for html in shown:
        assert "<img src=x" not in html and "${" not in html and "{{" not in html and "&lt;img" in html


def test_code_in_a_notice_is_marked():
    assert "<code>make train</code>" in notice("run `make train` first")


def test_both_languages_say_everything():
    for key, (french, english) in _WORDS.items():
        assert french and english, key
        assert sorted(part.split("}")[0] for part in french.split("{")[1:]) == sorted(
            part.split("}")[0] for part in english.split("{")[1:]
        ), key
    assert say("fr", "settled", count=3).startswith("Décisions notées : 3.") and say("xx", "go") == say("en", "go")


@pytest.mark.parametrize(
    ("header", "language"), [("fr-FR,fr;q=0.9,en;q=0.8", "fr"), ("en-GB,fr;q=0.5", "en"), ("", "en"), ("de", "en")]
)
def test_the_language_is_the_browsers(header, language):
    assert preferred(header) == language
