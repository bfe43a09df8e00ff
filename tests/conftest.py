"""What every test shares: a quiet, offline environment, a browser, factories of small problems for modelling tests.

The environment is set here, at import, because torch, Metaflow and W&B read theirs when they are first imported. For
the same reason nothing heavy is imported at the top.
"""

from __future__ import annotations

import os
import shutil
import tempfile

# runs of the tests, apart from the user's own; Metaflow reads this when it is imported
_RUNS = tempfile.TemporaryDirectory(prefix="rayon-tests-")

os.environ.update(
    {
        # spinning OpenMP threads make several processes on few cores crawl
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "METAFLOW_PYLINT": "0",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": _RUNS.name,
    }
)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("METAFLOW_USER", "tests")

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from rayon.data.batches import BranchInputs, Targets
    from rayon.data.datamodule import ProductDataModule
    from rayon.models.classifier import ProductClassifier
    from rayon.models.ngrams import NgramVectorizer


# Where tests run in several processes (make test), what shares a running app stays in one of them.
_TOGETHER = {"app": ("test_browser.py", "test_security.py")}
_GROUPS = {file: group for group, files in _TOGETHER.items() for file in files}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        """Gives files, or the files of a group, to one process each, in the order of collection."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return _GROUPS.get(file.rpartition("/")[2], file)

    return Together(config, log)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium here (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


class Toy(NamedTuple):
    """A small catalogue as arrays: three branches that see a class each in its own way, some products without text or
    photo. `text` and `image` are features, `gram` is what `vectorizer` makes of `texts`.
    """

    texts: list[str]
    vectorizer: NgramVectorizer
    inputs: BranchInputs
    targets: Targets
    classes: int

    def branches(self, *names: str) -> list[list[Any]]:
        """Return the branches as the classifier's hyper-parameters; all of them where none is named."""
        known: dict[str, list[Any]] = {
            name: [name, "features", name, x.shape[1], f"bundled:some.{name}"]
            for name, x in self.inputs.features.items()
        }
        if self.inputs.grams:
            known = {"gram": ["gram", "ngram", "text", self.vectorizer.columns, ""], **known}
        return [known[name] for name in names or known]


MakeToy = Callable[..., Toy]
Settings = dict[str, Any]
MakeClassifier = Callable[..., "ProductClassifier"]
Fit = Callable[..., "tuple[pl.Trainer, ProductDataModule]"]


@pytest.fixture
def make_toy() -> MakeToy:
    """A factory: `spread` is the features' noise beside class centres one apart; photos are twice as noisy."""
    from rayon.config import NgramBranch
    from rayon.data.batches import BranchInputs, Targets
    from rayon.models.ngrams import NgramVectorizer

    def make(
        products: int = 120,
        classes: int = 3,
        spread: float = 0.5,
        folds: int = 3,
        without_photo: float = 0.2,
        without_text: float = 0.1,
        seed: int = 0,
    ) -> Toy:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes, products)
        has_image = rng.random(products) >= without_photo
        has_text = (rng.random(products) >= without_text) | ~has_image
        texts = [
            f"article {rng.integers(40)} genre{label if rng.random() > spread / 5 else rng.integers(classes)}"
            for label in labels
        ]
        texts = [text if there else "" for text, there in zip(texts, has_text, strict=True)]
        centres = {"text": rng.normal(size=(classes, 8)), "image": rng.normal(size=(classes, 6))}
        features = {
            name: (centre[labels] + scale * spread * rng.normal(size=(products, centre.shape[1]))).astype(np.float32)
            for scale, (name, centre) in zip((1.0, 2.0), centres.items(), strict=True)
        }
        features["text"][~has_text] = 0.0
        features["image"][~has_image] = 0.0
        vectorizer = NgramVectorizer(NgramBranch(log2_buckets=12))
        vectorizer.fit(texts)
        return Toy(
            texts,
            vectorizer,
            BranchInputs(grams={"gram": vectorizer.transform(texts)}, features=features),
            Targets(
                labels,
                rng.integers(0, max(folds, 1), products) if folds else np.full(products, -1),
                has_text,
                has_image,
            ),
            classes,
        )

    return make


@pytest.fixture
def make_classifier() -> MakeClassifier:
    """A factory of classifiers for a toy problem, standardised, with weights that depend on `seed` alone."""
    import torch

    from rayon.models.classifier import ProductClassifier

    def make(
        toy: Toy, *names: str, replicas: int = 4, seed: int = 0, settings: Settings | None = None, **more: Any
    ) -> ProductClassifier:
        torch.manual_seed(seed)
        classifier = ProductClassifier(
            branches=more.pop("branches", None) or toy.branches(*names),
            class_weights=more.pop("class_weights", [1.0] * toy.classes),
            replicas=replicas,
            settings={"hidden": 16, "dropout": 0.0, "learning_rate": 1e-2, "batch_size": 32, **(settings or {})},
            **more,
        )
        known = {branch.name for branch in classifier.network.branches if branch.kind == "features"}
        classifier.network.standardise(
            {name: (x.mean(axis=0), x.std(axis=0)) for name, x in toy.inputs.features.items() if name in known}
        )
        return classifier

    return make


@pytest.fixture
def restrict() -> Callable[[Toy, ProductClassifier], BranchInputs]:
    """Return the inputs of a classifier's own branches."""
    from rayon.data.batches import BranchInputs

    def choose(toy: Toy, classifier: ProductClassifier) -> BranchInputs:
        names = {branch.name for branch in classifier.network.branches}
        return BranchInputs(
            grams={name: x for name, x in toy.inputs.grams.items() if name in names},
            features={name: x for name, x in toy.inputs.features.items() if name in names},
        )

    return choose


@pytest.fixture
def fit(restrict) -> Fit:
    """Train a classifier on all of a toy problem; the held-out products are the same ones."""
    import pytorch_lightning as pl

    from rayon.data.batches import Collator
    from rayon.data.datamodule import ProductDataModule

    def run(classifier: ProductClassifier, toy: Toy, epochs: int, **more: Any) -> tuple[pl.Trainer, ProductDataModule]:
        rows = np.arange(len(toy.texts))
        module = ProductDataModule(
            Collator(restrict(toy, classifier), toy.targets), rows, rows, classifier.settings.batch_size, 0, 0
        )
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            **more,
        )
        trainer.fit(classifier, module)
        return trainer, module

    return run
