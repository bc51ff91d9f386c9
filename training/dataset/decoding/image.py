"""Decodes an untrusted image, reports the repairs that it needs, and makes them."""

import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from training.dataset.decoding.image_colours import hdr_transfer, to_srgb
from training.dataset.decoding.image_looks import look_at_image
from training.dataset.file_kinds import file_kind
from training.dataset.limits import Limits
from training.dataset.report import MediaFacts, Note, UnreadableError
from training.wording import count

EXTENSIONS = {
    "PNG": {".png"},
    "JPEG": {".jpg", ".jpeg"},
    "MPO": {".jpg", ".jpeg"},
    "WEBP": {".webp"},
    "BMP": {".bmp"},
    "AVIF": {".avif"},
}
# Pillow's names for formats that the trainer skips. Repair converts them to PNG without loss.
CONVERTIBLE = {"TIFF", "GIF", "PPM", "TGA", "JPEG2000"}
# All errors that Pillow's decoders have been seen to raise on damaged files.
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, TypeError, struct.error)
# MPO is left out: Pillow recognizes MPO files when it opens them as JPEG.
OPENED = sorted((EXTENSIONS.keys() | CONVERTIBLE) - {"MPO"})
COPIED = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg"}
ALPHA_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FLOATING_POINT = 3  # value of TIFF's tag SampleFormat
WHITE_IS_ZERO = 0  # value of TIFF's tag PhotometricInterpretation
PLANES = ("R", "G", "B")
SIXTEEN_BITS = 16
ORIENTATION_TAG = 0x0112
HEAD_BYTES = 64 * 1024
SMALLEST_SIDE = 64  # pixels
PAPER = (255, 255, 255)  # the white that replaces transparent areas


def probe_image(path: Path, extension: str, limits: Limits) -> MediaFacts:
    """Decode an image completely and describe it.

    Args:
        path: The unpacked file.
        extension: The file's extension in the zip, in lower case.
        limits: Bounds on the number of pixels.

    Raises:
        UnreadableError: The image cannot be decoded, or exceeds a limit.
    """
    opened = open_image(path, limits)
    form = opened.form
    notes: list[Note] = []
    if form in CONVERTIBLE:
        notes.append(Note(code="converted-type", detail=form))
    elif extension not in EXTENSIONS[form]:
        notes.append(Note(code="wrong-extension", detail=f"is {form}"))
    rgb, changes = upright_rgb(opened)
    if min(rgb.size) < SMALLEST_SIDE:
        raise UnreadableError("image-too-small", f"{rgb.width} x {rgb.height}")
    is_copied = form in COPIED and opened.image.mode == "RGB" and not changes
    look = look_at_image(rgb)
    return MediaFacts(
        kind="image",
        extension=COPIED[form] if is_copied else ".png",
        width=rgb.width,
        height=rgb.height,
        is_copied=is_copied,
        prints=look.prints,
        notes=(*notes, *changes, *look.notes),
    )


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A decoded image, Pillow's name for its format, and the first bytes of its file."""

    image: Image.Image
    form: str
    head: bytes


def open_image(path: Path, limits: Limits) -> OpenedImage:
    """Open and decode an image.

    Raises:
        UnreadableError: The image is damaged, too large, animated, in HDR, or of a type that cannot
            be used.
    """
    # Turn off Pillow's limit on pixels, because `limits.pixels` is checked below before decoding.
    Image.MAX_IMAGE_PIXELS = None
    head = _head(path)
    try:
        image = Image.open(path, formats=OPENED)
        form = image.format or ""
        if image.width * image.height > limits.pixels:
            raise UnreadableError("image-too-large", f"{image.width} x {image.height}")
        if form != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise UnreadableError("animated-image", form)
        if name := hdr_transfer(head, form):
            raise UnreadableError("hdr", name)
        if kind := _deep_kind(image, form):
            raise UnreadableError("deep-image", kind)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _read_planes_whole(image)
        image.load()
    except UnidentifiedImageError as error:
        raise _unidentified(path, head) from error
    except DAMAGED as error:
        raise UnreadableError("corrupt-image", "breaks off or is damaged") from error
    return OpenedImage(image, form, head)


def _deep_kind(image: Image.Image, form: str) -> str | None:
    """Return a description of pixels whose white level is unknown; None for other pixels."""
    if image.mode == "F":
        return "floating-point pixels"
    # Netpbm and PNG may have mode I too, but their levels have only 16 bits.
    return (
        "integers that are signed or have more than 16 bits"
        if image.mode == "I" and form == "TIFF"
        else None
    )


def _read_planes_whole(image: TiffImagePlugin.TiffImageFile) -> None:
    """Make Pillow read both bytes of 16-bit levels in uncompressed, separately stored channels.

    Pillow 13 takes such levels for 8-bit ones.
    """
    if image.mode != "RGB" or _bits(image) != SIXTEEN_BITS:
        return
    order = "B" if image.tag_v2.prefix == b"MM" else "L"
    image.tile = [
        tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:]))
        if isinstance(tile.args, tuple) and tile.args[0] in PLANES
        else tile
        for tile in image.tile
    ]


def _bits(image: Image.Image) -> int:
    """Return how many bits of an image's 16-bit levels are in use, such as 12."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (SIXTEEN_BITS,)))
    return SIXTEEN_BITS


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _unidentified(path: Path, head: bytes) -> UnreadableError:
    if not head:
        return UnreadableError("corrupt-image", "the file is empty")
    if head.startswith(TIFF_STARTS):
        return UnreadableError("deep-image", _tiff_kind(path))
    kind = file_kind(head)
    if kind is None:
        return UnreadableError("corrupt-image", "holds no picture")
    if kind.use == "image":
        return UnreadableError("corrupt-image", f"is {kind.name} with a damaged header")
    return UnreadableError("unsupported-type", f"is {kind.name}")


def _tiff_kind(path: Path) -> str:
    """Describe the pixels of a TIFF that Pillow cannot decode."""
    try:
        with path.open("rb") as file:
            header = file.read(8)
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
            bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
            kinds = tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
    except DAMAGED:
        return "a TIFF of a kind that cannot be read"
    numbers = "floating-point numbers" if FLOATING_POINT in kinds else "integers"
    return f"TIFF with {count(len(bits), 'channel')} of {max(bits)}-bit {numbers}"


def upright_rgb(opened: OpenedImage) -> tuple[Image.Image, list[Note]]:
    """Return an image as viewers show it, in 8-bit sRGB, and notes on the changes.

    Raises:
        UnreadableError: The image's colours cannot be converted.
    """
    image = opened.image
    notes: list[Note] = []
    if image.getexif().get(ORIENTATION_TAG, 1) != 1:
        image = ImageOps.exif_transpose(image)
        notes.append(Note(code="rotated"))
    if image.mode.startswith("I"):  # 16-bit levels, which convert() would clip to 255
        notes.append(Note(code="sixteen-bit"))
        image = _eight_bits(image, opened.image)
    image, alpha = _layers(image)
    rgb, colour_notes = to_srgb(image, opened.head, opened.form)
    rgb = rgb.convert("RGB")
    if alpha is not None:
        is_opaque = alpha.getextrema()[0] == 255
        notes.append(Note(code="opaque-alpha" if is_opaque else "alpha-channel"))
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, PAPER), alpha)
    return rgb, notes + colour_notes


def _eight_bits(image: Image.Image, stored: Image.Image) -> Image.Image:
    """Scale the levels as `stored` declares them: a TIFF may use 12 bits, or use 0 for white."""
    levels = (np.asarray(image).astype(np.uint32) >> (_bits(stored) - 8)).astype(np.uint8)
    if isinstance(stored, TiffImagePlugin.TiffImageFile) and _is_negative(stored):
        levels = 255 - levels
    narrow = Image.fromarray(levels)
    narrow.info = image.info
    return narrow


def _is_negative(image: TiffImagePlugin.TiffImageFile) -> bool:
    return image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO


def _layers(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return an image's colours and its alpha channel, which is None if the image has none."""
    info = image.info
    if image.mode not in ALPHA_MODES and "transparency" not in info:
        return image, None
    image = image.convert("LA" if image.mode in {"LA", "La", "L", "1"} else "RGBA")
    colours, alpha = image.convert(image.mode[:-1]), image.getchannel("A")
    colours.info = {name: value for name, value in info.items() if name != "transparency"}
    return colours, alpha


PNG_COMPRESSION = 6


def convert_image(source: Path, target: Path, *, is_copied: bool, limits: Limits) -> None:
    """Write the repaired image to `target`, with the same bytes on every machine.

    Args:
        source: The unpacked file.
        target: Path of the repaired image.
        is_copied: Whether to copy the file unchanged, because the probe found nothing to change.
        limits: Bounds on the number of pixels.
    """
    if is_copied:
        shutil.copyfile(source, target)
        return
    rgb, _ = upright_rgb(open_image(source, limits))
    rgb.info.clear()  # orientation, gamma and profile have already been applied
    rgb.save(target, "PNG", compress_level=PNG_COMPRESSION)
