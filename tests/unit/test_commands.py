"""The commands that a run's last lines name: of the same experiment, in the run's own process and in its tasks'."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rayon.models.bundled import EncoderError
from rayon.preparing import RayonError, stopping
from rayon.schema import TooLittleError

TELL = "from rayon.commands import flow_command; print(flow_command('train'))"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run"], "python flows/train_flow.py run"),
        (
            ["--config", "experiment", "configs/shop.yaml", "run"],
            "python flows/train_flow.py --config experiment configs/shop.yaml run",
        ),
        (["--config", "monitoring", "limits.yaml", "run"], "python flows/train_flow.py run"),
        (["run", "--config"], "python flows/train_flow.py run"),
    ],
)
def test_the_next_command_is_of_the_same_experiment_in_tasks_too(arguments: list[str], told: str) -> None:
    task = f"import subprocess, sys; {TELL}; sys.stdout.flush(); subprocess.run([sys.executable, '-c', {TELL!r}])"
    environment = {name: value for name, value in os.environ.items() if name != "RAYON_EXPERIMENT_FILE"}
    command = [sys.executable, "-c", task, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == [told, told]


@pytest.mark.parametrize("mistake", [TooLittleError("2 products: add some."), EncoderError("pip install it")])
def test_mistakes_of_the_user_end_a_step_with_their_sentence(mistake: Exception) -> None:
    with pytest.raises(RayonError, match=str(mistake)), stopping():
        raise mistake
