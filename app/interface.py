"""The pages put together: language, tabs, and a typed function for `gradio_client`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from examples import demo_examples
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from page_classify import add_classify
from page_feedback import add_feedback
from page_lots import add_lots
from page_models import add_models
from page_monitoring import add_monitoring
from pieces import head
from words import LANGUAGES, Translations, preferred

from rayon.schema import Product
from rayon.serving.access import Access
from rayon.serving.service import Service
from rayon.serving.wire import told_out

# Fonts of the reader's own machine: the default theme would fetch some from another server.
THEME = gr.themes.Soft(
    primary_hue="blue",
    neutral_hue="slate",
    font=["Inter", "system-ui", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
)


class Pages(gr.Blocks):
    """Pages that take files as uploads alone.

    Gradio fetches whatever address a caller names as a file, for fields of any kind, before the field is asked, without
    a bound and from any host. And it checks the path of a file only where it comes as browsers send it, with `meta`.
    """

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *more: Any, **named: Any) -> Any:
        """As Gradio does it, once neither an address nor an unchecked path is among the inputs."""
        traverse(inputs, _refuse_strange, _names_file)
        return await super().preprocess_data(block_fn, inputs, *more, **named)


def _names_file(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value


def _refuse_strange(file: dict[str, Any]) -> dict[str, Any]:
    if isinstance(file["path"], str) and is_http_url_like(file["path"]):
        raise gr.Error("A file has to be uploaded: it is not fetched from an address.", print_exception=False)
    if not is_file_obj_with_meta(file):
        raise gr.Error("A file has to be uploaded.", print_exception=False)
    return file


def make_interface(service: Service, access: Access, scratch: Path) -> gr.Blocks:
    """Return the pages; `scratch` is the folder of what they write."""
    words = Translations()
    with Pages(title="rayon", analytics_enabled=False) as pages:
        with gr.Row(elem_id="head"):
            brand = gr.HTML(head("en"))
            language = gr.Radio(
                [*LANGUAGES], value="en", show_label=False, container=False, scale=0, min_width=220, elem_id="language"
            )
        with gr.Tabs():
            with words.add(gr.Tab("Classify", id="classify"), label="classify"):
                add_classify(service, words, language, demo_examples(service.config))
            with words.add(gr.Tab("Batch", id="lots"), label="lots"):
                add_lots(service, words, language, scratch)
            with words.add(gr.Tab("Models", id="models"), label="models") as models:
                add_models(service, access, words, language, models, scratch)
            with words.add(gr.Tab("Feedback", id="feedback"), label="waiting_tab") as feedback:
                add_feedback(service, access, words, language, feedback)
            with words.add(gr.Tab("Monitoring", id="monitoring"), label="monitoring") as monitoring:
                add_monitoring(service, words, language, monitoring)

        def translate(spoken: str) -> list[Any]:
            return [head(spoken), *words.updates(spoken)]

        def first(request: gr.Request) -> list[Any]:
            spoken = preferred(request.headers.get("accept-language", ""))
            return [spoken, *translate(spoken)]

        said = [brand, *words.components]
        language.change(translate, language, said, api_visibility="private", show_progress="hidden")
        pages.load(first, None, [language, *said], api_visibility="private", show_progress="hidden")
        gr.api(_api(service), api_name="predict", queue=False)
    return pages


def _api(service: Service) -> Any:
    async def predict(designation: str, description: str = "") -> dict[str, Any]:
        """Classify an article by its text; programs with photos or many articles call /api/v1/predict."""
        told = (await service.predict([Product("", str(designation), str(description))], "app"))[0]
        return {"model_version": told.model.version, **told_out(told).model_dump()}

    return predict
