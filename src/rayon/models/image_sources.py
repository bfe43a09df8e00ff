"""Where image encoders come from: `bundled:<name>`, `timm:<name>`, `torchvision:<name>`, the latter two also `@random`.

Knows how each source is identified without building it, how it is built, and how its pixels are normalised. Loads
tensors only, never pickled objects. Refuses to know how photos are decoded and where features go.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from rayon.models import bundled_image
from rayon.models.bundled import EncoderError, hash_fields, hash_file

RANDOM = "@random"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TIMM_WEIGHTS = "model.safetensors"
_HEADS = ("fc", "classifier", "head", "heads")

Triple = tuple[float, float, float]


class LoadedImage(NamedTuple):
    """An image source, built: a network from normalised pixels to (N, dim), mean and std in pixel units (0..255)."""

    network: nn.Module
    mean: Triple
    std: Triple


class ImageSource(NamedTuple):
    """An image source before anything is built. `weights()` is a hash of what its output depends on, cheap to get."""

    weights: Callable[[], str]
    load: Callable[[int], LoadedImage]


def image_source(source: str) -> ImageSource:
    """Return what is known of a source; `load` takes the photos' side in pixels.

    Raises:
        EncoderError: the name is no known source.
    """
    kind, _, name = source.partition(":")
    at_random = name.endswith(RANDOM)
    name = name.removesuffix(RANDOM)
    if source in IMAGE_BUNDLED:
        return IMAGE_BUNDLED[source]
    if kind == "timm" and name:
        if at_random:
            return ImageSource(lambda: _random_hash("timm", name), lambda side: _load_timm(source, name, None, side))
        return ImageSource(
            lambda: hash_file(_timm_file(source, name)),
            lambda side: _load_timm(source, name, _timm_file(source, name), side),
        )
    if kind == "torchvision" and name:
        if at_random:
            return ImageSource(
                lambda: _random_hash("torchvision", name), lambda side: _load_torchvision(source, name, None)
            )
        return ImageSource(
            # the file's name carries the start of its SHA-256, which torch.hub checks
            lambda: hash_fields({"url": _torchvision_weights(source, name).url}),
            lambda side: _load_torchvision(source, name, _torchvision_weights(source, name)),
        )
    raise EncoderError(
        f"there is no image encoder '{source}'; known are {', '.join(IMAGE_BUNDLED)}, timm:<name>, torchvision:<name> "
        f"and, with random weights, timm:<name>{RANDOM} and torchvision:<name>{RANDOM}"
    )


def _load_lite0(side: int) -> LoadedImage:
    network = bundled_image.load_lite0(bundled_image.LITE0_FILE.verified(_LITE0))
    mean, std = bundled_image.LITE0_MEAN, bundled_image.LITE0_STD
    return LoadedImage(network, (mean, mean, mean), (std, std, std))


def _random_hash(library: str, name: str) -> str:
    # asked of the installation: to import either library takes seconds, and whose features are all there needs none
    return hash_fields({"random": name, "torch": torch.__version__, library: version(library)})


def _load_timm(source: str, name: str, weights: Path | None, side: int) -> LoadedImage:
    import timm

    _check_name(source, name, timm.is_model(name), timm.list_models())
    settings: dict[str, Any] = {"num_classes": 0}
    described = timm.get_pretrained_cfg(name)
    if described is not None and described.fixed_input_size:
        settings["img_size"] = side
    network: Any
    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = timm.create_model(name, pretrained=False, **settings)
    else:
        overlay = {"file": str(weights)}
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **settings)
    mean = network.pretrained_cfg.get("mean", _IMAGENET_MEAN)
    std = network.pretrained_cfg.get("std", _IMAGENET_STD)
    return LoadedImage(network, _in_pixels(mean), _in_pixels(std))


def _timm_file(source: str, name: str) -> Path:
    """Return timm's safetensors file of a pretrained model, fetched from the hub where it is not there yet."""
    import timm
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    _check_name(source, name, timm.is_model(name), timm.list_models())
    described = timm.get_pretrained_cfg(name)
    if described is None or not described.hf_hub_id:
        raise EncoderError(
            f"{source}: timm has no weights on the hub for '{name}'; timm.list_pretrained() names those it has"
        )
    try:
        return Path(snapshot_download(described.hf_hub_id, allow_patterns=[_TIMM_WEIGHTS])) / _TIMM_WEIGHTS
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise EncoderError(_unreachable(source, error)) from error


def _load_torchvision(source: str, name: str, weights: Any) -> LoadedImage:
    from torchvision import models  # type: ignore[import-untyped]

    known = models.list_models(module=models)
    _check_name(source, name, name in known, known)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.get_model(name, weights=None)
    if weights is not None:
        try:
            state = torch.hub.load_state_dict_from_url(
                weights.url, map_location="cpu", check_hash=True, progress=False, weights_only=True
            )
        except OSError as error:
            raise EncoderError(_unreachable(source, error)) from error
        network.load_state_dict(state)
    _remove_head(source, network)
    return LoadedImage(network, _in_pixels(_IMAGENET_MEAN), _in_pixels(_IMAGENET_STD))


def _torchvision_weights(source: str, name: str) -> Any:
    from torchvision import models

    known = models.list_models(module=models)
    _check_name(source, name, name in known, known)
    return models.get_model_weights(name).DEFAULT


def _remove_head(source: str, network: nn.Module) -> None:
    """Replace the classifier's last linear layer, so that what it read comes out."""
    linear = [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear) and path.split(".")[0] in _HEADS
    ]
    if not linear:
        raise EncoderError(f"{source} does not end in a linear classifier, so rayon cannot tell where its features are")
    network.set_submodule(linear[-1], nn.Identity())


def _in_pixels(triple: tuple[float, ...]) -> Triple:
    red, green, blue = (255.0 * value for value in triple)
    return red, green, blue


def _check_name(source: str, name: str, known: bool, names: list[str]) -> None:
    if not known:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        raise EncoderError(
            f"{source}: there is no model '{name}'" + (f"; did you mean {', '.join(near)}?" if near else "")
        )


def _unreachable(source: str, error: Exception) -> str:
    return (
        f"{source}: its weights cannot be fetched ({type(error).__name__}: {error}); without a network use "
        f"{', '.join(IMAGE_BUNDLED)}, or {source}{RANDOM} to try things out"
    )


_LITE0 = "bundled:efficientnet-lite0"

IMAGE_BUNDLED = {_LITE0: ImageSource(lambda: bundled_image.LITE0_FILE.sha256, _load_lite0)}
"""The sources that need no network, by name; the one place where such an encoder is added."""
