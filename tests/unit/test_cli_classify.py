"""`python -m rayon classify`: one product from the command line, mistakes as sentences."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from rayon.config import to_dict

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture
def classify(make_config, trained_once, tmp_path):
    """Run the command on a fusion trained on the small catalogue."""
    from rayon.cli import app

    config = make_config(score={"precision": 0.9})
    done, *_ = trained_once("fusion", config)
    (tmp_path / "bundle").write_bytes(done.bundle)
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(to_dict(config)))

    def run(*arguments: str, model: str = str(tmp_path / "bundle")):
        command = ["classify", *arguments, "-e", str(tmp_path / "shop.yaml"), "--model", model]
        return CliRunner().invoke(app, command)

    return run


def test_the_likeliest_categories_the_decision_and_what_counted(classify, catalogue, tmp_path):
    photo = str(catalogue / "images" / "0.png")
    said = classify("lampe chevet", "--image", photo, "--json", str(tmp_path / "said.json"))
    assert said.exit_code == 0, said.output
    told = json.loads((tmp_path / "said.json").read_text())
    assert told["category"] == "lampes" == told["top_k"][0]["category"] and len(told["top_k"]) == 4
    assert told["text_contribution"] + told["image_contribution"] == 1.0 and told["image_contribution"] > 0
    lines = said.output.splitlines()
    assert lines[0].split() == [f"{told['confidence']:.1%}", "lampes"]
    assert f"decision  {told['decision']}" in said.output and "for 90% precision" in said.output
    assert f"photo {told['image_contribution']:.0%}" in said.output


def test_json_alone_goes_to_the_screen(classify):
    said = classify("lampe chevet", "--description", "bleu", "--json", "-")
    told = json.loads(said.output)
    assert told["category"] == "lampes" and (told["text_contribution"], told["image_contribution"]) == (1.0, 0.0)


def test_a_photo_that_cannot_be_read_is_told(classify, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no photo")
    said = classify("lampe chevet", "--image", str(tmp_path / "bad.jpg"))
    assert said.exit_code == 0 and "photo     not looked at: " in said.output
    alone = classify("--image", str(tmp_path / "bad.jpg"))
    assert alone.exit_code == 1 and "this product cannot be judged" in alone.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "a product needs a title"),
        (["lampe", "--image", "nowhere.jpg"], 2, "there is no file"),
    ],
)
def test_mistakes_are_sentences(classify, arguments, code, words):
    said = classify(*arguments)
    assert said.exit_code == code and words in " ".join(said.output.split())


def test_a_model_that_is_not_there_is_a_sentence(classify):
    said = classify("lampe", model="nothing")
    assert said.exit_code == 1 and "neither a run of TrainFlow nor a file" in said.output
