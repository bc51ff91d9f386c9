"""The contact sheet: one image with the samples of a dataset and their captions."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from PIL import Image, ImageDraw, ImageFont

from bot.messages.datasets.report import media_counts
from bot.messages.markdown import ELLIPSIS, one_line
from bot.messages.picture import Picture
from training.dataset.decoding.thumbnail import BOX
from training.dataset.report import Report, Sample
from training.wording import count

# Covers Latin, Greek, Cyrillic, Chinese, Japanese and Korean; other scripts show as boxes.
_FONT = files("noto_cjk_sans_jp_regular") / "NotoSansCJKjp-Regular.otf"
SHEET = "contact-sheet.jpg"
SHEET_LIMIT_BYTES = 1_000_000
MOST_COLUMNS = 4
_GAP = 16
_PADDING = 8
_CAPTION_LINES = 3
_LINE, _SMALL_LINE = 28, 26  # line heights in pixels
_TEXT, _SMALL = 22, 19  # font sizes in pixels
_FOOTER = 36
_LONGEST_TEXT = 400  # longer captions are cut to this many characters before layout
_QUALITIES = (88, 80, 70, 55, 35)
# Colours of Discord's dark theme; readable on the light one too.
_PAPER, _TILE, _STAGE = (30, 31, 34), (43, 45, 49), (18, 19, 21)
_BRIGHT, _DIM = (242, 243, 245), (181, 186, 193)
_REPAIRED, _PILL = (35, 120, 72), (0, 0, 0)
_EDGES = {"error": (218, 55, 60), "warning": (240, 178, 50)}
_TILE_SIZE = (
    BOX[0] + 2 * _PADDING,
    BOX[1] + 4 * _PADDING + _SMALL_LINE + _CAPTION_LINES * _LINE,
)


@dataclass(frozen=True, slots=True)
class _Tile:
    """One sample on the sheet, and the severity of the worst finding about it."""

    sample: Sample
    picture: Image.Image
    severity: str | None


def draw_sheet(report: Report, pictures: Mapping[str, Image.Image]) -> Picture | None:
    """Return a JPEG of at most 1 MB, or None if no sample has a picture.

    Args:
        report: The samples and findings.
        pictures: Pictures, keyed by the sample's path in the zip. The last line of the sheet
            counts the samples without a picture.
    """
    worst = _severities(report)
    tiles = [
        _Tile(sample, pictures[sample.source], worst.get(sample.source))
        for sample in report.samples
        if sample.source in pictures
    ]
    if not tiles:
        return None
    hidden = len(report.samples) - len(tiles)
    sheet = _lay_out(tiles, f"and {hidden} more" if hidden else "")
    return Picture(SHEET, _encoded(sheet), _alt_text(report, tiles))


def _alt_text(report: Report, tiles: list[_Tile]) -> str:
    contents = media_counts(report.totals.images, report.totals.clips)
    shown = f"{len(tiles)} of {contents}" if len(tiles) < len(report.samples) else contents
    facts = [f"Contact sheet: {shown}, with captions."]
    for severity in _EDGES:
        if marked := sum(tile.severity == severity for tile in tiles):
            facts.append(f"{count(marked, 'sample')} with {severity}s.")
    return " ".join(facts)


def _severities(report: Report) -> dict[str, str]:
    # The most severe findings come first.
    worst: dict[str, str] = {}
    for finding in report.findings:
        if finding.severity in _EDGES and not finding.repaired:
            for file in finding.files:
                worst.setdefault(file, finding.severity)
    return worst


def _lay_out(tiles: list[_Tile], footer: str) -> Image.Image:
    columns = 2 if len(tiles) <= 2 else 3 if len(tiles) <= 9 else MOST_COLUMNS
    rows = -(-len(tiles) // columns)
    width, height = _TILE_SIZE
    size = (
        columns * (width + _GAP) + _GAP,
        rows * (height + _GAP) + _GAP + (_FOOTER if footer else 0),
    )
    sheet = Image.new("RGB", size, _PAPER)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        corner = (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP))
        sheet.paste(_draw(tile), corner)
    if footer:
        draw = ImageDraw.Draw(sheet)
        at = (size[0] // 2, size[1] - _FOOTER // 2 - _GAP // 2)
        draw.text(at, footer, _DIM, _font(_TEXT), anchor="mm")
    return sheet


def _draw(tile: _Tile) -> Image.Image:
    image = Image.new("RGB", _TILE_SIZE, _TILE)
    draw = ImageDraw.Draw(image)
    left, top = _PADDING, _PADDING
    draw.rectangle((left, top, left + BOX[0] - 1, top + BOX[1] - 1), _STAGE)
    picture = tile.picture
    centred = (left + (BOX[0] - picture.width) // 2, top + (BOX[1] - picture.height) // 2)
    image.paste(picture, centred)
    _pill(draw, (left + 6, top + BOX[1] - 6), _facts(tile.sample), _PILL)
    if not tile.sample.is_copied:
        _pill(draw, (left + 6, top + 6 + _SMALL_LINE), "repaired", _REPAIRED)
    if tile.severity is not None:
        width = _pill_width(tile.severity)
        corner = (left + BOX[0] - 6 - width, top + 6 + _SMALL_LINE)
        _pill(draw, corner, tile.severity, _PILL)
    _write(draw, tile.sample)
    if tile.severity is not None:
        edge = (0, 0, _TILE_SIZE[0] - 1, _TILE_SIZE[1] - 1)
        draw.rectangle(edge, outline=_EDGES[tile.severity], width=4)
    return image


def _write(draw: ImageDraw.ImageDraw, sample: Sample) -> None:
    """Write the name and caption of a sample below its picture."""
    y = 2 * _PADDING + BOX[1]
    small, font = _font(_SMALL), _font(_TEXT)
    draw.text((_PADDING, y), _fit(sample.name, small), _DIM, small)
    y += _SMALL_LINE
    for line in _lines(sample.caption or "(no caption)", font):
        draw.text((_PADDING, y), line, _BRIGHT if sample.caption else _EDGES["error"], font)
        y += _LINE


def _pill(
    draw: ImageDraw.ImageDraw, bottom_left: tuple[int, int], text: str, fill: tuple[int, int, int]
) -> None:
    font, width = _font(_SMALL), _pill_width(text)
    left, bottom = bottom_left
    box = (left, bottom - _SMALL_LINE, left + width, bottom)
    draw.rounded_rectangle(box, radius=6, fill=fill)
    draw.text((left + width // 2, bottom - _SMALL_LINE // 2), text, _BRIGHT, font, anchor="mm")


def _pill_width(text: str) -> int:
    return round(_font(_SMALL).getlength(text)) + 14


def _facts(sample: Sample) -> str:
    size = f"{sample.width}x{sample.height}"
    return f"{sample.seconds:.1f} s, {size}" if sample.seconds is not None else size


def _lines(text: str, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break a text between words, or anywhere in scripts without spaces."""
    rest = one_line(text[:_LONGEST_TEXT])
    lines: list[str] = []
    while rest and len(lines) < _CAPTION_LINES - 1:
        fits = _fitting(rest, font)
        at = fits
        if fits < len(rest) and " " in rest[: fits + 1]:
            at = rest[: fits + 1].rindex(" ") or fits
        lines.append(rest[:at])
        rest = rest[at:].lstrip()
    return [*lines, _fit(rest, font)] if rest else lines


def _fit(text: str, font: ImageFont.FreeTypeFont) -> str:
    fits = _fitting(text, font)
    return text if fits == len(text) else text[: max(0, fits - 2)].rstrip() + ELLIPSIS


def _fitting(text: str, font: ImageFont.FreeTypeFont) -> int:
    """Return how many characters fit into the width of a tile; at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle]) <= BOX[0]:
            low = middle
        else:
            high = middle - 1
    return low


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Use the basic text layout, so that the same dataset gives the same bytes everywhere: the other
    # layout needs a library that some builds of Pillow lack.
    return ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _encoded(sheet: Image.Image) -> bytes:
    data = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality)
        data = buffer.getvalue()
        if len(data) <= SHEET_LIMIT_BYTES:
            break
    return data
