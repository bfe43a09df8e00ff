"""What a sampled stack was spent on, by rules that name files of packages, and in which colour that is drawn.

Knows names of files and functions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

REST = "the rest"
START = "Python's start and end"
CARDS = "cards"
METAFLOW = "Metaflow"
TRACKING = "W&B"
EVIDENTLY = "Evidently"
TABLES = "tables, shards, features, store"
PHOTOS = "photos: decode, resize"
TEXTS = "texts: clean, hash n-grams"
ENCODING = "encoders"
TRAINING = "training: forward, backward"
OPTIMIZER = "training: optimizer"
CHECKPOINTS = "training: checkpoints"
BASELINE = "scikit-learn's baseline"
JUDGING = "calibrate, judge, compare"
OTHER_IMPORTS = "import: rayon, others"

IMPORTS = {
    "torch": "import: torch",
    "pytorch_lightning": "import: Lightning",
    "lightning_fabric": "import: Lightning",
    "torchmetrics": "import: Lightning",
    "lightning_utilities": "import: Lightning",
    "wandb": "import: W&B",
    "evidently": "import: Evidently",
    "metaflow": "import: Metaflow",
    "sklearn": "import: scikit-learn, scipy",
    "scipy": "import: scikit-learn, scipy",
    "pandas": "import: pandas, numpy, pyarrow",
    "numpy": "import: pandas, numpy, pyarrow",
    "pyarrow": "import: pandas, numpy, pyarrow",
    "rayon": OTHER_IMPORTS,
    "flows": OTHER_IMPORTS,
}
"""Packages whose import is counted apart. What one of them imports is its own cost, unless it is another of them."""

RULES = (
    ("wandb/", TRACKING),
    ("rayon/tracking/", TRACKING),
    ("evidently/", EVIDENTLY),
    ("rayon/drift_report.py", EVIDENTLY),
    ("metaflow/plugins/cards/", CARDS),
    ("rayon/cards", CARDS),
    ("rayon/plots", CARDS),
    ("metaflow/", METAFLOW),
    ("rayon/experiment.py", METAFLOW),
    ("rayon/registry.py", METAFLOW),
    ("rayon/champions.py", METAFLOW),
    ("rayon/events.py", METAFLOW),
    ("rayon/data/images.py", PHOTOS),
    ("rayon/models/image_sources.py", PHOTOS),
    ("rayon/data/traits.py", PHOTOS),
    ("rayon/data/text.py", TEXTS),
    ("rayon/models/ngrams.py", TEXTS),
    ("rayon/data/synthetic", TABLES),
    ("rayon/data/tables.py", TABLES),
    ("rayon/data/parquet.py", TABLES),
    ("rayon/data/catalog.py", TABLES),
    ("rayon/data/validation.py", TABLES),
    ("rayon/data/planning.py", TABLES),
    ("rayon/data/building.py", TABLES),
    ("rayon/data/preprocessing.py", TABLES),
    ("rayon/data/shards.py", TABLES),
    ("rayon/data/dataset.py", TABLES),
    ("rayon/data/outputs.py", TABLES),
    ("rayon/data/splits.py", TABLES),
    ("rayon/models/feature", TABLES),
    ("rayon/inputs.py", TABLES),
    ("rayon/production.py", TABLES),
    ("rayon/feedback", TABLES),
    ("rayon/models/bundled", ENCODING),
    ("rayon/models/bert.py", ENCODING),
    ("rayon/models/efficientnet.py", ENCODING),
    ("rayon/models/encod", ENCODING),
    ("rayon/models/text_sources.py", ENCODING),
    ("rayon/models/baseline.py", BASELINE),
    ("torch/optim/", OPTIMIZER),
    ("rayon/checkpoints.py", CHECKPOINTS),
    ("lightning_fabric/plugins/io/", CHECKPOINTS),
    ("lightning_fabric/utilities/cloud_io.py", CHECKPOINTS),
    ("pytorch_lightning/callbacks/model_checkpoint.py", CHECKPOINTS),
    ("pytorch_lightning/trainer/connectors/checkpoint_connector.py", CHECKPOINTS),
    ("pytorch_lightning/", TRAINING),
    ("rayon/models/classifier.py", TRAINING),
    ("rayon/fitting.py", TRAINING),
    ("rayon/training.py", TRAINING),
    ("rayon/data/datamodule.py", TRAINING),
    ("rayon/models/fusion.py", JUDGING),
    ("rayon/models/served.py", JUDGING),
    ("rayon/models/projection.py", JUDGING),
    ("rayon/inference.py", JUDGING),
    ("rayon/observing.py", JUDGING),
    ("rayon/scoring.py", JUDGING),
    ("rayon/gold.py", JUDGING),
    ("rayon/bundle", JUDGING),
    ("rayon/calibration.py", JUDGING),
    ("rayon/evaluation.py", JUDGING),
    ("rayon/report.py", JUDGING),
    ("rayon/gate.py", JUDGING),
    ("rayon/gallery.py", JUDGING),
    ("rayon/drift.py", JUDGING),
    ("rayon/monitoring.py", JUDGING),
    ("rayon/measures.py", JUDGING),
    ("rayon/window.py", JUDGING),
)
"""Where a file's name begins so, the sample was spent on that: the innermost frame that is named here decides.

Libraries that do what others ask for, such as torch, numpy or Pillow, and rayon's heads, which train as well as judge,
are not named: their callers are.
"""


COLOURS = {
    START: "#374151",
    "import: Metaflow": "#1e3a8a",
    "import: torch": "#1d4ed8",
    "import: Lightning": "#2563eb",
    "import: W&B": "#3b82f6",
    "import: scikit-learn, scipy": "#60a5fa",
    "import: pandas, numpy, pyarrow": "#93b4f5",
    "import: Evidently": "#bfdbfe",
    OTHER_IMPORTS: "#dbeafe",
    METAFLOW: "#d97706",
    CARDS: "#fbbf24",
    TRACKING: "#fde68a",
    EVIDENTLY: "#f9a8d4",
    TABLES: "#9ca3af",
    PHOTOS: "#059669",
    TEXTS: "#6ee7b7",
    ENCODING: "#dc2626",
    TRAINING: "#7c3aed",
    OPTIMIZER: "#a78bfa",
    CHECKPOINTS: "#ddd6fe",
    BASELINE: "#c026d3",
    JUDGING: "#0891b2",
    REST: "#e5e7eb",
}
"""All that seconds are spent on, in the order in which a bar shows them, in their colours: imports are blue."""


class Frame(NamedTuple):
    """A function and its file, from the package on: 'torch/nn/modules/linear.py', 'flows/train_flow.py', 'json/..'."""

    function: str
    file: str


def spent_on(command: str, frames: Sequence[Frame]) -> str:
    """Return what a process was at whose stack is `frames`, the innermost last."""
    if " card create " in command:
        return CARDS
    if any(frame.function == "_find_and_load" for frame in frames):
        packages = (frame.file.partition("/")[0] for frame in reversed(frames))
        return next((IMPORTS[package] for package in packages if package in IMPORTS), OTHER_IMPORTS)
    for frame in reversed(frames):
        if frame.file.startswith("flows/") and frame.function != "<module>":
            return REST  # a step's own lines, or what no rule names: below them is Metaflow, which only started them
        for beginning, category in RULES:
            if frame.file.startswith(beginning):
                return category
    return REST if any(frame.file.startswith("rayon/") for frame in frames) else START
