"""Encoding many products: the order, the bounds and the state that is left behind."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from rayon.data.images import PhotoError
from rayon.models.encoders import load_image_encoder, load_text_encoder
from rayon.models.encoding import encode_images, encode_texts, resolve_device

TEXTS = ["lampe", "lampe de chevet bleue en métal", "", "roman policier " * 20, "jeu", "piscine ronde", "lampe"] * 3


@pytest.fixture(scope="module")
def text_encoder():
    return load_text_encoder("bundled:use-multilingual", 32)


@pytest.fixture(scope="module")
def image_encoder():
    return load_image_encoder("timm:mobilenetv3_small_050@random", 64)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def photos():
    def make(count: int) -> list[bytes]:
        rng = np.random.default_rng(count)
        drawn = []
        for _ in range(count):
            width, height = (int(side) for side in rng.integers(40, 120, 2))
            buffer = io.BytesIO()
            coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            coarse.resize((width, height)).save(buffer, "JPEG")
            drawn.append(buffer.getvalue())
        return drawn

    return make


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_texts_come_back_in_order_whatever_their_length(text_encoder, workers):
    together = encode_texts(text_encoder, TEXTS, batch_size=4, device="cpu", workers=workers)
    one_by_one = np.concatenate([encode_texts(text_encoder, [text], device="cpu") for text in TEXTS])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_photos_come_back_in_order(image_encoder, photos, workers):
    images = photos(70)
    together = encode_images(image_encoder, images, batch_size=8, device="cpu", workers=workers)
    backwards = encode_images(image_encoder, images[::-1], batch_size=5, device="cpu", workers=workers)
    assert together.shape == (70, image_encoder.dim)
    np.testing.assert_allclose(together, backwards[::-1], atol=1e-4)
    assert len(np.unique(together.round(4), axis=0)) == 70


def test_nothing_gives_no_rows(text_encoder, image_encoder):
    assert encode_texts(text_encoder, [], device="cpu").shape == (0, 512)
    assert encode_images(image_encoder, [], device="cpu").shape == (0, image_encoder.dim)


def test_a_generator_of_photos_is_read_only_a_little_ahead(image_encoder, photos):
    images, read, ahead = photos(120), [], []

    def feed():
        for image in images:
            read.append(1)
            yield image

    encode_images(
        image_encoder,
        feed(),
        batch_size=2,
        device="cpu",
        workers=2,
        progress=lambda done: ahead.append(len(read) - done),
    )
    assert max(ahead) <= 2 * (2 * 2 + 3)


def test_progress_counts_up_to_all(text_encoder, image_encoder, photos):
    texts, images = [], []
    encode_texts(text_encoder, TEXTS, batch_size=4, device="cpu", progress=texts.append)
    encode_images(image_encoder, photos(9), batch_size=4, device="cpu", progress=images.append)
    for seen, total in ((texts, len(TEXTS)), (images, 9)):
        assert seen == sorted(set(seen)) and seen[-1] == total


def test_the_threads_of_torch_are_left_as_they_were(two_threads, text_encoder, image_encoder, photos):
    encode_texts(text_encoder, TEXTS, batch_size=2, device="cpu")
    encode_images(image_encoder, photos(20), batch_size=2, device="cpu")
    assert torch.get_num_threads() == 2


def test_a_broken_photo_stops_the_encoding_with_its_reason(two_threads, image_encoder, photos):
    images = photos(40)
    images[17] = images[17][:30]
    with pytest.raises(PhotoError):
        encode_images(image_encoder, images, batch_size=4, device="cpu")
    assert torch.get_num_threads() == 2


def test_a_training_encoder_is_evaluated_and_goes_on_training(photos):
    encoder = load_image_encoder("timm:resnet18@random", 32)
    images = photos(6)
    expected = encode_images(encoder, images, device="cpu")
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.train()
    np.testing.assert_allclose(encode_images(encoder, images, device="cpu"), expected, atol=1e-5)
    assert encoder.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_auto_is_the_gpu_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_features_a_cpu_gives(text_encoder, image_encoder, photos):
    images = photos(40)
    np.testing.assert_allclose(
        encode_images(image_encoder, images, device="cuda"),
        encode_images(image_encoder, images, device="cpu"),
        atol=2e-2,
    )
    np.testing.assert_allclose(
        encode_texts(text_encoder, TEXTS, device="cuda"), encode_texts(text_encoder, TEXTS, device="cpu"), atol=2e-2
    )
