"""Converts images to sRGB from the colours that they declare, for example in an ICC profile."""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from training.dataset.report import Note, UnreadableError

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # transfer functions, by their numbers in ITU-T H.273
Floats = NDArray[np.floating[Any]]
Curve = Callable[[Floats], Floats]
Point = tuple[float, float]  # chromaticity: x and y in CIE 1931
Primaries = tuple[Point, Point, Point, Point]  # the xy chromaticities of red, green, blue and white

_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
SRGB: Primaries = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)
_ADOBE: Primaries = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060), _D65)
_PRIMARIES: dict[int, tuple[str, Primaries]] = {
    4: ("NTSC of 1953", ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C)),
    8: ("film", ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C)),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)),
    11: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI)),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)),
}
_XYZ = 10
_ADOBE_GAMMA = 563 / 256
_SRGB_GAMMA, _GAMMA_TOLERANCE = 1 / 2.2, 0.02
_POINT_TOLERANCE = 0.005
_SAME_LEVELS = 2  # levels of 255; sRGB profiles from different vendors differ by at most this
_EXIF_IFD, _INTEROP_IFD, _COLOUR_SPACE, _INTEROP_INDEX = 0x8769, 0xA005, 0xA001, 1
_ADOBE_SPACE, _ADOBE_INDEX = 2, "R03"


def hdr_transfer(head: bytes, form: str) -> str | None:
    """Return the HDR transfer function that an image declares, "PQ" or "HLG"; else None.

    Args:
        head: The first bytes of the file.
        form: Pillow's name for the format.
    """
    declared = _declared_numbers(head, form)
    return HDR_TRANSFERS.get(declared[1]) if declared else None


def _declared_numbers(head: bytes, form: str) -> tuple[int, int] | None:
    """Return the H.273 numbers of the primaries and the transfer function; None if undeclared."""
    if form == "AVIF" and (at := head.find(b"colrnclx")) >= 0 and len(head) >= at + 12:
        primaries, transfer = struct.unpack_from(">HH", head, at + 8)
        return primaries, transfer
    if form == "PNG" and (at := head.find(b"cICP")) >= 0 and len(head) >= at + 6:
        return head[at + 4], head[at + 5]
    return None


@dataclass(frozen=True, slots=True)
class _Colours:
    """Declared colours other than sRGB; `to_linear` converts levels (0 to 1) to linear light."""

    name: str
    primaries: Primaries
    to_linear: Curve


def to_srgb(image: Image.Image, head: bytes, form: str) -> tuple[Image.Image, list[Note]]:
    """Return the image converted to sRGB, with a note if it was in another colour space.

    Args:
        image: An image with 8 bits per channel, in any mode without alpha.
        head: The first bytes of its file.
        form: Pillow's name for the format.

    Raises:
        UnreadableError: The image declares a colour space that cannot be converted.
    """
    if image.mode == "LAB":
        converted = ImageCms.profileToProfile(
            image, _made("LAB"), _srgb_profile(), outputMode="RGB"
        )
        return converted or image, [Note(code="colour-profile", detail="Lab")]
    numbers = _declared_numbers(head, form)
    # In a PNG, these numbers take precedence over a profile; in other formats, the profile does.
    if form == "PNG" and numbers is not None:
        return _converted(image, _by_numbers(*numbers))
    if profile := image.info.get("icc_profile"):
        return _by_profile(image, profile)
    if numbers is not None:
        return _converted(image, _by_numbers(*numbers))
    return _converted(image, _by_chunks(image) or _by_exif(image))


def _by_numbers(primaries: int, transfer: int) -> _Colours | None:
    if transfer not in _CURVES:
        raise UnreadableError("strange-image-colours", f"transfer function {transfer}")
    if primaries == _XYZ:
        raise UnreadableError("strange-image-colours", "CIE XYZ")
    name, points = _PRIMARIES.get(primaries, ("linear light", SRGB))
    if points == SRGB and transfer in _DISPLAY_CURVES:
        return None
    return _Colours(name, points, _CURVES[transfer])


def _by_chunks(image: Image.Image) -> _Colours | None:
    """Return the colours that a PNG's gAMA and cHRM chunks declare; None for sRGB."""
    if "srgb" in image.info:
        return None
    gamma = image.info.get("gamma") or _SRGB_GAMMA
    points = _points(image.info.get("chromaticity"))
    is_usual = abs(gamma - _SRGB_GAMMA) <= _GAMMA_TOLERANCE
    if is_usual and points == SRGB:
        return None
    return _Colours(
        f"gamma {1 / gamma:.2g}" if points == SRGB else "unusual primary colours",
        points,
        _srgb_to_linear if is_usual else lambda levels: levels ** (1 / gamma),
    )


def _points(chromaticity: tuple[float, ...] | None) -> Primaries:
    if chromaticity is None:
        return SRGB
    wx, wy, rx, ry, gx, gy, bx, by = chromaticity
    found: Primaries = ((rx, ry), (gx, gy), (bx, by), (wx, wy))
    apart = np.abs(np.array(found) - np.array(SRGB)).max()
    is_possible = min(point[1] for point in found) > 0
    return found if apart > _POINT_TOLERANCE and is_possible else SRGB


def _by_exif(image: Image.Image) -> _Colours | None:
    """Return Adobe RGB if the Exif data declare it, as cameras do (DCF 2.0); else None."""
    exif = image.getexif()
    space = exif.get_ifd(_EXIF_IFD).get(_COLOUR_SPACE)
    index = str(exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX, "")).strip("\0 ")
    if space != _ADOBE_SPACE and index != _ADOBE_INDEX:
        return None
    return _Colours("Adobe RGB", _ADOBE, lambda levels: levels**_ADOBE_GAMMA)


def _converted(image: Image.Image, colours: _Colours | None) -> tuple[Image.Image, list[Note]]:
    if colours is None:
        return image, []
    levels = np.asarray(image.convert("RGB"), np.float64) / 255
    linear = colours.to_linear(levels) @ _matrix(colours.primaries).T
    pixels = np.round(_linear_to_srgb(np.clip(linear, 0, 1)) * 255).astype(np.uint8)
    return Image.fromarray(pixels), [Note(code="colour-profile", detail=colours.name)]


def _matrix(primaries: Primaries) -> Floats:
    """Return the matrix [3, 3] from linear RGB of these primaries to linear sRGB."""
    before, after = _xyz(primaries[3]), _xyz(SRGB[3])
    # Bradford's matrix for chromatic adaptation, from ICC.1:2022, annex E.
    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    adapt = np.linalg.solve(cone, np.diag((cone @ after) / (cone @ before)) @ cone)
    return np.linalg.solve(_to_xyz(SRGB), adapt @ _to_xyz(primaries))


def _to_xyz(primaries: Primaries) -> Floats:
    columns = np.array([_xyz(point) for point in primaries[:3]]).T
    return columns * np.linalg.solve(columns, _xyz(primaries[3]))


def _xyz(point: Point) -> Floats:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _srgb_to_linear(levels: Floats) -> Floats:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _linear_to_srgb(light: Floats) -> Floats:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


# Viewers treat these transfer functions, including those of video, like sRGB's, and so does this
# module.
_DISPLAY_CURVES = (0, 1, 2, 3, 6, 11, 12, 13, 14, 15)
_CURVES: dict[int, Curve] = {
    **dict.fromkeys(_DISPLAY_CURVES, _srgb_to_linear),
    4: lambda levels: levels**2.2,
    5: lambda levels: levels**2.8,
    8: lambda levels: levels,
}


def _by_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[Note]]:
    """Convert an image to sRGB by the data in its ICC profile; the profile's name is ignored."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        colours = image.convert("RGB") if image.mode == "P" else image
        if colours.mode == "RGB" and _is_srgb(source):
            return colours, []
        converted = ImageCms.profileToProfile(colours, source, _srgb_profile(), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, [Note(code="colour-profile", detail="a broken profile, left out")]
    return converted or image, [Note(code="colour-profile", detail=name)]


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    seen = ImageCms.profileToProfile(
        Image.fromarray(grid), profile, _srgb_profile(), outputMode="RGB"
    )
    change = np.asarray(seen).astype(np.int16) - grid
    return int(np.abs(change).max()) <= _SAME_LEVELS


@cache
def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return _made("sRGB")


def _made(space: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    made = ImageCms.createProfile(space)  # type: ignore[reportUnknownVariableType]
    return ImageCms.ImageCmsProfile(made)  # type: ignore[reportUnknownArgumentType]
