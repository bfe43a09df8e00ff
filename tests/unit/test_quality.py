"""How candidates are compared: the same products, the same measures, whoever answers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from peer import read_gold, write_split
from quality_candidates import BASELINES, OURS, answer_gold, fit, plain_average

from rayon.bundle import read_bundle
from rayon.gold import gold_rows, predict_gold, report_gold


def test_a_peer_gets_what_we_learn_from_and_never_the_gold_set(make_config, load, tmp_path) -> None:
    dataset, _ = load(make_config())
    table = pd.read_parquet(write_split(dataset, tmp_path, tmp_path / "photos")).set_index("row")
    assert table.index[table["part"] == "gold"].tolist() == gold_rows(dataset).tolist()
    assert len(table) == len(dataset)
    frame = dataset.frame.loc[table.index]
    assert (table["part"].replace({"gold": "test"}) == frame["split"].astype(str)).all()
    assert (table["text"].str.startswith("query: ") == frame["has_text"]).all()
    for row, image in table["image"].items():
        assert (Path(image).read_bytes() if image else None) == dataset.photo(row)


def test_a_peers_answers_are_put_into_our_order(make_config, load, tmp_path) -> None:
    dataset, _ = load(make_config())
    rows, classes = gold_rows(dataset), len(dataset.categories)
    ours = np.random.default_rng(0).dirichlet(np.ones(classes), len(rows)).astype(np.float32)
    shuffled, columns = np.random.default_rng(1).permutation(len(rows)), np.arange(classes)[::-1]
    theirs = ours[shuffled][:, columns]
    names = np.array(dataset.categories)[columns]
    told = {name: theirs for name in ("whole", "without_photo", "without_text")}
    np.savez(tmp_path / "told.npz", rows=rows[shuffled], categories=names, **told)
    gold = read_gold(dataset, tmp_path / "told.npz")
    np.testing.assert_allclose(np.exp(gold.log_probabilities), ours, rtol=1e-5)
    assert gold.labels.tolist() == dataset.frame["label"].iloc[rows].tolist()


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_answers_and_knows_what_it_looks_at(name, make_config, load, tmp_path) -> None:
    config = make_config()
    dataset, encoded = load(config)
    gold = answer_gold(fit(name, dataset, encoded, config, tmp_path / "run"), dataset, encoded)
    report = report_gold(gold, dataset, config)
    np.testing.assert_allclose(np.exp(gold.log_probabilities).sum(axis=1), 1, rtol=1e-4)
    assert report.metrics["accuracy"].value > 0.5  # four categories
    assert (report.without_photo is None) == (name == "photo features")
    assert (report.without_text is None) == (name == "tfidf")


def test_ours_answers_as_its_bundle_does(make_config, load, tmp_path) -> None:
    config = make_config()
    dataset, encoded = load(config)
    assert "fusion" in OURS
    fitted = fit("fusion", dataset, encoded, config, tmp_path / "run")
    asked, served = answer_gold(fitted, dataset, encoded), predict_gold(read_bundle(fitted.data), dataset, encoded)
    for part in ("log_probabilities", "without_photo", "without_text"):
        np.testing.assert_allclose(getattr(asked, part), getattr(served, part), atol=1e-5)
    averaged = answer_gold(plain_average(fitted), dataset, encoded)
    assert np.abs(averaged.log_probabilities - asked.log_probabilities).max() > 0.01
