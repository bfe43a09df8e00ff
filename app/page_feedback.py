"""The page of doubtful feedback: what waits, why, and an admin's decision."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pandas as pd

from rayon.feedback import StoreError
from rayon.registry import feedback_state
from rayon.serving.access import Access
from rayon.serving.service import Service

from pieces import notice
from words import Translations, say

_HEADERS = ["no.", "title", "predicted", "given", "who", "reason", "detail", "decided"]
_WIDTHS = ["7%", "22%", "13%", "13%", "10%", "11%", "17%", "7%"]
_SHOWN = 500


def add_feedback(service: Service, access: Access, words: Translations, language: Any, tab: Any) -> None:
    """Add the page to the tab that is open, `tab`, which reads the registry whenever it is chosen."""
    words.add(gr.Markdown(say("en", "waiting_about")), value="waiting_about")
    table = words.add(
        gr.Dataframe(headers=_HEADERS, column_widths=_WIDTHS, interactive=False, wrap=True, elem_id="waiting"),
        label="waiting",
    )
    told = gr.HTML(elem_id="settled")
    with gr.Group(visible=False) as desk:
        choice = words.add(gr.Dropdown([], multiselect=True, elem_id="settle-choice"), label="waiting_choice")
        with gr.Row():
            accept = words.add(gr.Button(variant="primary", elem_id="settle-accept"), value="settle_accept")
            refuse = words.add(gr.Button(variant="stop", elem_id="settle-refuse"), value="settle_refuse")
    refresh = words.add(gr.Button(), value="refresh")

    def look(spoken: str, request: gr.Request) -> list[Any]:
        try:
            waiting = feedback_state(service.config.name).in_store(service.store).waiting
            numbers = list(waiting)[:_SHOWN]
            entries, decided = service.store.feedback_of(numbers), service.store.settled(numbers)
        except StoreError as error:
            return [gr.update(visible=False), notice(str(error), "bad"), gr.update(visible=False), gr.update()]
        marks = {True: "✓", False: "✗", None: ""}
        rows = [
            (
                str(one.number),
                one.designation[:120],
                one.predicted,
                one.category,
                one.who,
                *waiting[one.number],
                marks[decided.get(one.number)],
            )
            for one in entries
        ]
        return [
            gr.update(value=pd.DataFrame(rows, columns=_HEADERS), visible=bool(rows)),
            "" if rows else notice(say(spoken, "waiting_none"), "good"),
            gr.update(visible=bool(rows) and access.admin(request.username)),
            gr.update(choices=[str(one.number) for one in entries], value=[]),
        ]

    def settle(spoken: str, chosen: Any, accepted: bool, request: gr.Request) -> str:
        if not access.admin(request.username):
            return notice(say(spoken, "not_admin"), "bad")
        try:
            waiting = feedback_state(service.config.name).in_store(service.store).waiting
            numbers = [int(one) for one in chosen or [] if str(one).isdigit() and int(one) in waiting]
            for number in numbers:
                service.store.settle(number, accepted, request.username or "app")
        except StoreError as error:
            return notice(str(error), "bad")
        return notice(say(spoken, "settled", count=len(numbers)), "good")

    def accepting(spoken: str, chosen: Any, request: gr.Request) -> str:
        return settle(spoken, chosen, True, request)

    def refusing(spoken: str, chosen: Any, request: gr.Request) -> str:
        return settle(spoken, chosen, False, request)

    seen = [table, told, desk, choice]
    gr.on([tab.select, refresh.click], look, language, seen, api_visibility="private")
    accept.click(accepting, [language, choice], told, api_visibility="private")
    refuse.click(refusing, [language, choice], told, api_visibility="private")
