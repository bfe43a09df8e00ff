"""What cards are laid out with: headings, banners, tiles, tables, links and photo grids.

Knows how a Metaflow card shows things and nothing of what it shows. A card's Markdown may hold HTML, which is what
makes tiles and grids that fold on a phone; so every text from outside goes through `escape`, and a table's cells are
left to Metaflow, which escapes them itself.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Literal, NamedTuple

from metaflow.cards import Markdown, MetaflowCardComponent, Table, VegaChart
from PIL import Image

from rayon.data.rejects import EXAMPLES, Refused

Tone = Literal["good", "caution", "bad", "plain"]

# The first rule is not for looks: Metaflow's charts measure their own width before they have one, and stay empty.
_STYLE = """
.mf-card .vega-embed{width:100%}
.mf-card main{max-width:64rem}
.mf-card .sectionItems{grid-gap:.7rem}
.mf-card .container:has(progress){padding:1rem}
.mf-card .tableContainer{margin:.5rem 0 1rem}
.mf-card :is(td,th){text-align:left;padding:.4rem .7rem;overflow-wrap:break-word}
.mf-card td img{max-width:6rem}
.mf-card td:nth-child(n+5):last-child{min-width:14rem}
.ry-head{margin:1.8rem 0 .3rem;border-top:1px solid #e5e7eb;padding-top:1.2rem}
.mf-card .ry-head h2{font-size:1.15rem;margin:0}
.ry-head p{color:#6b7280;margin:.2rem 0 0;max-width:46rem}
.ry-verdict{border-left:6px solid #2563eb;background:#eff6ff;border-radius:6px;padding:1rem 1.2rem;margin:0 0 1rem}
.ry-verdict.good{border-color:#059669;background:#ecfdf5}
.ry-verdict.caution{border-color:#d97706;background:#fffbeb}
.ry-verdict.bad{border-color:#dc2626;background:#fef2f2}
.mf-card .ry-verdict h1{font-size:1.3rem;line-height:1.35;margin:0 0 .3rem}
.ry-verdict p{margin:.2rem 0 0;color:#374151}
.ry-tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:.6rem 0}
.ry-tile{border:1px solid #e5e7eb;border-radius:8px;padding:.6rem .8rem}
.ry-tile b{display:block;font-size:1.45rem;line-height:1.3;color:#111827}
.ry-tile span{display:block;color:#374151;font-weight:500}
.ry-tile small{color:#6b7280}
.ry-photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));gap:.6rem}
.ry-photo{border:1px solid #e5e7eb;border-radius:8px;overflow:hidden;font-size:.8rem;line-height:1.3}
.ry-photo img,.ry-photo i{display:flex;align-items:center;justify-content:center;width:100%;height:7.5rem;
object-fit:contain;background:#f3f4f6;color:#9ca3af;font-style:normal}
.ry-photo div{padding:.4rem .5rem .5rem;overflow-wrap:anywhere}
.ry-photo b{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden;font-weight:500}
.ry-photo s{text-decoration:none;color:#b91c1c}.ry-photo u{text-decoration:none;color:#047857}
.ry-photo small{color:#6b7280}
.ry-check{border-left:4px solid #059669;padding:.15rem .8rem;margin:.6rem 0}
.ry-check.fails{border-color:#dc2626}
.ry-check p{margin:.1rem 0 0;color:#374151}.ry-check span{color:#047857}.ry-check.fails span{color:#b91c1c}
.ry-link a{font-weight:500}.ry-link small{color:#6b7280}
"""


class Tile(NamedTuple):
    """A number to be seen at once: what it is, the number as text, what to know about it."""

    title: str
    value: str
    about: str = ""


class Photo(NamedTuple):
    """A photo (encoded bytes, None for none), its title, and lines below it: (style, text).

    The styles are 'plain', 'wrong' (red) and 'right' (green).
    """

    image: bytes | None
    title: str = ""
    lines: Sequence[tuple[Literal["plain", "wrong", "right"], str]] = ()


_LINE_TAGS = {"plain": "small", "wrong": "s", "right": "u"}


def escape(text: object) -> str:
    """Return `text` as HTML on one line that shows just what it says, whatever it says.

    A line break goes as well: an empty line would end the HTML and begin Markdown.
    """
    return html.escape(" ".join(str(text).split()))


def style() -> Markdown:
    """Return the style sheet, which comes first in every card."""
    return _block("<style>", _STYLE, "</style>")


def verdict(sentence: str, more: Sequence[str] = (), tone: Tone = "plain") -> Markdown:
    """Return the banner that opens a card: one sentence, and what to add to it."""
    return Markdown(verdict_html(sentence, more, tone))


def verdict_html(sentence: str, more: Sequence[str] = (), tone: Tone = "plain") -> str:
    """Return the banner's text, to update it with."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in more)
    return f'<div class="ry-verdict {tone}"><h1>{escape(sentence)}</h1>{lines}</div>'


def heading(title: str, about: str = "") -> Markdown:
    """Return a section's heading and a sentence that says how to read what follows."""
    return _block(f'<div class="ry-head"><h2>{escape(title)}</h2><p>{escape(about)}</p></div>')


def tiles(numbers: Sequence[Tile]) -> Markdown:
    """Return numbers side by side, as many a row as there is room for."""
    parts = [
        f'<div class="ry-tile"><span>{escape(tile.title)}</span><b>{escape(tile.value)}</b>'
        f"<small>{escape(tile.about)}</small></div>"
        for tile in numbers
    ]
    return _block('<div class="ry-tiles">', *parts, "</div>")


def photo_grid(photos: Sequence[Photo], side: int = 120) -> Markdown:
    """Return photos with what is said of them, shrunk to `side` pixels (some 3 KB each)."""
    parts = []
    for photo in photos:
        picture = "<i>no photo</i>" if photo.image is None else f'<img src="{_thumbnail(photo.image, side)}" alt="">'
        title = f"<b>{escape(photo.title)}</b>" if photo.title else ""
        lines = "<br>".join(f"<{_LINE_TAGS[kind]}>{escape(text)}</{_LINE_TAGS[kind]}>" for kind, text in photo.lines)
        parts.append(f'<div class="ry-photo">{picture}<div>{title}{lines}</div></div>')
    return _block('<div class="ry-photos">', *parts, "</div>")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table of texts."""
    return Table([[str(cell) for cell in row] for row in rows], headers=list(headers))


def checks(lines: Sequence[tuple[str, bool, str]]) -> Markdown:
    """Return what was asked for, line by line: (name, whether it holds, what was found, in words)."""
    parts = [
        f'<div class="ry-check{"" if holds else " fails"}"><b>{escape(name)}</b> '
        f"<span>{'holds' if holds else 'FAILS'}</span><p>{escape(words)}</p></div>"
        for name, holds, words in lines
    ]
    return _block(*parts)


def chart(spec: dict[str, Any]) -> VegaChart:
    """Return the chart of a Vega-Lite specification."""
    return VegaChart(spec)


def link(address: str, text: str, about: str = "") -> Markdown:
    """Return a link that opens beside the card, and what to know of it."""
    where = f'<a href="{escape(address)}" target="_blank" rel="noopener">{escape(text)}</a>'
    return _block(f'<p class="ry-link">{where} <small>{escape(about)}</small></p>')


def section(title: str, about: str, *contents: MetaflowCardComponent) -> list[MetaflowCardComponent]:
    """Return a heading and what stands below it."""
    return [heading(title, about), *contents]


def refusals(refused: Refused, about: str) -> list[MetaflowCardComponent]:
    """Return what was refused, by reason, with examples."""
    counts, examples = refused
    if not counts:
        return section("Refused", "Nothing was refused.")
    rows = [[reason, scope, str(count)] for reason, scope, count in counts]
    shown = examples.sort_values(["scope", "reason"])[["reason", "source", "row", "product_id", "detail"]].astype(str)
    lines = [[shorten(cell, 200) for cell in line] for line in shown.to_numpy().tolist()]
    return [
        *section("Refused", about, table(["reason", "what", "count"], rows)),
        heading("Examples", f"Up to {EXAMPLES} of each reason; all of them are in the step's `rejects`."),
        table(["reason", "file", "row", "id", "what is wrong"], lines),
    ]


def percent(share: float) -> str:
    """Return a share in [0, 1] as '71%', near both ends as '7.1%'."""
    return f"{share:.1%}" if 0 < share < 0.0995 or 0.9 < share < 1 else f"{share:.0%}"


def shorten(text: str, length: int) -> str:
    """Return at most `length` characters of `text`, with '…' where some are missing."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _block(*parts: str) -> Markdown:
    return Markdown("".join(parts).replace("\n", ""))


def _thumbnail(photo: bytes, side: int) -> str:
    with Image.open(BytesIO(photo)) as image:
        small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
