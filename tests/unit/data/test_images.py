from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayon.data.images import PhotoError, decode_square, normalise_photo, read_photo


def normalise(raw: bytes, side: int = 32, max_megapixels: float = 64.0, max_megabytes: float = 32.0) -> bytes:
    return normalise_photo(raw, side, 90, max_megapixels, max_megabytes)


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def near(pixel: object, colour: tuple[int, int, int], within: int = 6) -> bool:
    return bool(np.abs(np.array(pixel, dtype=int) - np.array(colour)).max() <= within)


def test_longest_side_is_bounded_and_the_shape_is_kept(make_photo):
    assert opened(normalise(make_photo((400, 200)))).size == (32, 16)


def test_a_small_photo_is_never_enlarged(make_photo):
    assert opened(normalise(make_photo((20, 10), kind="PNG"))).size == (20, 10)


def test_a_ready_jpeg_is_returned_byte_for_byte(make_photo):
    raw = make_photo((32, 20))
    assert normalise(raw) == raw


def test_a_small_jpeg_with_a_megabyte_behind_it_is_encoded_again(make_photo):
    assert len(normalise(make_photo((32, 20)) + bytes(1_000_000))) < 5_000


def test_exif_orientation_is_applied_and_metadata_left_behind(make_photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = opened(normalise(make_photo((30, 20), exif=exif, comment=b"private")))
    assert image.size == (20, 30)
    assert not image.getexif() and "comment" not in image.info


def test_a_grey_photo_of_16_bits_is_turned_too(make_photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(normalise(make_photo((30, 20), 0x8000, "I;16", "PNG", exif=exif))).size == (20, 30)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_photo_with_unreadable_exif_is_taken_as_it_stands(make_photo):
    raw = make_photo((30, 20), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    assert opened(normalise(raw)).size == (30, 20)


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("RGBA", (0, 0, 255, 0), "PNG", (255, 255, 255)),
        ("RGBA", (0, 0, 255, 255), "WEBP", (0, 0, 255)),
        ("LA", (0, 0), "PNG", (255, 255, 255)),
        ("L", 100, "TIFF", (100, 100, 100)),
        ("1", 1, "BMP", (255, 255, 255)),
        ("CMYK", (0, 0, 0, 0), "JPEG", (255, 255, 255)),
        ("I;16", 0x8000, "PNG", (128, 128, 128)),
        ("F", 0.25, "TIFF", (255, 255, 255)),
    ],
)
def test_every_pixel_mode_becomes_rgb_over_white(make_photo, mode, colour, kind, expected):
    image = opened(normalise(make_photo((40, 40), colour, mode, kind)))
    assert near(image.getpixel((10, 10)), expected)


def test_a_palette_photo_keeps_its_colours():
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50), (10, 200, 90)).quantize(8).save(buffer, "PNG")
    assert near(opened(normalise(buffer.getvalue())).getpixel((5, 5)), (10, 200, 90))


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (50, 50), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert near(opened(normalise(buffer.getvalue())).getpixel((5, 5)), (255, 0, 0))


def test_the_same_bytes_give_the_same_bytes(make_photo):
    raw = make_photo((300, 200), kind="PNG")
    assert normalise(raw) == normalise(raw)


def test_a_photo_of_400_megapixels_is_refused_without_decoding(huge_png):
    # Its pixel data is rubbish: had anything been decoded, the reason would be another one.
    with pytest.raises(PhotoError) as refusal:
        normalise(huge_png)
    assert refusal.value.reason == "photo_too_many_pixels"


def test_the_pixel_bound_is_the_configured_one(make_photo):
    raw = make_photo((200, 100), kind="PNG")
    with pytest.raises(PhotoError, match=r"200 x 100 pixels.*max_image_megapixels = 0\.01"):
        normalise(raw, max_megapixels=0.01)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_photo_cut_short_is_refused(make_photo, kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, kind)
    with pytest.raises(PhotoError) as refusal:
        normalise(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert refusal.value.reason in ("photo_damaged", "photo_unknown_format")


def test_a_ready_jpeg_is_decoded_to_its_end_before_it_is_kept():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG")
    with pytest.raises(PhotoError) as refusal:
        normalise(buffer.getvalue()[:-400])
    assert refusal.value.reason == "photo_damaged"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"", "photo_empty"), (b"<html>404</html>", "photo_unknown_format"), (b"%!PS-Adobe-3.0", "photo_unknown_format")],
)
def test_what_is_no_photo_is_refused_with_its_reason(raw, reason):
    with pytest.raises(PhotoError) as refusal:
        normalise(raw)
    assert refusal.value.reason == reason


def test_too_many_bytes_are_refused(make_photo):
    with pytest.raises(PhotoError, match="max_image_megabytes"):
        normalise(make_photo(), max_megabytes=0.0001)


def test_decode_square_gives_a_stretched_square(make_photo):
    pixels = decode_square(make_photo((640, 100), (10, 20, 30)), 64)
    assert pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
    assert near(pixels[32, 32], (10, 20, 30))


def test_decode_square_refuses_damaged_bytes():
    with pytest.raises(PhotoError):
        decode_square(b"\xff\xd8\xff nothing", 64)


def test_a_path_is_read_below_the_folder(tmp_path: Path, make_photo):
    (tmp_path / "a.jpg").write_bytes(make_photo())
    assert read_photo("a.jpg", False, 1.0, tmp_path) == make_photo()
    assert read_photo(str(tmp_path / "a.jpg"), False, 1.0) == make_photo()


@pytest.mark.parametrize("location", ["../secret.jpg", "a/../../secret.jpg", "{root}/secret.jpg"])
def test_a_path_cannot_leave_the_folder(tmp_path: Path, make_photo, location):
    (tmp_path / "secret.jpg").write_bytes(make_photo())
    (tmp_path / "images" / "a").mkdir(parents=True)
    with pytest.raises(PhotoError) as refusal:
        read_photo(location.format(root=tmp_path), False, 1.0, tmp_path / "images")
    assert refusal.value.reason == "photo_outside_folder"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("gone.jpg", "photo_missing"),
        ("folder", "photo_unreadable"),
        ("nul\x00.jpg", "photo_unreadable"),
        ("x" * 5000, "photo_unreadable"),
        ("empty.jpg", "photo_empty"),
        ("http://127.0.0.1:9/a.jpg", "photo_url_not_allowed"),
    ],
)
def test_a_location_that_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, location, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(PhotoError) as refusal:
        read_photo(location, False, 1.0, tmp_path)
    assert refusal.value.reason == reason


@pytest.fixture
def asked() -> list[str]:
    """What the server was asked for."""
    return []


@pytest.fixture
def photo_server(make_photo, asked) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = {"/a.jpg": (200, make_photo()), "/big.jpg": (200, bytes(300_000)), "/sick.jpg": (503, b"later")}
            status, body = found.get(self.path, (200 if self.path.startswith("/cut") else 404, b"no"))
            if self.path == "/elsewhere.jpg":
                status = 302
            code, _, seconds = self.path[1:].partition("/")  # /429/1: that answer, and its Retry-After
            if code.isdecimal():
                status = 200 if "once" in seconds and asked.count(self.path) > 1 else int(code)
            self.send_response(status)
            self.send_header("Location", "ftp://127.0.0.1/a.jpg")
            if code == "cut":  # /cut/always, /cut/once: the connection goes before the photo is whole
                self.send_header("Content-Length", str(len(make_photo())))
                body = make_photo() if "once" in seconds and asked.count(self.path) > 1 else make_photo()[:100]
            if seconds:
                self.send_header("Retry-After", seconds.removesuffix("once"))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_fetched_where_allowed(photo_server, make_photo):
    assert read_photo(f"{photo_server}/a.jpg", True, 0.1) == make_photo()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("big.jpg", "photo_too_many_bytes"),
        ("gone.jpg", "photo_missing"),
        ("sick.jpg", "photo_unreachable"),
        ("elsewhere.jpg", "photo_missing"),
    ],
)
def test_an_address_that_gives_no_photo_is_refused_with_its_reason(photo_server, name, reason):
    with pytest.raises(PhotoError) as refusal:
        read_photo(f"{photo_server}/{name}", True, 0.1)
    assert refusal.value.reason == reason


def test_an_address_that_nobody_answers_is_unreachable():
    with pytest.raises(PhotoError) as refusal:
        read_photo("http://127.0.0.1:9/a.jpg", True, 0.1)
    assert refusal.value.reason == "photo_unreachable"


@pytest.mark.parametrize(
    ("name", "tries"), [("429/0", 2), ("408/0", 2), ("425/0", 2), ("429/soon", 2), ("429/3600", 1), ("503/3600", 1)]
)
def test_a_host_that_asks_for_time_is_unreachable_for_now(photo_server, asked, name, tries):
    with pytest.raises(PhotoError) as refusal:
        read_photo(f"{photo_server}/{name}", True, 0.1)
    assert refusal.value.reason == "photo_unreachable" and len(asked) == tries


def test_a_photo_that_was_cut_in_transfer_is_fetched_again(photo_server, asked, make_photo):
    assert read_photo(f"{photo_server}/cut/once", True, 0.1) == make_photo() and len(asked) == 2
    with pytest.raises(PhotoError, match="100 bytes read") as refusal:
        read_photo(f"{photo_server}/cut/always", True, 0.1)
    assert refusal.value.reason == "photo_unreachable" and len(asked) == 4


def test_a_host_that_asks_for_a_moment_is_asked_again(photo_server, asked):
    assert read_photo(f"{photo_server}/429/0once", True, 0.1) == b"no" and len(asked) == 2


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/été.jpg", "/%C3%A9t%C3%A9.jpg"),
        ("/grand lit.jpg?côté=à gauche#là", "/grand%20lit.jpg?c%C3%B4t%C3%A9=%C3%A0%20gauche"),
        ("/d%C3%A9j%C3%A0+(1),a.jpg?w=1&h=2", "/d%C3%A9j%C3%A0+(1),a.jpg?w=1&h=2"),
    ],
)
def test_an_address_is_written_as_hosts_know_it(photo_server, asked, location, path):
    with pytest.raises(PhotoError, match="answered 404"):
        read_photo(photo_server + location, True, 0.1)
    assert asked == [path]


def test_a_host_with_accents_is_asked_by_its_other_name(photo_server, asked, monkeypatch):
    monkeypatch.setenv("http_proxy", photo_server)  # sees what host is asked for
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(PhotoError, match=r"http://bücher\.example/é\.jpg answered 404"):
        read_photo("http://bücher.example/é.jpg", True, 0.1)
    assert asked == ["http://xn--bcher-kva.example/%C3%A9.jpg"]


@pytest.mark.parametrize(
    "address", ["http://[::1/a.jpg", f"http://{'é' * 70}.example/a.jpg", "http://x.example/\ud800"]
)
def test_an_address_that_is_none_is_a_sentence(address):
    with pytest.raises(PhotoError, match="is no address") as refusal:
        read_photo(address, True, 0.1)
    assert refusal.value.reason == "photo_unreadable"
