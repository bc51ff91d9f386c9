"""Images come out in the colours that they declare, or are refused by name."""

import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.charts import PATCHES, chart, patches
from tests.icc import (
    ADOBE_XYZ,
    P3_XYZ,
    SRGB_XYZ,
    Columns,
    gamma_curve,
    grey_profile,
    rgb_profile,
    srgb_curve,
    with_chunk,
)
from tests.media import image_bytes, write_zip
from training.dataset.inspect import inspect_zip
from training.dataset.original import as_original
from training.dataset.repair import repair
from training.dataset.report import Report
from training.errors import DatasetError

LIMIT = 3  # levels of 255
Pixels = NDArray[np.uint8]
Curve = Callable[[NDArray[np.floating]], NDArray[np.floating]]
P3_POINTS = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SCALE = 2


def linear(levels: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def encoded(light: NDArray[np.floating]) -> NDArray[np.floating]:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def as_light(light: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.clip(light, 0, 1)


def power(gamma: float) -> Curve:
    return lambda light: np.clip(light, 0, 1) ** (1 / gamma)


def stored(columns: Columns = SRGB_XYZ, curve: Curve = encoded) -> Image.Image:
    """Return the chart in the numbers of other primaries and another curve."""
    matrix = np.linalg.solve(np.array(columns).T, np.array(SRGB_XYZ).T)
    light = linear(chart(SCALE) / 255) @ matrix.T
    return Image.fromarray(np.round(curve(light) * 255).astype(np.uint8))


def checked(tmp_path: Path, content: bytes, name: str = "x.png") -> Report:
    return inspect_zip(write_zip(tmp_path / "set.zip", {name: content, "x.txt": b"ann1ka"}))


def seen(tmp_path: Path, report: Report) -> NDArray[np.int16]:
    """Repair the set and return the chart's patches, as the trainer's Pillow reads them."""
    repair(tmp_path / "set.zip", report, tmp_path / "set")
    with Image.open(tmp_path / "set" / report.samples[0].name) as image:
        return patches(np.array(image.convert("RGB"))).astype(np.int16)


LINEAR = rgb_profile("sRGB-elle-V2-g10.icc", SRGB_XYZ, gamma_curve(1.0))
P3 = rgb_profile("Display P3", P3_XYZ, srgb_curve())


def palette() -> bytes:
    return image_bytes(stored(P3_XYZ).quantize(64, dither=Image.Dither.NONE), icc_profile=P3)


def layered() -> bytes:
    image = stored(P3_XYZ)
    image.putalpha(255)
    return image_bytes(image, icc_profile=P3)


def by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    return image_bytes(stored(ADOBE_XYZ, power(563 / 256)), "PNG", exif=exif)


def avif() -> bytes:
    content = image_bytes(stored(P3_XYZ), "AVIF", quality=100, subsampling="4:4:4")
    at = content.index(b"colrnclx") + 8
    return content[:at] + struct.pack(">HH", 12, 13) + content[at + 4 :]


DECLARED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a linear profile called sRGB": (
        "x.png", lambda: image_bytes(stored(curve=as_light), icc_profile=LINEAR)),
    "a P3 profile": ("x.png", lambda: image_bytes(stored(P3_XYZ), icc_profile=P3)),
    "a P3 profile in a palette": ("x.png", palette),
    "a P3 profile beside an alpha channel": ("x.png", layered),
    "a P3 profile in a TIFF": (
        "x.tif", lambda: image_bytes(stored(P3_XYZ), "TIFF", icc_profile=P3)),
    "a curve": ("x.png", lambda: with_chunk(
        image_bytes(stored(curve=as_light)), b"gAMA", struct.pack(">I", 100_000))),
    "primaries": ("x.png", lambda: with_chunk(
        image_bytes(stored(P3_XYZ)), b"cHRM", struct.pack(">8I", *P3_POINTS))),
    "numbers of P3": ("x.png", lambda: with_chunk(
        image_bytes(stored(P3_XYZ)), b"cICP", bytes([12, 13, 0, 1]))),
    "numbers of linear light": ("x.png", lambda: with_chunk(
        image_bytes(stored(curve=as_light)), b"cICP", bytes([1, 8, 0, 1]))),
    "Adobe RGB by Exif": ("x.png", by_exif),
    "P3 in an AVIF": ("x.avif", avif),
}  # fmt: skip


@pytest.mark.parametrize("case", DECLARED)
def test_declared_colours_are_converted(case: str, tmp_path: Path) -> None:
    name, make = DECLARED[case]

    report = checked(tmp_path, make(), name)

    assert "colour-profile" in report.codes()
    # In 8 bits, dark numbers of linear light cannot tell colours apart; AVIF adds its own loss.
    limit = 8 if "linear" in case or case == "a curve" else LIMIT + ("AVIF" in case)
    assert np.abs(seen(tmp_path, report) - np.array(PATCHES)).max() <= limit


@pytest.mark.parametrize(
    "content",
    [
        image_bytes(stored(), icc_profile=rgb_profile("c2", SRGB_XYZ, srgb_curve())),
        with_chunk(image_bytes(stored()), b"gAMA", struct.pack(">I", 45455)),
        with_chunk(image_bytes(stored()), b"cICP", bytes([1, 13, 0, 1])),
    ],
    ids=["profile", "curve", "numbers"],
)
def test_colours_equal_to_srgb_stay_unchanged_under_any_name(
    content: bytes, tmp_path: Path
) -> None:
    report = checked(tmp_path, content)

    assert "colour-profile" not in report.codes()
    assert report.samples[0].is_copied


def test_a_grey_profile_is_used_beside_an_alpha_channel(tmp_path: Path) -> None:
    light = linear(np.full((128, 128), 128 / 255))
    image = Image.fromarray(np.round(light * 255).astype(np.uint8)).convert("LA")
    profile = grey_profile("linear", gamma_curve(1.0))

    report = checked(tmp_path, image_bytes(image, icc_profile=profile))

    assert np.abs(seen(tmp_path, report) - 128).max() <= LIMIT


def test_an_unreadable_profile_is_reported(tmp_path: Path) -> None:
    report = checked(tmp_path, image_bytes(stored(), icc_profile=b"no profile" * 20))

    assert any("a broken profile" in finding.cause for finding in report.findings)


def tiff(pixels: NDArray[np.generic], options: Mapping[str, Any] | None = None) -> bytes:
    buffer = io.BytesIO()
    given: dict[str, Any] = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack"}
    given.update(options or {})
    tifffile.imwrite(buffer, pixels, **given)
    return buffer.getvalue()


GREY = np.linspace(0, 1, 128 * 128).reshape(128, 128)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (tiff((GREY * (2**32 - 1)).astype(np.uint32)), "16 bits"),
        (tiff((GREY * 2**31 - 2**30).astype(np.int32)), "16 bits"),
        (tiff(GREY.astype(np.float32)), "floating-point"),
        (tiff(np.stack([GREY] * 3, axis=-1).astype(np.float32)), "floating-point"),
        (tiff(np.stack([GREY] * 3, axis=-1).astype(np.float16)), "floating-point"),
        (tiff((np.stack([GREY] * 3, axis=-1) * 2**32 - 1).astype(np.uint32)), "32-bit integer"),
        (tiff(GREY.astype(np.float64)), "floating-point"),
    ],
    ids=["uint32", "int32", "float32", "float32 rgb", "float16 rgb", "uint32 rgb", "float64"],
)
def test_pixels_with_an_unknown_white_level_are_refused_by_name(
    content: bytes, kind: str, tmp_path: Path
) -> None:
    errors = {error.code: error.cause for error in checked(tmp_path, content, "x.tif").errors}

    assert kind in errors["deep-image"]


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    grey = np.full((128, 128), 128 * 257, np.uint16)

    report = checked(tmp_path, tiff(grey), "x.tif")

    assert "sixteen-bit" in report.codes()
    assert np.abs(seen(tmp_path, report) - 128).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_of_channels_stored_apart_are_read_whole(order: str, tmp_path: Path) -> None:
    planes = np.moveaxis(chart(SCALE).astype(np.uint16) * 257, -1, 0)
    content = tiff(planes, {"planarconfig": "separate", "byteorder": order})

    report = checked(tmp_path, content, "x.tif")

    assert np.abs(seen(tmp_path, report) - np.array(PATCHES)).max() <= 1


def test_sixteen_bits_with_zero_for_white_are_inverted(tmp_path: Path) -> None:
    grey = np.full((128, 128), 40 * 257, np.uint16)

    report = checked(tmp_path, tiff(grey, {"photometric": "miniswhite"}), "x.tif")

    assert np.abs(seen(tmp_path, report) - 215).max() <= 1


def twelve_bits(side: int, level: int) -> bytes:
    """Return a grey TIFF that packs two levels of 12 bits into three bytes."""
    pixels = ((level << 12 | level).to_bytes(3, "big")) * (side * side // 2)
    tags = ((256, side), (257, side), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1))
    entries = [*tags, (278, side), (279, len(pixels))]
    folder = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    return header + pixels + struct.pack("<H", len(entries)) + folder + bytes(4)


def test_twelve_bits_are_scaled(tmp_path: Path) -> None:
    report = checked(tmp_path, twelve_bits(128, 128 * 16 + 8), "x.tif")

    assert "sixteen-bit" in report.codes()
    assert np.abs(seen(tmp_path, report) - 128).max() <= 1


def test_other_colours_cannot_be_used_as_uploaded(tmp_path: Path) -> None:
    report = checked(tmp_path, image_bytes(stored(P3_XYZ), icc_profile=P3))

    with pytest.raises(DatasetError, match="ignores colour profiles"):
        as_original(report)
