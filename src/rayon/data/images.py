"""Photos: fetching, checking, shrinking and decoding them.

Knows encoded bytes and pixels. It does not know products, labels or what an encoder does with the pixels, and it
never decodes a photo whose bytes or header already say that it is too large.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import os
import re
import stat
import string
import struct
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Collection
from email.message import Message
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rayon.config import Preprocess
from rayon.data.outputs import NoAnswerError, OutputError, Outputs, endpoint, is_remote

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What Pillow may try (its JPEG reader takes MPO too). Its other readers are rarely needed and much less hardened."""

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise on damaged bytes, plugin by plugin."""

_S3 = re.compile(r"s3://[\w.-]+/", re.IGNORECASE | re.ASCII)

_LASTING = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)
"""What is wrong with a path itself: trying it again is in vain."""

_URL_SECONDS = 10.0
_URL_TRIES = 2
_LATER = (408, 425, 429)
"""Answers that say nothing of the photo: the host is too slow or asked too often."""

_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE = 5.0


class PhotoError(ValueError):
    """A photo cannot be used. `reason` is a short code to count by, the message a sentence for a person; `again` says
    that the same photo may be read another time, though nothing that is seen from outside has changed.
    """

    def __init__(self, reason: str, sentence: str, again: bool = False) -> None:
        super().__init__(reason, sentence, again)
        self.reason = reason
        self.sentence = sentence
        self.again = again

    def __str__(self) -> str:
        return self.sentence


def normalise_photo(raw: bytes, side: int, quality: int, max_megapixels: float, max_megabytes: float) -> bytes:
    """Return the photo as an upright RGB JPEG whose longest side is at most `side` pixels; it is never enlarged.

    Transparency is laid over white, of an animation the first frame is taken, EXIF orientation is applied and metadata
    is left behind. A plain RGB baseline JPEG that is small enough already is returned byte for byte, once it has
    decoded to its end. The same bytes and settings give the same result.

    Raises:
        PhotoError: 'photo_empty', 'photo_too_many_bytes', 'photo_unknown_format', 'photo_too_many_pixels' (all told
            before anything is decoded; Pillow's own bound of 179 megapixels holds too) or 'photo_damaged'.
    """
    _check_bytes(len(raw), max_megabytes)
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            _check_pixels(image.size, max_megapixels)
            if _is_ready(image, len(raw), side):
                image.load()
                return raw
            return _encode(_upright_rgb(image, side), quality)
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError("photo_too_many_pixels", f"the photo has too many pixels to be decoded: {error}") from None
    except UnidentifiedImageError:
        sentence = f"these {len(raw)} bytes are not a photo in any known format ({', '.join(FORMATS)})"
        raise PhotoError("photo_unknown_format", sentence) from None
    except _DAMAGE as error:
        raise PhotoError("photo_damaged", f"the photo is damaged or cut short: {error}") from None


def shrink_photo(raw: bytes, settings: Preprocess) -> bytes:
    """Return the photo as `normalise_photo` makes it under an experiment's settings, whose errors it raises."""
    return normalise_photo(
        raw,
        settings.image_side,
        settings.image_quality,
        settings.max_image_megapixels,
        settings.max_image_megabytes,
    )


def decode_square(jpeg: bytes, side: int) -> np.ndarray:
    """Decode a normalised photo, stretched to a square, into uint8 pixels of shape (side, side, 3), RGB.

    The JPEG is decoded at the smallest of its built-in scales that is not below `side`, then resized bilinearly.

    Raises:
        PhotoError: the bytes are no decodable JPEG.
    """
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            image.draft("RGB", (side, side))
            pixels = image if image.mode == "RGB" else image.convert("RGB")
            if pixels.size != (side, side):
                pixels = pixels.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.array(pixels)
    except _DAMAGE as error:
        raise PhotoError("photo_damaged", f"the stored photo cannot be decoded: {error}") from None


def is_url(location: str) -> bool:
    """Say whether `location` is an http(s) address rather than a path."""
    return location[:8].lower().startswith(("http://", "https://"))


def photo_path(location: str, folder: str | Path | None) -> Path:
    """Return the path of a photo, which stays inside `folder` where there is one.

    Raises:
        PhotoError: 'photo_outside_folder': the location is absolute or climbs with '..' although a folder is set.
    """
    if folder is None:
        return Path(location)
    return Path(folder) / _inside(location)


def remote_place(location: str, folder: str | Path | None) -> tuple[str, str]:
    """Return the s3:// folder that a photo is in, and its name there.

    Raises:
        PhotoError: as `photo_path`, or 'photo_unreadable': the location is an address of another kind, or of none.
    """
    if folder is None:
        if not _S3.match(location):
            sentence = f"'{location[:200]}' is no address of a photo: write http://, https:// or s3://bucket/name"
            raise PhotoError("photo_unreadable", sentence)
        above, _, name = location.rpartition("/")
        return above, name
    return str(folder), _inside(location).as_posix()


def _inside(location: str) -> PurePath:
    relative = PurePath(location)
    if relative.is_absolute() or ".." in relative.parts or is_remote(location):
        sentence = f"'{location}' leaves the image folder (catalog.images): write a path relative to it, without '..'"
        raise PhotoError("photo_outside_folder", sentence)
    return relative


@lru_cache(maxsize=8)
def _folder(location: str, endpoint: str) -> Outputs:
    return Outputs(location)


def _read_remote(folder: str, name: str, max_megabytes: float, named_by_row: bool) -> bytes:
    try:
        outputs = _folder(folder, endpoint())
        found = outputs.look(name)
        if found is not None:
            _check_bytes(found.size, max_megabytes)
        content = outputs.read(name) if found is not None else None
    except OutputError as error:
        _check_store(folder, named_by_row)
        raise PhotoError("photo_unreadable", str(error), again=True) from None
    if content is None:
        raise PhotoError("photo_missing", f"there is no file '{folder}/{name}'")
    return content


def _check_store(folder: str, named_by_row: bool) -> None:
    """Raise an OutputError where more is wrong than one photo: a folder that a row names may be wrong by itself, one
    that the settings name may not.
    """
    try:
        _folder(folder, endpoint()).check()
    except OutputError as error:
        if not named_by_row or isinstance(error, NoAnswerError):
            raise


def read_photo(location: str, allow_urls: bool, max_megabytes: float, folder: str | Path | None = None) -> bytes:
    """Read a photo's bytes from a path or s3:// address, below `folder`, itself one or the other, where that is set;
    or, where allowed, from an http(s) address.

    Raises:
        PhotoError: 'photo_url_not_allowed', 'photo_unreachable', 'photo_outside_folder', 'photo_missing',
            'photo_unreadable', 'photo_empty' or 'photo_too_many_bytes'.
        OutputError: the object store does not answer, or refuses `folder`: no photo can be read, not just this one.
    """
    if is_url(location):
        if not allow_urls:
            sentence = f"'{location}' is an address and catalog.allow_urls is false: set it to true to fetch photos"
            raise PhotoError("photo_url_not_allowed", sentence)
        return _download(location, max_megabytes)
    if is_remote(location) or (folder is not None and is_remote(str(folder))):
        return _read_remote(*remote_place(location, folder), max_megabytes, named_by_row=folder is None)
    path = photo_path(location, folder)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("photo_unreadable", f"'{path}' is not a file")
        _check_bytes(status.st_size, max_megabytes)
        return path.read_bytes()
    except FileNotFoundError:
        raise PhotoError("photo_missing", f"there is no file '{path}'") from None
    except (OSError, ValueError) as error:
        if isinstance(error, PhotoError):
            raise
        again = isinstance(error, OSError) and error.errno not in _LASTING
        raise PhotoError("photo_unreadable", f"'{location[:200]}' cannot be read: {error}", again) from None


def fetch_photo(
    address: str, hosts: Collection[str], max_megabytes: float, took: Callable[[int], None] = lambda _: None
) -> bytes:
    """Fetch a photo from one of the hosts that are allowed; a redirect stays among them.

    `took` is told how many bytes came, piece by piece, and 0 before the host is asked: a PhotoError of its own ends it.

    Raises:
        PhotoError: 'photo_url_not_allowed', or as `read_photo`.
    """
    if not is_url(address):
        raise PhotoError("photo_url_not_allowed", "the photo's address is no http(s) address")
    return _download(address, max_megabytes, hosts, took)


def _check_bytes(size: int, max_megabytes: float) -> None:
    if size == 0:
        raise PhotoError("photo_empty", "the photo has no bytes")
    if size > max_megabytes * 1_000_000:
        sentence = (
            f"the photo has {size / 1e6:.1f} megabytes, more than preprocess.max_image_megabytes = {max_megabytes}"
        )
        raise PhotoError("photo_too_many_bytes", sentence)


def _check_pixels(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width * height > max_megapixels * 1_000_000:
        sentence = (
            f"the photo has {width} x {height} pixels, more than preprocess.max_image_megapixels = {max_megapixels}"
        )
        raise PhotoError("photo_too_many_pixels", sentence)


def _is_ready(image: Image.Image, size: int, side: int) -> bool:
    # Four bytes a pixel is far above any JPEG: beyond it something else rides behind the photo.
    return (
        image.format == "JPEG"
        and image.mode == "RGB"
        and max(image.size) <= side
        and "progressive" not in image.info
        and size <= 4 * image.width * image.height + 4096
        and "exif" not in image.info
    )


def _upright_rgb(image: Image.Image, side: int) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    elif image.mode in ("P", "PA", "1", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    # In place, and for a JPEG decoded at a fraction of its size at once. The EXIF data stays with the image.
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    # A photo whose EXIF data is unreadable is taken as it stands.
    with contextlib.suppress(*_DAMAGE):
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    peak = 65535.0 if image.mode.startswith("I;16") else float(values.max())
    grey = Image.fromarray((values.clip(0, peak) * (255.0 / max(peak, 1e-9))).astype(np.uint8))
    if "exif" in image.info:
        grey.info["exif"] = image.info["exif"]
    return grey


def _encode(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.info.clear()  # Pillow would carry a comment over
    image.save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


class _KnownHosts(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to the hosts alone that photos may come from; None follows any."""

    def __init__(self, hosts: Collection[str] | None) -> None:
        self.hosts = hosts

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_host(newurl, self.hosts)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_host(address: str, hosts: Collection[str] | None) -> None:
    if hosts is None:
        return
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        host = ""
    if host not in hosts:
        known = ", ".join(sorted(hosts)) or "none"
        raise PhotoError("photo_url_not_allowed", f"photos are not fetched from that host; allowed hosts: {known}")


def _download(
    address: str,
    max_megabytes: float,
    hosts: Collection[str] | None = None,
    took: Callable[[int], None] = lambda _: None,
) -> bytes:
    _check_host(address, hosts)
    opener = urllib.request.OpenerDirector()
    # Named one by one: urllib's default opener would also follow a redirect to ftp.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _KnownHosts(hosts),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        request = urllib.request.Request(_encoded(address), headers={"User-Agent": "rayon", "Accept": "image/*"})
    except ValueError as error:
        raise PhotoError("photo_unreadable", f"'{address[:200]}' is no address: {error}") from None
    failure, pause = "", 0.0
    for _ in range(_URL_TRIES):
        time.sleep(pause)
        took(0)
        try:
            with opener.open(request, timeout=_URL_SECONDS) as answer:
                return _read_bounded(answer, max_megabytes, took)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in _LATER:
                raise PhotoError("photo_missing", f"{address} answered {error.code} {error.reason}") from None
            failure = f"it answered {error.code} {error.reason}"
            pause = _pause(error.headers)
            if pause > _LONGEST_PAUSE:
                break
        except PhotoError:
            raise
        except (OSError, ValueError, urllib.error.URLError, http.client.HTTPException) as error:
            failure = str(error)
    raise PhotoError("photo_unreachable", f"{address} could not be fetched: {failure}", again=True)


def _encoded(address: str) -> str:
    """Return an address as HTTP wants it: what is no ASCII or a space in percent, a host's letters as IDNA."""
    parts = urlsplit(address)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return parts._replace(netloc=host, path=path, query=query, fragment="").geturl()


def _pause(headers: Message) -> float:
    """Return the seconds to wait before asking a host again, which may say how many."""
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else _PAUSE_SECONDS


def _read_bounded(answer: http.client.HTTPResponse, max_megabytes: float, took: Callable[[int], None]) -> bytes:
    """Return a photo's bytes as they come.

    Raises:
        PhotoError: they are none or too many.
        IncompleteRead: fewer came than the host announced, the connection being gone.
        TimeoutError: they take too long.
    """
    bound = int(max_megabytes * 1_000_000)
    deadline = time.monotonic() + 3 * _URL_SECONDS
    pieces: list[bytes] = []
    size = 0
    while piece := answer.read1(1 << 16):
        pieces.append(piece)
        size += len(piece)
        took(len(piece))
        if size > bound:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"more than {3 * _URL_SECONDS:.0f} seconds for one photo")
    announced = answer.headers.get("Content-Length", "")
    # an answer in chunks says itself where it ends; of any other `read1` takes the connection's end for its own
    if size <= bound and not answer.chunked and announced.isdecimal() and size < int(announced):
        raise http.client.IncompleteRead(b"".join(pieces), int(announced) - size)
    _check_bytes(size, max_megabytes)
    return b"".join(pieces)
