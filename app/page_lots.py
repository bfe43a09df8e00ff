"""The page that classifies a file of articles."""

from __future__ import annotations

import asyncio
import html
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import gradio as gr
from words import Translations, number, say

from rayon.data.outputs import OutputError
from rayon.data.tables import CatalogError
from rayon.preparing import RayonError
from rayon.serving.lots import LotError, score_lot
from rayon.serving.service import Service


def add_lots(service: Service, words: Translations, language: Any, scratch: Path) -> None:
    """Add the page to the tab that is open; what it writes goes to the folder `scratch`."""
    columns = service.config.catalog.columns
    names = ", ".join(
        name for name in (columns.product_id, columns.designation, columns.description, columns.image) if name
    )
    most = service.config.app.lot_rows
    about = gr.Markdown(say("en", "lot_about", columns=html.escape(names), rows=number("en", most)))
    with gr.Row():
        table = words.add(
            gr.File(file_types=[".csv", ".tsv", ".gz", ".parquet"], elem_id="lot-table", height=150), label="lot_file"
        )
        photos = words.add(gr.File(file_types=[".zip"], elem_id="lot-photos", height=150), label="lot_photos")
    go = words.add(gr.Button(variant="primary", elem_id="lot-go"), value="lot_go")
    done = gr.Markdown(elem_id="lot-done")
    files = words.add(
        gr.File(file_count="multiple", visible=False, interactive=False, elem_id="lot-files"), label="downloads"
    )
    shown = words.add(
        gr.Dataframe(visible=False, interactive=False, wrap=True, elem_id="lot-shown"), label="predictions"
    )
    rejects = words.add(gr.Dataframe(visible=False, interactive=False, wrap=True), label="rejects")

    async def score(
        spoken: str, table_path: str | None, photos_path: str | None, progress: Any = gr.Progress()
    ) -> list[Any]:
        hidden = [gr.update(visible=False)] * 3
        model = service.live.current
        if model is None:
            return [f"{say(spoken, 'no_model')} {say(spoken, 'no_model_about')}", *hidden]
        if not table_path:
            return [say(spoken, "lot_missing"), *hidden]
        progress(0.0, desc=say(spoken, "lot_reading"))

        def tell(_: str, count: int, total: int) -> None:
            progress((count, total), desc=say(spoken, "lot_scoring"), unit="")

        folder = Path(mkdtemp(dir=scratch, prefix="lot-"))
        try:
            lot = await asyncio.to_thread(
                score_lot,
                Path(table_path),
                Path(photos_path) if photos_path else None,
                model.predictor,
                service.config,
                folder / "lot",
                tell,
            )
        except (LotError, CatalogError, RayonError, OutputError) as error:
            rmtree(folder, ignore_errors=True)
            words_now = html.escape(str(error).replace(f"{Path(table_path).parent}/", ""))
            return [f"⚠️ {words_now}", *hidden]
        counts = {name: number(spoken, getattr(lot, name)) for name in ("read", "scored", "accepted", "rejected")}
        return [
            say(spoken, "lot_done", **counts),
            gr.update(value=[str(file) for file in lot.files], visible=True),
            gr.update(value=lot.shown, visible=bool(len(lot.shown))),
            gr.update(value=lot.rejects, visible=bool(len(lot.rejects))),
        ]

    go.click(
        score,
        [language, table, photos],
        [done, files, shown, rejects],
        api_visibility="private",
        concurrency_limit=1,
        show_progress_on=[done],
    )
    language.change(
        lambda spoken: say(spoken, "lot_about", columns=html.escape(names), rows=number(spoken, most)),
        language,
        about,
        api_visibility="private",
    )
