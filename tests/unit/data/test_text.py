from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayon.data.text import clean_label, clean_text, product_text, title_group


@pytest.mark.parametrize(
    ("raw", "readable"),
    [
        ("<p>Robe<br/>d'été</p>", "Robe d'été"),
        ("Caf&eacute; &#233; &#xe9;", "Café é é"),
        ("Caf&amp;eacute; &amp;amp;lt;b&amp;amp;gt;bar", "Café bar"),
        ("&lt;li&gt;coton&lt;/li&gt;", "coton"),
        ("a<!-- hidden > -->b<script>var x = '<p>';</script>c<STYLE>p{}</STYLE>d", "a b c d"),
        ("tops&notebooks, R&D, AT&T, &unknown;", "tops&notebooks, R&D, AT&T, &unknown;"),
        ("5 < 6 and 7 > 2, I <3 you", "5 < 6 and 7 > 2, I <3 you"),
        ("nul\x00 bell\x07 tab\t line\r\n end", "nul bell tab line end"),
        ("e\u0301 \ufb01n", "\u00e9 \ufb01n"),
        ("zero\u200bwidth\u00ad\ufeff \u202eflip", "zerowidth flip"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("  spaced\u00a0\u3000out  ", "spaced out"),
        ("&#0;&#xD800;&nbsp;", "\ufffd\ufffd"),
        ("", ""),
    ],
)
def test_what_is_left_is_what_a_person_reads(raw, readable):
    assert clean_text(raw, 1000) == readable


def test_a_title_of_100_000_characters_is_cut():
    assert clean_text("mot " * 25_000, 500) == ("mot " * 125).strip()


@pytest.mark.parametrize(
    ("piece", "left"), [("<script>", ""), ("<!--", "<!--"), ("<a ", "<a "), ("&amp;amp;", "&"), ("<", "<"), ("&", "&")]
)
def test_hostile_markup_ends(piece, left):
    # Lazy patterns would take minutes over these openings that never close.
    assert clean_text(piece * 100_000, 50_000) == (left * 50_000)[:50_000].rstrip()


@settings(deadline=None)
@given(st.text(max_size=200))
def test_cleaned_text_is_storable_folded_and_bounded(raw):
    cleaned = clean_text(raw, 50)
    assert len(cleaned) <= 50
    assert cleaned == " ".join(cleaned.split())
    assert "\x00" not in cleaned
    cleaned.encode("utf-8")


def test_labels_keep_their_writing():
    assert [clean_label(label) for label in ("0012", "2403.0", " R&amp;D \t<b>", "a\x00b")] == [
        "0012",
        "2403.0",
        "R&amp;D <b>",
        "a b",
    ]


def test_product_text_joins_what_is_there():
    assert product_text("Robe", "En coton") == "Robe\nEn coton"
    assert (product_text("Robe", ""), product_text("", "En coton"), product_text("", "")) == ("Robe", "En coton", "")


def test_title_group_ignores_case_accents_and_punctuation():
    assert title_group("Été_2024: Robe (bleue)") == title_group("ete 2024 - ROBE bleue") == "ete 2024 robe bleue"


def test_title_group_keeps_order_and_digits():
    assert title_group("lot de 2") != title_group("lot de 3")
    assert title_group("noir blanc") != title_group("blanc noir")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_title_group_is_stable_under_repetition(title):
    assert title_group(title_group(title)) == title_group(title)
