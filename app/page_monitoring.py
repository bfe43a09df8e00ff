"""The page that tells how production goes: the monitor's verdict, traffic, accuracy by feedback, the predicted mix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr
from charts import HALF, WHOLE, accuracy_by_day, fitted, traffic_by_day
from pieces import notice
from words import Translations, number, say

from rayon.cards_charts import two_shares
from rayon.cards_monitor import drift_chart
from rayon.feedback import StoreError
from rayon.monitor_run import latest
from rayon.score_run import trained_mix
from rayon.serving.service import Service

_DAYS = 60


def add_monitoring(service: Service, words: Translations, language: Any, tab: Any) -> None:
    """Add the page to the tab that is open, `tab`, which reads the store whenever it is chosen."""
    verdict = gr.HTML(elem_id="verdict")
    drift = words.add(gr.Plot(visible=False), label="drift")
    counts = gr.Markdown(elem_id="counts")
    with gr.Row():
        traffic = words.add(gr.Plot(), label="traffic")
        accuracy = words.add(gr.Plot(), label="accuracy")
    mix = words.add(gr.Plot(), label="mix")
    refresh = words.add(gr.Button(), value="refresh")

    def look(spoken: str) -> list[Any]:
        said = latest(service.config.name)
        curve = gr.update(visible=False)
        if said is not None and said["points"]:
            curve = gr.update(value=fitted(drift_chart(said["points"]), WHOLE), visible=True)
        now, hidden = datetime.now(UTC), [gr.update(visible=False)] * 3
        try:
            days = service.store.days(now - timedelta(days=_DAYS))
            week = service.store.mix(now - timedelta(days=7))
            kept = service.store.counts()
        except StoreError as error:
            return [_verdict(spoken, said), curve, notice(str(error), "bad"), *hidden]
        if not days:
            return [_verdict(spoken, said), curve, say(spoken, "no_traffic"), *hidden]
        told = say(spoken, "counts", **{name: number(spoken, count) for name, count in kept.items()})
        commented = any(day.commented for day in days)
        shares = two_shares(_shares(service, week), (say(spoken, "now"), say(spoken, "then")))
        return [
            _verdict(spoken, said),
            curve,
            told,
            gr.update(value=fitted(traffic_by_day(days), HALF), visible=True),
            gr.update(value=fitted(accuracy_by_day(days), HALF) if commented else None, visible=commented),
            gr.update(value=fitted(shares, WHOLE) if week else None, visible=bool(week)),
        ]

    shown = [verdict, drift, counts, traffic, accuracy, mix]
    gr.on([tab.select, refresh.click], look, language, shown, api_visibility="private")


def _verdict(spoken: str, said: dict[str, Any] | None) -> str:
    """The monitor's last word, and why."""
    if said is None:
        return notice(say(spoken, "no_verdict"))
    tones = {"ok": "good", "retrain": "bad"}
    reasons = "; ".join(said["reasons"][:4])
    return notice(
        f"{said['verdict']} · {said['run']}{' · ' if reasons else ''}{reasons}", tones.get(said["verdict"], "")
    )


def _shares(service: Service, week: dict[str, int]) -> dict[str, tuple[float, float]]:
    """The share of each category this week and in what the model predicted when it was judged."""
    model = service.live.current
    then: dict[str, float] = {}
    if model is not None:
        bundle = model.predictor.bundle
        then = trained_mix({"reference": bundle.reference, "categories": bundle.categories})
    total = max(sum(week.values()), 1)
    names = [*week, *(name for name in then if name not in week)]
    return {name: (week.get(name, 0) / total, then.get(name, 0.0)) for name in names}
