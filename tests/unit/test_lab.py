"""A trial: trained with the library, measured beside another model, leaving nothing behind."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest

from rayon.bundle import read_bundle
from rayon.config import changed
from rayon.lab import HERE, describe, put_beside, train_trial

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture
def trial(make_config, load):
    """(trial, dataset, config): the fusion of the small catalogue."""
    config = make_config()
    dataset, _ = load(config)
    return train_trial("fusion", dataset, config), dataset, config


def test_a_trial_is_a_bundle_with_its_history(trial):
    done, _, _ = trial
    bundle = read_bundle(done.bundle)
    assert bundle.about["run"] == HERE and len(done.branches) == 3
    assert done.history.index.tolist() == list(range(1, len(done.history) + 1))
    assert done.history["training loss"].iloc[-1] < done.history["training loss"].iloc[0]
    assert done.history["held-out macro-F1"].between(0, 1).all()
    told = describe(done)
    assert told["weights"] == sum(p.numel() for p in bundle.served.network.heads.parameters())
    assert told["encoded"] == 0  # found


def test_two_trials_with_the_same_settings_do_not_go_on_with_each_other(trial):
    first, dataset, config = trial
    second = train_trial("fusion", dataset, config)
    assert len(second.history) == len(first.history) and second.seconds > 0
    assert not list(Path(tempfile.gettempdir()).glob("rayon-lab-*/last.ckpt"))


def test_beside_itself_a_trial_neither_gains_nor_loses(trial, tmp_path):
    done, dataset, config = trial
    file = tmp_path / "bundle"
    file.write_bytes(done.bundle)
    beside = put_beside(done, dataset, config, str(file))
    assert beside.version == str(file) and list(beside.reports) == ["trial", "champion"]
    assert beside.reports["trial"].metrics == beside.reports["champion"].metrics
    assert tuple(beside.comparison.gain) == (0, 0, 0) and beside.comparison.disagreements.empty


def test_a_worse_model_loses_where_it_is_worse(trial, tmp_path):
    done, dataset, config = trial
    file = tmp_path / "bundle"
    file.write_bytes(done.bundle)
    blind = changed(config, {"branches": {"text": {"encoders": []}, "ngram": {"enabled": False}}})
    beside = put_beside(train_trial("image", dataset, blind), dataset, config, str(file))
    ours, theirs = (beside.reports[name].metrics["macro_f1"].value for name in ("trial", "champion"))
    assert ours < theirs and beside.comparison.gain.value < 0
    table = beside.comparison.categories
    np.testing.assert_allclose(table["gain"], table["second"] - table["first"])
    assert table["gain"].is_monotonic_increasing


def test_settings_can_be_changed_one_by_one(make_config):
    config = make_config()
    other = changed(config, {"trainer": {"hidden": 9}, "branches": {"ngram": {"enabled": False}}})
    assert other.trainer == dataclasses.replace(config.trainer, hidden=9)
    assert not other.branches.ngram.enabled and other.branches.text == config.branches.text
    assert config.trainer.hidden != 9
