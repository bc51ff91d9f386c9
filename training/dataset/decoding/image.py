"""Decodes an untrusted image, and reports what repair will change."""

import io
import shutil
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from training.dataset.decoding.image_looks import look_at_image
from training.dataset.limits import Limits
from training.dataset.report import MediaFacts, Note, UnreadableError

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # numbers of ITU-T H.273
_BY_START = {
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"PK\x03\x04": "a zip",
}
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}
_PAGES = (b"<!doctype html", b"<html")


def what_it_is(head: bytes) -> str | None:
    """Return what kind of file this is if it is not a supported image; None if unknown."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a clip")
    if head.lstrip().lower().startswith(_PAGES):
        return "a web page"
    return next((name for start, name in _BY_START.items() if head.startswith(start)), None)


def hdr_transfer(head: bytes, form: str) -> str | None:
    """Return the name of the HDR transfer function that the file declares, if any.

    Args:
        head: The start of the file.
        form: Pillow's name for the format.
    """
    if form == "AVIF" and (at := head.find(b"colrnclx")) >= 0 and len(head) >= at + 12:
        (transfer,) = struct.unpack_from(">H", head, at + 10)
        return HDR_TRANSFERS.get(transfer)
    if form == "PNG" and (at := head.find(b"cICP")) >= 0 and len(head) >= at + 6:
        return HDR_TRANSFERS.get(head[at + 5])
    return None


EXTENSIONS = {
    "PNG": {".png"},
    "JPEG": {".jpg", ".jpeg"},
    "MPO": {".jpg", ".jpeg"},
    "WEBP": {".webp"},
    "BMP": {".bmp"},
    "AVIF": {".avif"},
}
# The trainer skips these; PNG stores them without loss.
CONVERTIBLE = {"TIFF", "GIF", "PPM", "TGA", "JPEG2000"}
# What Pillow's decoders raise on corrupted files, as observed.
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, TypeError, struct.error)
OPENED = sorted((EXTENSIONS.keys() | CONVERTIBLE) - {"MPO"})  # a JPEG file turns out to be one
COPIED = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg"}
ALPHA_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}
ORIENTATION_TAG = 0x0112
HEAD_BYTES = 64 * 1024
SMALLEST_SIDE = 64  # pixels; the trainer cuts both sides to multiples of 16
PAPER = (255, 255, 255)  # what shows through transparent pixels


def probe_image(path: Path, extension: str, limits: Limits) -> MediaFacts:
    """Decode an image completely and describe it.

    Args:
        path: The unpacked file.
        extension: Extension in the zip, in lower case.
        limits: Bounds on the number of pixels.

    Raises:
        UnreadableError: The image is unusable.
    """
    image, form = open_image(path, limits)
    notes: list[Note] = []
    if form in CONVERTIBLE:
        notes.append(Note(code="converted-type", detail=form))
    elif extension not in EXTENSIONS[form]:
        notes.append(Note(code="wrong-extension", detail=f"is {form}"))
    rgb, changes = upright_rgb(image)
    if min(rgb.size) < SMALLEST_SIDE:
        raise UnreadableError("image-too-small", f"{rgb.width} x {rgb.height}")
    is_copied = form in COPIED and image.mode == "RGB" and not changes
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


def open_image(path: Path, limits: Limits) -> tuple[Image.Image, str]:
    """Open and decode an image; return it with Pillow's name for its format.

    Raises:
        UnreadableError: It is damaged, too large, animated or of an unknown type.
    """
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked below, before anything is decoded
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
        image.load()
    except UnidentifiedImageError as error:
        raise _unidentified(head) from error
    except DAMAGED as error:
        raise UnreadableError("corrupt-image", "breaks off or is damaged") from error
    return image, form


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _unidentified(head: bytes) -> UnreadableError:
    if not head:
        return UnreadableError("corrupt-image", "the file is empty")
    name = what_it_is(head)
    if name is None:
        return UnreadableError("corrupt-image", "holds no picture")
    return UnreadableError("unsupported-type", f"is {name}")


def upright_rgb(image: Image.Image) -> tuple[Image.Image, list[Note]]:
    """Return the image as displayed, in 8-bit sRGB, with notes on what was changed."""
    notes: list[Note] = []
    if image.getexif().get(ORIENTATION_TAG, 1) != 1:
        image = ImageOps.exif_transpose(image)
        notes.append(Note(code="rotated"))
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image, note = _without_alpha(image)
        notes.append(note)
    if profile := image.info.get("icc_profile"):
        image, profile_notes = _to_srgb(image, profile)
        notes += profile_notes
    if image.mode.startswith("I"):  # 16 bits per pixel; convert() alone would clip them
        notes.append(Note(code="sixteen-bit"))
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return image.convert("RGB"), notes


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Note]:
    profile = image.info.get("icc_profile")
    layered = image.convert("RGBA")
    lowest, _ = layered.getchannel("A").getextrema()
    flat = Image.new("RGBA", layered.size, (*PAPER, 255))
    flat.alpha_composite(layered)
    rgb = flat.convert("RGB")
    if profile and image.mode in {"RGBA", "RGBa"}:
        rgb.info["icc_profile"] = profile
    is_opaque = lowest == 255
    return rgb, Note(code="opaque-alpha" if is_opaque else "alpha-channel")


def _to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, list[Note]]:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image, []
        srgb = ImageCms.createProfile("sRGB")  # type: ignore[reportUnknownVariableType]
        target = ImageCms.ImageCmsProfile(srgb)  # type: ignore[reportUnknownArgumentType]
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, [Note(code="colour-profile", detail="a broken one, left out")]
    return converted or image, [Note(code="colour-profile", detail=name)]


PNG_COMPRESSION = 6


def convert_image(source: Path, target: Path, *, is_copied: bool, limits: Limits) -> None:
    """Write `source` to `target`; the bytes are the same on every machine.

    Args:
        source: The unpacked file.
        target: Where the repaired image goes.
        is_copied: Whether the probe found nothing to change.
        limits: Bounds on the number of pixels.
    """
    if is_copied:
        shutil.copyfile(source, target)
        return
    image, _ = open_image(source, limits)
    rgb, _ = upright_rgb(image)
    rgb.info.clear()  # drop stale orientation, gamma and profile
    rgb.save(target, "PNG", compress_level=PNG_COMPRESSION)
