"""Small pieces of HTML that the app shows. Every text from outside is escaped here."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from words import say

from rayon.gallery import Neighbour
from rayon.schema import Prediction, Refusal

CSS = """
.gradio-container{max-width:1180px!important;margin:0 auto!important}
#head{align-items:center;margin-bottom:.2rem}
.ry-brand h1{font-size:1.7rem;margin:0;letter-spacing:-.02em}
.ry-brand h1 span{color:#2563eb}
.ry-brand p{margin:.1rem 0 0;color:var(--body-text-color-subdued)}
.ry-empty{border:2px dashed var(--border-color-primary);border-radius:14px;padding:3.2rem 1.4rem;text-align:center;
color:var(--body-text-color-subdued)}
.ry-card{border:1px solid var(--border-color-primary);border-radius:14px;padding:1.2rem 1.3rem;
background:var(--background-fill-primary)}
.ry-top{display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}
.ry-top h2{font-size:1.5rem;margin:0;overflow-wrap:anywhere}
.ry-top b{font-size:1.5rem;color:#2563eb;font-variant-numeric:tabular-nums}
.ry-badge{border-radius:999px;padding:.15rem .7rem;font-size:.82rem;font-weight:600;white-space:nowrap}
.ry-badge.accept{background:#d1fae5;color:#065f46}.ry-badge.review{background:#fef3c7;color:#92400e}
.ry-note{margin:.35rem 0 .9rem;color:var(--body-text-color-subdued);font-size:.9rem}
.ry-bar{display:grid;grid-template-columns:minmax(6rem,11rem) 1fr 3.4rem;gap:.7rem;align-items:center;margin:.35rem 0;
font-size:.93rem}
.ry-bar span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.ry-bar i{display:block;height:.62rem;border-radius:99px;background:var(--border-color-primary);overflow:hidden}
.ry-bar i u{display:block;height:100%;border-radius:99px;background:#93b4f5}
.ry-first i u{background:#2563eb}
.ry-bar em{font-style:normal;text-align:right;font-variant-numeric:tabular-nums}
.ry-sides{display:flex;height:1.5rem;border-radius:8px;overflow:hidden;font-size:.78rem;font-weight:600;color:#fff;
margin:.3rem 0}
.ry-sides div{display:flex;align-items:center;justify-content:center;min-width:0;overflow:hidden;white-space:nowrap}
.ry-sides.ry-sides div{color:#fff}
.ry-sides .text{background:#2563eb}.ry-sides .image{background:#0d9488}
.ry-small{font-size:.8rem;color:var(--body-text-color-subdued);margin:.9rem 0 0}
.ry-h{font-weight:600;margin:1rem 0 .2rem;font-size:.93rem}
.ry-grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(7.6rem,1fr));gap:.6rem}
.ry-tile{border:1px solid var(--border-color-primary);border-radius:10px;overflow:hidden;font-size:.78rem;
line-height:1.3}
.ry-tile img,.ry-tile i{display:flex;width:100%;height:6.4rem;object-fit:contain;background:#fff;align-items:center;
justify-content:center;color:#9ca3af;font-style:normal;margin:0}
.ry-tile div{padding:.35rem .5rem .5rem;overflow-wrap:anywhere}
.ry-tile b{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden;font-weight:500}
.ry-tile small{color:#2563eb}
.ry-warn{border-left:5px solid #d97706;background:#fffbeb;color:#78350f;border-radius:8px;padding:.7rem .9rem;
margin:.5rem 0}
.ry-bad{border-left-color:#dc2626;background:#fef2f2;color:#7f1d1d}
.ry-warn code{background:rgba(0,0,0,.06);padding:.05rem .3rem;border-radius:4px}
#thanks,#similar,#promotion{min-height:0}
.ry-good{border-left-color:#059669;background:#ecfdf5;color:#064e3b}
"""


def head(language: str) -> str:
    """The name and what it does."""
    return f'<div class="ry-brand"><h1>rayon<span>.</span></h1><p>{_escape(say(language, "tagline"))}</p></div>'


def empty(language: str) -> str:
    """What is shown where there is no answer yet."""
    return f'<div class="ry-empty">{_escape(say(language, "nothing_yet"))}</div>'


def notice(words: str, tone: str = "") -> str:
    """A sentence that should be seen; `tone` is '' (caution), 'bad' or 'good'. Words between backticks are code."""
    pieces = _escape(words).split("`")
    marked = "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))
    return f'<div class="ry-warn {f"ry-{tone}" if tone else ""}">{marked}</div>'


def answer(language: str, said: Prediction | Refusal, precision: float) -> str:
    """What is said of a product."""
    if not isinstance(said, Prediction):
        return notice(f"{say(language, 'refused')}{_colon(language)}{said.detail}", "bad")
    percent = f"{precision:.0%}".replace("%", "\u202f%" if language == "fr" else "%")
    about = say(language, f"{said.decision}_about", precision=percent)
    parts = [
        '<div class="ry-card"><div class="ry-top">',
        f"<h2>{_escape(said.category)}</h2><b>{said.confidence:.0%}</b>",
        f'<span class="ry-badge {said.decision}">{_escape(say(language, said.decision))}</span></div>',
        f'<p class="ry-note">{_escape(about)}</p>',
        *(_bar(category, probability, place == 0) for place, (category, probability) in enumerate(said.top_k)),
        f'<div class="ry-h">{_escape(say(language, "evidence"))}</div>',
        _sides(language, said.text_contribution, said.image_contribution),
    ]
    if said.photo_problem:
        parts.append(
            notice(f"{say(language, 'photo_problem')}{_colon(language)}{said.photo_problem.partition(': ')[2]}")
        )
    parts.append(f'<p class="ry-small">{_escape(say(language, "signed"))} {_escape(said.model_version)}</p></div>')
    return "".join(parts)


def similar(language: str, neighbours: Sequence[Neighbour]) -> str:
    """The training products most like the one asked about."""
    if not neighbours:
        return ""
    tiles = "".join(
        f'<div class="ry-tile">{_thumbnail(language, one.photo)}<div><b>{_escape(one.title or "…")}</b>'
        f"<small>{_escape(one.category)} · {max(one.likeness, 0.0):.0%}</small></div></div>"
        for one in neighbours
    )
    return f'<div class="ry-h">{_escape(say(language, "similar"))}</div><div class="ry-grid">{tiles}</div>'


def _colon(language: str) -> str:
    return " : " if language == "fr" else ": "


def _bar(category: str, probability: float, first: bool) -> str:
    name = _escape(category)
    return (
        f'<div class="ry-bar{" ry-first" if first else ""}"><span title="{name}">{name}</span>'
        f'<i><u style="width:{max(probability, 0.004):.1%}"></u></i><em>{probability:.1%}</em></div>'
    )


def _sides(language: str, text: float, image: float) -> str:
    shares = "".join(
        f'<div class="{side}" style="width:{share:.1%}">{_escape(say(language, side))} {share:.0%}</div>'
        for side, share in (("text", text), ("image", image))
        if share >= 0.005
    )
    return f'<div class="ry-sides">{shares}</div>'


def _thumbnail(language: str, photo: bytes | None) -> str:
    if photo is None:
        return f"<i>{_escape(say(language, 'no_photo'))}</i>"
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(photo).decode()}">'


def _escape(words: object) -> str:
    # the template that shows this HTML would read ${...} as code
    return html.escape(str(words), quote=True).replace("$", "&#36;").replace("{", "&#123;").replace("}", "&#125;")
