"""A bundle whose bytes are not those that were written is refused, whichever they are; one without a checksum, as they
were written before, is whole or refused.
"""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import LEAVES, damaged, examples, places, put
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from rayon.bundle import Bundle, dump_bundle, read_bundle
from rayon.bundle_document import BundleError, describe_bundle
from rayon.inference import Predictor, PredictorError
from rayon.models.encoders import EncoderError


@pytest.fixture(scope="module")
def written() -> list[bytes]:
    return []


@pytest.fixture
def original(written, make_config, trained_once) -> bytes:
    if not written:
        written.append(trained_once("fusion", make_config())[0].bundle)
    return written[0]


@examples(150)
@given(data=st.data())
def test_damage_anywhere_is_noticed(original, data):
    head = 8 + int.from_bytes(original[:8], "little")
    broken = data.draw(damaged([original], head=head))
    if broken == original:
        return
    with pytest.raises(BundleError):
        read_bundle(broken)


@examples(120)
@given(data=st.data())
def test_a_document_of_anything_is_a_bundle_or_none(original, data):
    """The checksum is left out, as whoever writes such a document would: what is read has the right types."""
    document = copy.deepcopy(describe_bundle(original))
    spots = [place for place in places(document) if place]
    put(document, data.draw(st.sampled_from(spots)), data.draw(LEAVES | st.just([]) | st.just({})))
    try:
        text = json.dumps(document, default=str)
        text.encode()
        other = save_tensors(load_tensors(original), metadata={"rayon": text})
    except (UnicodeEncodeError, ValueError):
        return
    try:
        bundle = read_bundle(other)
        Predictor(bundle, "TrainFlow/1", None)
    except (BundleError, EncoderError, PredictorError) as error:
        assert str(error)
    else:
        assert isinstance(bundle, Bundle) and all(isinstance(name, str) for name in bundle.categories)


@examples(150)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_no_bundle(data):
    for length in (len(data), 2**63, 0):
        with pytest.raises(BundleError):
            read_bundle(length.to_bytes(8, "little") + data)


def test_a_bundle_that_was_written_before_there_were_checksums_is_read(original):
    old = save_tensors(load_tensors(original), metadata={"rayon": json.dumps(describe_bundle(original))})
    assert read_bundle(old).categories == read_bundle(original).categories


def test_the_same_bundle_gives_the_same_bytes(original):
    assert dump_bundle(read_bundle(original)) == dump_bundle(read_bundle(original))
