"""Cards are judged by what they render to; the live one by a flow that really trains."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rayon.calibration import log_softmax
from rayon.cards import dataset_card, model_card
from rayon.cards_charts import bars, coverage_curve, curves, heat_map
from rayon.data.rejects import Refused, summarise
from rayon.data.shards import Manifest, ShardRef
from rayon.evaluation import Interval
from rayon.report import Report, make_report
from rayon.schema import REJECT_COLUMNS

EVIL = '<script>alert(1)</script> | **Kart** <img src=x onerror="alert(2)">\n\n# Big'


def photo(side: int = 640) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def rendered(components: list[Any]) -> list[dict[str, Any]]:
    """What the browser gets; Metaflow renders a component that fails as a log."""
    parts = [component.render() for component in components]
    assert not [part for part in parts if part["type"] == "log"]
    return parts


def markdown(parts: list[dict[str, Any]]) -> list[str]:
    return [part["source"].strip() for part in parts if part["type"] == "markdown"]


def words(parts: list[dict[str, Any]]) -> str:
    return re.sub(r"<[^>]*>", " ", " ".join(markdown(parts)))


def tables(parts: list[dict[str, Any]]) -> list[list[list[str]]]:
    return [part["data"] for part in parts if part["type"] == "table"]


@pytest.fixture
def make_dataset_card() -> Callable[..., list[dict[str, Any]]]:
    def make(rejected: int = 3, **changes: Any) -> list[dict[str, Any]]:
        counts = {
            "read": 200 + rejected,
            "kept": 200,
            "new": 50,
            "removed": 2,
            "rejected": rejected,
            "photos_refused": 1,
            "without_photo": 20,
            "without_description": 70,
            "title_duplicates": 9,
        }
        shards = (ShardRef("a" * 64, 150, 3_000_000), ShardRef("b" * 64, 50, 1_500_000))
        rejects = [("shop.csv", n + 7, f"id{n}", "product", "empty_text", EVIL, "{}") for n in range(rejected)]
        rejects += [("shop.csv", 4, "id4", "photo", "photo_missing", "a.jpg: there is no such file", "{}")]
        given = {
            "manifest": Manifest("demo", "f00d" * 16, "k", ("Jeux", "Livres"), shards, counts, "2030-01-01T00:00:00"),
            "refused": summarise(pd.DataFrame(rejects, columns=list(REJECT_COLUMNS))),
            "mix": [("Livres", 150), ("Jeux", 50)],
            "split_counts": {"train": 140, "validation": 20, "test": 40, "unseen": 0},
            "new_rows": 50,
            "photos": [(EVIL, photo())],
            "new_shards": 1,
        }
        return rendered(dataset_card(**{**given, **changes}))

    return make


@pytest.fixture
def make_model_card() -> Callable[..., list[dict[str, Any]]]:
    def make(
        report: Report, baseline: Interval | None = None, mistakes: int = 2, suspects: int = 2
    ) -> list[dict[str, Any]]:
        row = {"weighted_f1": 0.8, "accuracy": 0.8, "ece": 0.1, "validation_macro_f1": 0.7, "note": EVIL}
        nothing = dict.fromkeys(("macro_f1", "weighted_f1", "accuracy", "ece"))
        candidates = [
            {**row, "name": "tfidf", "macro_f1": baseline},
            {**row, "name": "image", **nothing},
            {**row, "name": "fusion", "macro_f1": report.metrics["macro_f1"]},
        ]
        product = {"product_id": "p1", "title": EVIL, "category": EVIL}
        wrong = [
            {**product, "predicted": EVIL, "confidence": 0.97, "image": photo() if n % 2 else None}
            for n in range(mistakes)
        ]
        doubtful = [{**product, "suggested": EVIL, "margin": 0.9 - n / 1000} for n in range(suspects)]
        facts = {"dataset": "demo", "W&B": EVIL}
        return rendered(model_card(report, candidates, "fusion", wrong, doubtful, facts))  # type: ignore[arg-type]

    return make


def measure(classes: int = 5, products: int = 400, evidence: float = 4.0) -> Report:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, products)
    logits = rng.normal(size=(products, classes))
    logits[np.arange(products), labels] += evidence
    names = (EVIL, *(f"category {n}" for n in range(1, classes)))
    shares = np.full(products, 0.7)
    return make_report(labels, log_softmax(logits), names, (0.95, 0.99), shares, 100, without_photo=0.6)


def test_dataset_card_says_how_much_can_be_learnt_from(make_dataset_card: Callable[..., list[dict[str, Any]]]) -> None:
    text = words(make_dataset_card())
    assert "200 of 203 products can be learnt from, in 2 categories; 3 were refused." in text
    assert "Livres, holds 75%" in text
    assert "50 new or changed, 2 gone" in text
    assert "1 new, 4.5 MB" in text
    assert "unseen" not in text, "a split without products is not shown"


def test_dataset_card_gives_examples_of_every_reason(make_dataset_card: Callable[..., list[dict[str, Any]]]) -> None:
    reasons, examples, facts = tables(make_dataset_card(rejected=9))
    assert reasons == [["empty_text", "product", "9"], ["photo_missing", "photo", "1"]]
    assert ["photo_missing", "shop.csv", "4", "id4", "a.jpg: there is no such file"] in examples
    assert [line[0] for line in examples].count("empty_text") == 3
    assert ["fingerprint", "f00d" * 16] in facts


def test_dataset_card_of_a_catalogue_without_rejects_or_photos(
    make_dataset_card: Callable[..., list[dict[str, Any]]],
) -> None:
    parts = make_dataset_card(rejected=0, refused=Refused([], pd.DataFrame(columns=list(REJECT_COLUMNS))), photos=[])
    assert "none was refused" in words(parts)
    assert "Nothing was refused" in words(parts)
    assert "A look at the photos" not in words(parts)


def test_photos_are_shrunk(make_dataset_card: Callable[..., list[dict[str, Any]]]) -> None:
    (encoded,) = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", " ".join(markdown(make_dataset_card())))
    content = base64.b64decode(encoded)
    assert max(Image.open(io.BytesIO(content)).size) == 120
    assert len(content) < 8_000


def test_no_text_from_outside_becomes_html_or_markdown(
    make_dataset_card: Callable[..., list[dict[str, Any]]], make_model_card: Callable[..., list[dict[str, Any]]]
) -> None:
    for parts in (make_dataset_card(), make_model_card(measure())):
        for block in markdown(parts):
            assert block.startswith("<")
            assert "\n" not in block, "an empty line would end the HTML and begin Markdown"
            assert "<script" not in block
            assert "src=x" not in re.sub(r"&lt;.*?&gt;", "", block)
        assert "&lt;script&gt;" in " ".join(markdown(parts))


def test_model_card_opens_with_a_verdict(make_model_card: Callable[..., list[dict[str, Any]]]) -> None:
    report = measure()
    score = report.metrics["macro_f1"].value
    parts = make_model_card(report, Interval(0.5, 0.45, 0.55))
    opening = markdown(parts)[1]
    assert '"ry-verdict good"' in opening
    assert f"macro-F1 {score:.3f}, {score - 0.5:.3f} above the tfidf baseline" in opening
    assert "of products at 95% precision" in opening
    assert "400 products that no candidate learnt from" in opening


@pytest.mark.parametrize(
    ("baseline", "said"),
    [(Interval(1.0, 0.99, 1.0), "no better than the tfidf baseline"), (Interval(0.5, 0.3, 0.999), "margin of error")],
)
def test_model_card_is_cautious_about_a_gain_that_is_none(
    make_model_card: Callable[..., list[dict[str, Any]]], baseline: Interval, said: str
) -> None:
    opening = markdown(make_model_card(measure(), baseline))[1]
    assert '"ry-verdict caution"' in opening
    assert said in opening


def test_model_card_warns_of_a_constant_model(make_model_card: Callable[..., list[dict[str, Any]]]) -> None:
    labels = np.arange(100) % 5
    same = log_softmax(np.tile([3.0, 0, 0, 0, 0], (100, 1)))
    report = make_report(labels, same, tuple("abcde"), (0.95,), np.ones(100), 100)
    opening = markdown(make_model_card(report))[1]
    assert '"ry-verdict bad"' in opening
    assert "do not use it" in opening


def test_model_card_of_200_categories_stays_small(make_model_card: Callable[..., list[dict[str, Any]]]) -> None:
    parts = make_model_card(measure(200, 20_000), mistakes=48, suspects=100)
    assert len(json.dumps(parts, allow_nan=False)) < 1_000_000
    assert "The 40 worst of 200" in words(parts)
    assert "The 40 likeliest of 100" in words(parts)
    for part in parts:
        if part["type"] == "vegaChart":
            assert part["spec"]["height"] <= 40 * 20


def test_model_card_shows_what_taking_a_side_away_costs(make_model_card: Callable[..., list[dict[str, Any]]]) -> None:
    parts = make_model_card(measure())
    assert "70% of the evidence" in words(parts)
    named = [
        value["name"]
        for part in parts
        if part["type"] == "vegaChart"
        for value in part["spec"]["data"]["values"]
        if "name" in value
    ]
    assert "photo taken away" in named
    assert "text taken away" not in named, "it was not measured"


def test_heat_map_keeps_every_count_and_puts_the_confused_together() -> None:
    matrix = [[8, 0, 0, 7], [0, 9, 1, 0], [0, 0, 9, 0], [6, 0, 0, 9]]
    spec = heat_map(matrix, ["a", "b", "c", "d"])
    values = spec["data"]["values"]
    assert sum(value["count"] for value in values) == np.sum(matrix)
    assert next(v for v in values if (v["truth"], v["predicted"]) == ("a", "d"))["share"] == pytest.approx(
        7 / 15, abs=1e-4
    )
    order = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert abs(order.index("a") - order.index("d")) == 1


def test_heat_map_beyond_its_limit_draws_those_with_most_mistakes() -> None:
    matrix = np.diag([50] * 30)
    matrix[3, 20] = matrix[20, 3] = 5
    spec = heat_map(matrix.tolist(), [f"c{n}" for n in range(30)], limit=2)
    assert {value["truth"] for value in spec["data"]["values"]} == {"c3", "c20"}


def test_coverage_curve_marks_only_targets_that_can_be_met() -> None:
    spec = coverage_curve({"coverage": [0.1, 1.0], "precision": [0.96, 0.7]}, {"0.95": 0.1, "0.99": 0.0})
    assert [mark["label"] for mark in spec["layer"][1]["data"]["values"]] == ["10% at 95%"]


def test_curves_leave_out_what_is_not_finite() -> None:
    history = [{"epoch": 0.0, "val_nll": 1.5}, {"epoch": 1.0, "val_nll": float("nan")}, {"epoch": 2.0}]
    spec = curves(history, {"val_nll": "log-loss"}, "nats")
    assert spec["data"]["values"] == [{"epoch": 1.0, "curve": "log-loss", "value": 1.5}]
    json.dumps(spec, allow_nan=False)


def test_bars_stand_in_the_order_given() -> None:
    spec = bars({"z": 1.0, "a": 2.0}, "products")
    assert [value["name"] for value in spec["data"]["values"]] == ["z", "a"]
    assert spec["layer"][0]["encoding"]["y"]["sort"] is None


FLOW = """
from metaflow import FlowSpec, card, step

class LiveFlow(FlowSpec):
    @card(type="blank", id="first", refresh_interval=60)
    @card(type="blank", id="second", refresh_interval=60)
    @step
    def start(self):
        import pytorch_lightning as pl
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        from pytorch_lightning.callbacks import ModelCheckpoint
        from rayon.cards_training import CardCallback

        class Tiny(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(2, 2)

            def training_step(self, batch, index):
                loss = self.layer(batch[0]).square().mean()
                self.log("train_loss", loss, on_step=False, on_epoch=True)
                return loss

            def validation_step(self, batch, index):
                self.log("val_nll", self.layer(batch[0]).square().mean())
                self.log("val_macro_f1", torch.tensor(0.5))

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), 0.1)

        def fit(epochs, card_id, path=None):
            keeper = ModelCheckpoint("kept", save_last=True, monitor="val_nll")
            loader = DataLoader(TensorDataset(torch.ones(4, 2)))
            trainer = pl.Trainer(
                max_epochs=epochs, accelerator="cpu", logger=False, num_sanity_val_steps=0, enable_progress_bar=False,
                enable_model_summary=False, callbacks=[CardCallback("fusion", {"branches": "ngram"}, card_id), keeper],
            )
            trainer.fit(Tiny(), loader, loader, ckpt_path=path, weights_only=True if path else None)

        fit(2, "first")
        fit(3, "second", "kept/last.ckpt")
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    LiveFlow()
"""


def test_live_card_follows_a_training_and_its_continuation(tmp_path: Path) -> None:
    (tmp_path / "live_flow.py").write_text(FLOW)
    home = {
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path),
        "METAFLOW_USER": "tester",
        "METAFLOW_HOME": str(tmp_path),
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, **home, "PATH": path, "OMP_NUM_THREADS": "1"}

    command = [sys.executable, "live_flow.py", "--no-pylint", "run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for card_id, sentence, resumed in (("first", "2 epochs", "no"), ("second", "3 epochs", "from epoch 3")):
        (page,) = tmp_path.glob(f".metaflow/mf.cards/**/*{card_id}*.html")
        parts = card_content(page.read_text())
        assert f"fusion is trained: {sentence}" in words(parts)
        assert "Best epoch:" in words(parts)
        (facts,) = tables(parts)
        assert ["branches", "ngram"] in facts
        assert next(value for name, value in facts if name == "resumed").startswith(resumed)
        charts = [part["spec"]["data"]["values"] for part in parts if part["type"] == "vegaChart"]
        drawn = [point["epoch"] for point in charts[0] if point["curve"] == "validation log-loss"]
        assert drawn == list(range(1, int(sentence[0]) + 1)), "a continued training shows its first epochs as well"


def card_content(page: str) -> list[dict[str, Any]]:
    """The components a card's page carries."""
    for encoded in re.findall(r"[\"'`]([A-Za-z0-9+/=]{200,})[\"'`]", page):
        try:
            content = json.loads(base64.b64decode(encoded))
        except ValueError:
            continue
        contents = content["components"][0]["contents"]
        return [part for section in contents for part in section.get("contents", [section])]
    raise AssertionError("the page carries no components")
