"""A newcomer: the README's commands, literally and in order, in a copy of the tree that nobody has used.

`make walkthrough` runs it; it takes minutes, and so is no part of `make test`. All that it leaves out is named in the
README, with the reason. Installing is left to whoever runs it: the copy's environment finds the packages of this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pandas as pd
from documents import ROOT, shell_blocks

from rayon.config import Synthetic
from rayon.data.synthetic_rows import make_product

PRODUCTS = 260
NEW = 25


def test_the_readme_from_a_clean_clone_to_predictions(tmp_path: Path) -> None:
    clone, home = tmp_path / "rayon", tmp_path / "home"
    copy_tree(clone)
    make_environment(clone)
    make_shop(home / "shop")
    blocks = shell_blocks(clone / "README.md")
    script = "".join(f"{block.commands}\n" for block in blocks if not block.left_out)
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=clone,
        env=plain_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-6000:]

    scored = pd.read_parquet(clone / "build" / "shop" / "predictions")
    assert sorted(scored["product_id"]) == sorted(f"N{row}" for row in range(NEW)), "every new product has a category"
    assert set(scored["decision"]) <= {"accept", "review"}
    trained = pd.read_csv(home / "shop" / "articles.csv", sep=";", encoding="cp1252")
    assert set(scored["category"]) <= set(trained["Rayon"])
    truth = pd.read_csv(home / "shop" / "truth.csv").set_index("product_id")["category"]
    assert (scored.set_index("product_id")["category"] == truth).mean() > 0.3, "a guess is right once in twelve"
    assert "Piscine et spa" in done.stdout.split("python -m rayon classify")[-1]


def copy_tree(target: Path) -> None:
    """Copy what git knows of the tree, or would know if it were added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def make_environment(clone: Path) -> None:
    """Make `.venv` as if `make setup` had: this environment's packages, and the copy's own sources."""
    folder = clone / ".venv"
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "clone.pth").write_text(f"{clone / 'src'}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    (folder / ".installed").touch()


def make_shop(folder: Path) -> None:
    """Write a catalogue of another shape: French columns, semicolons, an old encoding, photos named by reference."""
    (folder / "photos").mkdir(parents=True)
    settings = Synthetic(rows=PRODUCTS + NEW, categories=12, seed=7)
    lines, new, truth = [], [], []
    for row in range(PRODUCTS + NEW):
        product = make_product(settings, row)
        late = row >= PRODUCTS
        reference = f"N{row - PRODUCTS}" if late else f"R{row}"
        if product.image is not None:
            (folder / "photos" / f"{reference}.jpg").write_bytes(product.image)
        line = {"Réf": reference, "Libellé": product.designation, "Descriptif": product.description, "Prix": row}
        if late:
            new.append(line)
            truth.append({"product_id": reference, "category": product.category})
        else:
            lines.append({**line, "Rayon": product.category})
    written = {"sep": ";", "encoding": "cp1252", "errors": "replace", "index": False}
    pd.DataFrame(lines).to_csv(folder / "articles.csv", **written)
    pd.DataFrame(new).to_csv(folder / "new.csv", **written)
    pd.DataFrame(truth).to_csv(folder / "truth.csv", index=False)


def plain_environment(home: Path) -> dict[str, str]:
    """Return this process's environment without what is set for rayon, Metaflow, W&B, make or Python."""
    left_out = ("RAYON_", "METAFLOW_", "WANDB_", "PYTHON", "VIRTUAL_ENV", "VENV", "MAKE", "MFLAGS", "PYTEST")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "HOME": str(home), "USER": "newcomer"}
