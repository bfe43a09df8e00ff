"""The page of the models: all of them, one in detail, and for an admin the champion's chair."""

from __future__ import annotations

import asyncio
import html
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio as gr
import pandas as pd
from metaflow import Run, namespace
from metaflow.cards import get_cards
from metaflow.plugins.cards.exception import CardNotPresentException
from charts import HALF, WHOLE, fitted
from pieces import notice
from words import Translations, say

from rayon.calibration import ReliabilityBin
from rayon.cards_charts import coverage_curve, heat_map, reliability_diagram
from rayon.champions import RegistryError
from rayon.models_table import ModelRow, catalog
from rayon.preparing import RayonError
from rayon.promotion import promote_by_hand, roll_back
from rayon.serving.access import Access
from rayon.serving.service import Service

_HEADERS = ["", "model", "created", "trained", "macro-F1", "95%", "ECE", "gate"]
_WIDTHS = ["5%", "26%", "17%", "10%", "10%", "15%", "8%", "9%"]


def add_models(service: Service, access: Access, words: Translations, language: Any, tab: Any, scratch: Path) -> None:
    """Add the page to the tab that is open, `tab`, which reads the registry whenever it is chosen."""
    config = service.config
    table = words.add(
        gr.Dataframe(headers=_HEADERS, column_widths=_WIDTHS, interactive=False, wrap=True, elem_id="models"),
        label="model_table",
    )
    nothing = gr.HTML()
    with gr.Row():
        choice = words.add(gr.Dropdown([], interactive=True, elem_id="model-choice", scale=4), label="model_choice")
        refresh = words.add(gr.Button(scale=1), value="refresh")
    facts = gr.Markdown()
    with gr.Row():
        reliable = words.add(gr.Plot(), label="reliability")
        covered = words.add(gr.Plot(), label="coverage")
    confused = words.add(gr.Plot(), label="confusion")
    card = words.add(gr.DownloadButton(visible=False), label="card")
    with gr.Group(visible=False) as chair:
        about = words.add(gr.Markdown(), value="admin_about")
        reason = words.add(gr.Textbox(max_lines=1, elem_id="reason"), label="reason")
        force = words.add(gr.Checkbox(), label="force")
        with gr.Row():
            promote = words.add(gr.Button(variant="primary", elem_id="promote"), value="promote")
            back = words.add(gr.Button(variant="stop", elem_id="rollback"), value="rollback")
    told = gr.HTML(elem_id="promotion")
    seated = gr.State("")  # the champion that the page shows: two who take it back at once go one back, not two
    del about

    def look(spoken: str, chosen: str | None, request: gr.Request) -> list[Any]:
        rows = catalog(config.name)
        there = [row.run for row in rows if not row.problem]
        champion = next((row.run for row in rows if row.champion == "now"), "")
        wanted = chosen if chosen in there else champion or next(iter(there), None)
        return [
            gr.update(value=_frame(rows), visible=bool(rows)),
            "" if rows else notice(say(spoken, "no_models")),
            gr.update(choices=there, value=wanted if wanted in there else None),
            gr.update(visible=access.admin(request.username) and bool(there)),
            champion,
        ]

    def detail(spoken: str, run: str | None, request: gr.Request) -> list[Any]:
        if not run:
            return [None, None, None, "", gr.update(visible=False)]
        namespace(None)
        task: Any = Run(run)["evaluate"].task
        report, wandb = task["report"].data, task["wandb"].data
        bins = [ReliabilityBin(**entry) for entry in report["reliability"]]
        file = _card_file(task, scratch)
        where = say(spoken, "offline")
        if wandb.startswith("https://"):
            where = f"[{wandb}]({wandb})"
        elif access.admin(request.username):  # it holds paths of the server
            where = f"`{wandb}`"
        return [
            fitted(reliability_diagram(bins), HALF),
            fitted(coverage_curve(report["risk_coverage"], report["coverage"]), HALF),
            fitted(heat_map(report["confusion"], report["categories"]), WHOLE),
            f"**{html.escape(run)}** · W&B: {where}",
            gr.update(value=str(file) if file else None, visible=file is not None),
        ]

    async def seat(spoken: str, run: str | None, why: str, forced: bool, request: gr.Request) -> str:
        if not access.admin(request.username):
            return notice(say(spoken, "not_admin"), "bad")
        if not str(why or "").strip():
            return notice(say(spoken, "reason_missing"))
        try:
            who = request.username or "app"
            done = await asyncio.to_thread(promote_by_hand, str(run), config, bool(forced), str(why), who)
        except (RegistryError, RayonError) as error:
            return notice(str(error), "bad")
        await asyncio.to_thread(service.live.refresh)
        if done.event is None:
            return notice(say(spoken, "held", reason=done.verdict.reason), "bad")
        before = done.event.before or say(spoken, "none")
        return notice(say(spoken, "promoted", run=done.event.to, before=before), "good")

    async def unseat(spoken: str, why: str, shown: str, request: gr.Request) -> str:
        if not access.admin(request.username):
            return notice(say(spoken, "not_admin"), "bad")
        if not str(why or "").strip():
            return notice(say(spoken, "reason_missing"))
        try:
            event, _ = await asyncio.to_thread(roll_back, config, str(why), request.username or "app", shown)
        except (RegistryError, RayonError) as error:
            return notice(str(error), "bad")
        await asyncio.to_thread(service.live.refresh)
        return notice(say(spoken, "promoted", run=event.to, before=event.before), "good")

    seen = [table, nothing, choice, chair, seated]
    gr.on([tab.select, refresh.click], look, [language, choice], seen, api_visibility="private")
    choice.change(detail, [language, choice], [reliable, covered, confused, facts, card], api_visibility="private")
    promote.click(seat, [language, choice, reason, force], told, api_visibility="private", concurrency_limit=1).then(
        look, [language, choice], seen, api_visibility="private"
    )
    back.click(unseat, [language, reason, seated], told, api_visibility="private", concurrency_limit=1).then(
        look, [language, choice], seen, api_visibility="private"
    )


def _frame(rows: list[ModelRow]) -> pd.DataFrame:
    marks = {"now": "★", "before": "☆", "": ""}
    return pd.DataFrame(
        [
            (
                marks[row.champion],
                row.run,
                row.created[:16].replace("T", " "),
                row.candidate,
                "" if row.macro_f1 is None else f"{row.macro_f1:.3f}",
                "" if row.low is None else f"{row.low:.3f} – {row.high:.3f}",
                "" if row.ece is None else f"{row.ece:.3f}",
                row.problem or row.gate,
            )
            for row in rows
        ],
        columns=_HEADERS,
    )


def _card_file(task: Any, scratch: Path) -> Path | None:
    """Write the model's card to a file to download; None where it is gone."""
    try:
        cards = get_cards(task, id="model")
    except CardNotPresentException:
        return None
    if not len(cards):
        return None
    file = Path(mkdtemp(dir=scratch, prefix="card-")) / f"{task.pathspec.replace('/', '-')}.html"
    file.write_text(cards[0].get(), encoding="utf-8")
    return file
