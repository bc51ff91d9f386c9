"""The chart filmed in every format that clips of a dataset may have."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.charts import PATCHES, WIDE_PRIMARIES, Film, film

LIMIT = 3  # levels of 255
SD, HD = 1, 6  # scales: 256 x 192 and 1536 x 1152
_FFV1 = Film(container="matroska", codec="ffv1", options=())
HEVC = Film(codec="libx265", options=(("x265-params", "lossless=1:log-level=0"),))
_PRORES = Film(container="mov", codec="prores_ks", pix_fmt="yuv422p10le", options=())
_DEEP = replace(HEVC, pix_fmt="yuv444p12le")
_RGB = Film(matrix=0, is_full=True, options=())

FILMS: Mapping[str, Film] = {
    "709": Film(),
    "709 full range": Film(pix_fmt="yuvj420p", is_full=True),
    "601, 525 lines": Film(matrix=6),
    "601, 625 lines": Film(matrix=5),
    "601 full range": Film(matrix=6, pix_fmt="yuvj420p", is_full=True),
    "601 primaries": Film(matrix=6, primaries=6),
    "240M": Film(matrix=7),
    "FCC": Film(matrix=4),
    "2020 matrix": Film(matrix=9),
    "422": Film(pix_fmt="yuv422p"),
    "444": Film(pix_fmt="yuv444p"),
    "10 bits": Film(pix_fmt="yuv420p10le"),
    "10 bits full range": Film(pix_fmt="yuv420p10le", is_full=True),
    "HEVC 10 bits": replace(HEVC, pix_fmt="yuv420p10le"),
    "HEVC 12 bits full range": replace(HEVC, pix_fmt="yuv420p12le", is_full=True),
    "2020 SDR": replace(HEVC, pix_fmt="yuv420p10le", matrix=9, primaries=9),
    "Display P3": replace(HEVC, pix_fmt="yuv420p10le", primaries=12),
    "Display P3, sRGB curve": replace(
        HEVC, pix_fmt="yuv420p10le", primaries=12, transfer=13
    ),
    "NTSC of 1953": replace(_DEEP, primaries=4, transfer=4),
    "film": replace(_DEEP, primaries=8),
    "2020 SDR, 240M curve": replace(_DEEP, primaries=9, transfer=7),
    "DCI-P3, gamma 2.8": replace(_DEEP, primaries=11, transfer=5),
    "625 primaries": Film(matrix=5, primaries=5, transfer=5),
    "240M primaries": Film(matrix=7, primaries=7, transfer=7),
    "EBU primaries": Film(primaries=22),
    "DCI-P3": replace(_PRORES, primaries=11),
    "ProRes 422": _PRORES,
    "ProRes 4444": replace(_PRORES, pix_fmt="yuv444p10le", options=(("profile", "4"),)),
    "FFV1 16 bits": replace(_FFV1, pix_fmt="yuv444p16le"),
    "FFV1 full range": replace(_FFV1, is_full=True),
    "FFV1 RGB 10 bits": replace(_FFV1, pix_fmt="gbrp10le", matrix=0, is_full=True),
    "H.264 RGB": replace(_RGB, codec="libx264rgb", pix_fmt="rgb24", options=Film().options),
    "QuickTime RGB": replace(_RGB, container="mov", codec="qtrle", pix_fmt="rgb24"),
    "VP9": Film(container="webm", codec="libvpx-vp9", options=(("lossless", "1"),)),
    "Motion JPEG": Film(
        container="avi", codec="mjpeg", pix_fmt="yuvj420p", matrix=6, is_full=True,
        options=(("qscale", "1"), ("qmin", "1")),
    ),
    "MPEG-2": Film(
        container="mpegts", codec="mpeg2video", fps=25, options=(("qscale", "1"), ("qmin", "1"))
    ),
    "grey": replace(_FFV1, pix_fmt="gray", is_full=True),
    "grey limited": replace(_FFV1, pix_fmt="gray"),
    "grey 10 bits limited": replace(_FFV1, pix_fmt="gray10le"),
    "untagged SD": Film(matrix=None, weights=6),
    "untagged HD": Film(matrix=None, weights=1, scale=HD),
}  # fmt: skip
_ENDINGS = {"matroska": "mkv", "mpegts": "ts"}
WIDE = tuple(name for name, how in FILMS.items() if how.primaries in WIDE_PRIMARIES)


def wanted(name: str) -> NDArray[np.int16]:
    """Return the chart as filmed: [12, 3]."""
    colours = np.array(PATCHES, np.int16)
    if not name.startswith("grey"):
        return colours
    luma = np.round(colours @ np.array([0.2126, 0.7152, 0.0722]))
    return np.repeat(luma[:, None], 3, axis=1).astype(np.int16)


def off(found: NDArray[np.uint8], name: str) -> int:
    """Return by how many levels the worst channel is off."""
    return int(np.abs(found.astype(np.int16) - wanted(name)).max())


def write_films(folder: Path) -> dict[str, Path]:
    """Write a clip of the chart for each format; return the paths by the formats' names."""
    paths: dict[str, Path] = {}
    for number, (name, how) in enumerate(FILMS.items()):
        ending = _ENDINGS.get(how.container, how.container)
        paths[name] = folder / f"{number:02}.{ending}"
        paths[name].write_bytes(film(how))
    return paths
