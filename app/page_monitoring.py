"""The page that tells how production goes: the monitor's verdict, traffic, accuracy by feedback, the predicted mix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr
from charts import HALF, WHOLE, accuracy_by_day, fitted, traffic_by_day
from pieces import notice
from words import Translations, say

from rayon.cards_charts import two_shares
from rayon.feedback import StoreError
from rayon.serving.service import Service

_DAYS = 60


def add_monitoring(service: Service, words: Translations, language: Any, tab: Any) -> None:
    """Add the page to the tab that is open, `tab`, which reads the store whenever it is chosen."""
    verdict = gr.HTML(elem_id="verdict")
    counts = gr.Markdown(elem_id="counts")
    with gr.Row():
        traffic = words.add(gr.Plot(), label="traffic")
        accuracy = words.add(gr.Plot(), label="accuracy")
    mix = words.add(gr.Plot(), label="mix")
    refresh = words.add(gr.Button(), value="refresh")

    def look(spoken: str) -> list[Any]:
        now, hidden = datetime.now(UTC), [gr.update(visible=False)] * 3
        try:
            days = service.store.days(now - timedelta(days=_DAYS))
            week = service.store.mix(now - timedelta(days=7))
            kept = service.store.counts()
        except StoreError as error:
            return [notice(str(error), "bad"), "", *hidden]
        told = say(spoken, "counts", **{name: f"{count:,}" for name, count in kept.items()})
        if not days:
            return [notice(say(spoken, "no_verdict")), say(spoken, "no_traffic"), *hidden]
        commented = any(day.commented for day in days)
        shares = two_shares(_shares(service, week), (say(spoken, "now"), say(spoken, "then")))
        return [
            notice(say(spoken, "no_verdict")),
            told,
            gr.update(value=fitted(traffic_by_day(days), HALF), visible=True),
            gr.update(value=fitted(accuracy_by_day(days), HALF) if commented else None, visible=commented),
            gr.update(value=fitted(shares, WHOLE) if week else None, visible=bool(week)),
        ]

    shown = [verdict, counts, traffic, accuracy, mix]
    gr.on([tab.select, refresh.click], look, language, shown, api_visibility="private")


def _shares(service: Service, week: dict[str, int]) -> dict[str, tuple[float, float]]:
    """The share of each category this week and in what the model predicted when it was judged."""
    model = service.live.current
    then: dict[str, float] = {}
    if model is not None:
        bundle = model.predictor.bundle
        trained = bundle.reference.get("predicted_mix", [])
        then = {name: count / max(sum(trained), 1) for name, count in zip(bundle.categories, trained, strict=False)}
    total = max(sum(week.values()), 1)
    names = [*week, *(name for name in then if name not in week)]
    return {name: (week.get(name, 0) / total, then.get(name, 0.0)) for name in names}
