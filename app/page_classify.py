"""The page that classifies one article and takes a person's word for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import ImageData
from pieces import answer, empty, notice, similar
from words import Translations, say

from rayon.feedback import StoreError, UnknownPredictionError
from rayon.gallery import Neighbour
from rayon.schema import Prediction, Product, Refusal
from rayon.serving.batching import BusyError
from rayon.serving.service import NoModelError, Service


class PhotoInput(gr.Image):
    """An image component that hands its file over unopened: whether it is a photo is judged where all photos are."""

    is_template = True

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Return the path of the uploaded file; a path of the server that is none is refused."""
        if payload is None or payload.path is None:
            return None
        path = Path(payload.path).resolve()
        if not path.is_relative_to(Path(self.GRADIO_CACHE).resolve()):
            raise gr.Error("A photo has to be uploaded.", print_exception=False)
        return str(path)


def add_classify(service: Service, words: Translations, language: Any, examples: list[list[Any]]) -> None:
    """Add the page to the tab that is open."""
    precision = service.config.score.precision
    with gr.Row(equal_height=False):
        with gr.Column(scale=5):
            title = words.add(gr.Textbox(lines=1, elem_id="title"), label="title", placeholder="title_hint")
            description = words.add(
                gr.Textbox(lines=3, elem_id="description"), label="description", placeholder="description_hint"
            )
            photo = words.add(
                PhotoInput(type="filepath", sources=["upload", "clipboard"], height=250, elem_id="photo"), label="photo"
            )
            hosts = service.config.app.url_hosts
            address = words.add(gr.Textbox(lines=1, visible=bool(hosts), elem_id="address"), label="address")
            with gr.Row():
                clear = words.add(gr.Button(variant="secondary"), value="clear")
                go = words.add(gr.Button(variant="primary", elem_id="go"), value="go")
            if examples:
                gr.Examples(examples, [title, photo], label="Exemples · Examples", examples_per_page=6)
        with gr.Column(scale=6):
            shown = gr.HTML(empty("en"), elem_id="answer")
            told = gr.State(None)
            with gr.Row(visible=False) as people:
                right = words.add(gr.Button(variant="secondary", elem_id="right"), value="right")
                wrong = words.add(gr.Button(variant="secondary", elem_id="wrong"), value="wrong")
            with gr.Group(visible=False) as correction:
                category = words.add(
                    gr.Dropdown([], allow_custom_value=True, elem_id="category"), label="choose", info="choose_about"
                )
                send = words.add(gr.Button(variant="primary", elem_id="send"), value="send")
            thanks = gr.HTML(elem_id="thanks")
            alike = gr.HTML(elem_id="similar")

    async def classify(spoken: str, name: str, text: str, path: str | None, where: str) -> list[Any]:
        hidden = gr.update(visible=False)
        megabytes = service.config.preprocess.max_image_megabytes
        try:
            image = await asyncio.to_thread(_read, path, megabytes)
            product = Product("", str(name or ""), str(text or ""), "", image)
            there = str(where or "") if hosts and image is None else ""
            told_one = (await service.predict([product], "app", [there]))[0]
        except NoModelError as error:
            words_now = f"{say(spoken, 'no_model')} {say(spoken, 'no_model_about')} ({error})"
            return [notice(words_now), None, hidden, hidden, "", "", gr.update()]
        except BusyError:
            return [notice(say(spoken, "busy")), None, hidden, hidden, "", "", gr.update()]
        except ValueError as error:
            return [notice(str(error), "bad"), None, hidden, hidden, "", "", gr.update()]
        except OSError:  # uploaded long ago, and deleted since
            return [notice(say(spoken, "photo_gone"), "bad"), None, hidden, hidden, "", "", gr.update()]
        neighbours = await asyncio.to_thread(service.neighbours, told_one)
        judged = isinstance(told_one.said, Prediction)
        choices = list(told_one.model.predictor.categories)
        return [
            answer(spoken, told_one.said, precision),
            _Kept(told_one.id, told_one.said, neighbours),
            gr.update(visible=judged),
            hidden,
            "",
            similar(spoken, neighbours),
            gr.update(choices=choices, value=None),
        ]

    def again(spoken: str, kept: _Kept | None) -> list[str]:
        if kept is None:
            return [empty(spoken), ""]
        return [answer(spoken, kept.said, precision), similar(spoken, kept.neighbours)]

    async def say_so(spoken: str, kept: _Kept | None, chosen: str | None, request: gr.Request) -> list[Any]:
        stay, hidden = gr.update(), gr.update(visible=False)
        if kept is None or not isinstance(kept.said, Prediction):
            return [stay, stay, stay]
        if not kept.id:
            return [notice(say(spoken, "not_kept"), "bad"), stay, stay]
        if not isinstance(chosen, str) or not chosen.strip():
            return [notice(say(spoken, "no_category")), stay, stay]
        try:
            # without a name a visit is a person
            who = request.username or f"app/{(request.session_hash or '')[:12]}"
            number = await service.add_feedback(kept.id, chosen, who)
        except BusyError:
            return [notice(say(spoken, "busy")), stay, stay]
        except (ValueError, StoreError, UnknownPredictionError) as error:
            return [notice(str(error), "bad"), stay, stay]
        return [notice(say(spoken, "thanks", number=number), "good"), hidden, hidden]

    async def agree(spoken: str, kept: _Kept | None, request: gr.Request) -> list[Any]:
        said = kept.said if kept is not None else None
        return await say_so(spoken, kept, said.category if isinstance(said, Prediction) else None, request)

    outputs = [shown, told, people, correction, thanks, alike, category]
    inputs = [language, title, description, photo, address]
    gr.on([go.click, title.submit], classify, inputs, outputs, api_visibility="private", concurrency_limit=32)
    right.click(agree, [language, told], [thanks, people, correction], api_visibility="private")
    wrong.click(lambda: gr.update(visible=True), None, correction, api_visibility="private")
    send.click(say_so, [language, told, category], [thanks, people, correction], api_visibility="private")
    clear.click(
        lambda spoken: [
            "",
            "",
            None,
            "",
            empty(spoken),
            None,
            gr.update(visible=False),
            gr.update(visible=False),
            "",
            "",
        ],
        language,
        [title, description, photo, address, shown, told, people, correction, thanks, alike],
        api_visibility="private",
    )
    language.change(again, [language, told], [shown, alike], api_visibility="private")


class _Kept(NamedTuple):
    """An answer, kept for the visit: the prediction's id, what was said, the products it resembles."""

    id: str
    said: Prediction | Refusal
    neighbours: list[Neighbour]


def _read(path: str | None, megabytes: float) -> bytes | None:
    if not path:
        return None
    most = int(megabytes * 1e6)
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"the photo has more than {megabytes:g} megabytes")
    return content
