"""Settings of monitoring: one YAML file, parsed once into frozen dataclasses.

Knows the shape and the bounds of every setting; its mistakes are told as those of an experiment are (`rayon.config`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rayon.config import Positive, parse_settings, read_mapping

_STRICT = ConfigDict(extra="forbid")

Size = Annotated[float, Field(gt=0, le=10)]


@dataclass(frozen=True, config=_STRICT)
class Limit:
    """How large a difference must be to matter: worth a look, worth retraining, worth retraining at once.

    None says that a difference of this kind, however large, is not mended by retraining.
    """

    watch: Size
    retrain: Size | None = None
    strong: Size | None = None

    def __post_init__(self) -> None:
        steps = [step for step in (self.watch, self.retrain, self.strong) if step is not None]
        if steps != sorted(steps) or (self.retrain is None and self.strong is not None):
            raise ValueError("watch, retrain and strong have to rise, and strong needs retrain")


def _limit(*steps: float) -> Any:
    return dataclasses.field(default_factory=lambda: Limit(*steps))


@dataclass(frozen=True, config=_STRICT)
class Limits:
    """A limit for each thing that is compared; `rayon.measures` and `rayon.feed` say how each is measured.

    Shares and accuracy: a difference in [0, 1]. Distributions: the largest gap between two distribution functions.
    Mixes: Cohen's w. Views: the maximum mean discrepancy. Confidences are symptoms, whatever the cause: they ask for a
    look and no more. `most_repeated`: how many times as often as any in training one text and photo come. `columns`:
    how many came or went.
    """

    text_view: Limit = _limit(0.08, 0.2, 0.4)
    photo_view: Limit = _limit(0.08, 0.2, 0.4)
    text_novelty: Limit = _limit(0.15, 0.3, 0.5)
    photo_novelty: Limit = _limit(0.15, 0.3, 0.5)
    unknown_words: Limit = _limit(0.15, 0.3, 0.5)
    predicted_mix: Limit = _limit(0.2, 0.5, 0.8)
    confidence: Limit = _limit(0.15)
    entropy: Limit = _limit(0.15)
    new_categories: Limit = _limit(0.02, 0.1, 0.2)
    accuracy: Limit = _limit(0.03, 0.05, 0.15)
    estimated_macro_f1: Limit = _limit(0.05)
    without_text: Limit = _limit(0.05)
    without_description: Limit = _limit(0.1)
    without_photo: Limit = _limit(0.05)
    text_length: Limit = _limit(0.15)
    brightness: Limit = _limit(0.15)
    sharpness: Limit = _limit(0.15)
    language: Limit = _limit(0.2)
    repeated_content: Limit = _limit(0.02)
    most_repeated: Limit = _limit(10.0)
    columns: Limit = _limit(1.0)


UNTESTED = ("estimated_macro_f1", "most_repeated", "columns")
"""The limits of what is no test and has no p-value."""


@dataclass(frozen=True, config=_STRICT)
class Settling:
    """When windows that ask for retraining add up: `alarms` of the last `windows`, this one included."""

    windows: Annotated[int, Field(ge=1, le=30)] = 3
    alarms: Positive = 2

    def __post_init__(self) -> None:
        if self.alarms > self.windows:
            raise ValueError(f"{self.alarms} alarms cannot come in {self.windows} windows")


@dataclass(frozen=True, config=_STRICT)
class Monitoring:
    """How production is compared with what the model saw when it was trained.

    `alpha` is the chance of any false alarm in one window, over all tests together. Below `minimum_rows` nothing is
    said; PSI is given from `psi_rows` on either side. Of a window of more than `sample_rows` products so many are
    opened; what can be counted is counted of all. Views are compared on at most `view_rows` products a side by
    `permutations` permutations. Feedback counts with `labels` labels in each of filed and sent to review. The report
    is made of at most `report_rows` products and kept up to `report_megabytes`.
    """

    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.02
    minimum_rows: Annotated[int, Field(ge=20)] = 50
    psi_rows: Annotated[int, Field(ge=50)] = 500
    sample_rows: Annotated[int, Field(ge=1000, le=1_000_000)] = 20_000
    view_rows: Annotated[int, Field(ge=100, le=5000)] = 1000
    permutations: Annotated[int, Field(ge=199, le=9999)] = 1999
    labels: Positive = 10
    report_rows: Annotated[int, Field(ge=0, le=20_000)] = 2000
    report_megabytes: Annotated[float, Field(gt=0, le=50)] = 5.0
    limits: Limits = dataclasses.field(default_factory=Limits)
    settling: Settling = dataclasses.field(default_factory=Settling)

    def __post_init__(self) -> None:
        tests = len(dataclasses.fields(Limits)) - len(UNTESTED)
        if tests / (self.permutations + 1) >= self.alpha:
            least = math.ceil(tests / self.alpha)
            raise ValueError(
                f"{self.permutations} permutations can never reach an alpha of {self.alpha:g}: {least} are needed"
            )


_ADAPTER: TypeAdapter[Monitoring] = TypeAdapter(Monitoring)


def parse_monitoring(settings: Mapping[str, Any]) -> Monitoring:
    """Turn a mapping (the YAML file as read) into `Monitoring`.

    Raises:
        ConfigError: as `rayon.config.parse_config`.

    Example:
        >>> parse_monitoring({"limits": {"accuracy": {"watch": 0.02}}}).limits.accuracy
        Limit(watch=0.02, retrain=None, strong=None)
    """
    return parse_settings(_ADAPTER, Monitoring, settings)


def read_monitoring(text: str) -> dict[str, Any]:
    """Parse the YAML text of monitoring and return it with every default filled in, as plain data.

    Raises:
        ConfigError: the text is no YAML mapping, or as `parse_monitoring`.
    """
    return dataclasses.asdict(parse_monitoring(read_mapping(text)))
