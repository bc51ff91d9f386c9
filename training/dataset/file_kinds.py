"""Recognizes the kind of a file by its first bytes, for files with a wrong extension."""

import re
from dataclasses import dataclass
from typing import Literal

Use = Literal["image", "page", "data", "other"]


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file.

    Attributes:
        name: Its name with an article, such as "a PDF".
        use: "image" if an undamaged file of this kind can be trained on, "page" for a web page,
            "data" for data that programs exchange, "other" for the rest.
    """

    name: str
    use: Use = "other"


_CLIP = FileKind("a clip")
_AVIF, _HEIC = FileKind("an AVIF image", "image"), FileKind("a HEIC image")
_PAGE, _SVG = FileKind("a web page", "page"), FileKind("an SVG image")
_XML, _JSON = FileKind("an XML file", "data"), FileKind("a JSON file", "data")
_BY_START = {
    b"\x89PNG": FileKind("a PNG image", "image"),
    b"\xff\xd8\xff": FileKind("a JPEG image", "image"),
    b"GIF8": FileKind("a GIF image", "image"),
    b"8BPS": FileKind("a Photoshop file"),
    b"%PDF": FileKind("a PDF"),
    b"\xff\x0a": FileKind("a JPEG XL image"),
    b"\0\0\0\x0cJXL ": FileKind("a JPEG XL image"),
    b"PK\x03\x04": FileKind("a zip"),
    b"v/1\x01": FileKind("an OpenEXR image"),
    b"#?RADIANCE": FileKind("a Radiance HDR image"),
    b"\x1aE\xdf\xa3": _CLIP,
    b"version https://git-lfs": FileKind("a Git LFS pointer instead of the file itself"),
    b"\0\x05\x16\x07": FileKind("a macOS file that holds the attributes of another file"),
    b"bplist00": FileKind("an Apple property list, such as a file that is still in iCloud"),
    b"L\0\0\0\x01\x14\x02\0": FileKind("a Windows shortcut"),
    b"d8:announce": FileKind("a torrent"),
    b"MZ": FileKind("a program"),
    b"gimp xcf": FileKind("a GIMP file"),
    b"SQLite format 3": FileKind("a database"),
    b"{\\rtf": FileKind("an RTF document"),
}
_BY_FORM = {  # the form types of RIFF files
    b"WEBP": FileKind("a WebP image", "image"),
    b"AVI ": _CLIP,
    b"WAVE": FileKind("a sound file"),
}
_BY_BRAND = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), _HEIC),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    b"crx ": FileKind("a Canon raw photo"),
}
_LONGEST_PROLOGUE = 1000  # limit on the bytes (such as comments) before a page's first element
_JSON_START = re.compile(rb'\{\s*"|\[\s*[{"]')


def file_kind(head: bytes) -> FileKind | None:
    """Return the kind of a file that begins with `head`; None if it is unknown."""
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"RIFF"):
        return _BY_FORM.get(head[8:12])
    found = next((kind for start, kind in _BY_START.items() if head.startswith(start)), None)
    return found or _by_text(head.removeprefix(b"\xef\xbb\xbf").lstrip())


def _by_brand(head: bytes) -> FileKind:
    brands = head[8 : int.from_bytes(head[:4], "big")]
    is_general = head[8:12] in (b"mif1", b"msf1")  # both HEIC and AVIF files may begin like this
    return _AVIF if is_general and b"avif" in brands else _BY_BRAND.get(head[8:12], _CLIP)


def _by_text(text: bytes) -> FileKind | None:
    if b"\0" in text:
        return None
    if _JSON_START.match(text):
        return _JSON
    start = text[:_LONGEST_PROLOGUE].lower()
    if not start.startswith(b"<"):
        return None
    if start.startswith(b"<!doctype html") or b"<html" in start:
        return _PAGE
    if b"<svg" in start:
        return _SVG
    return _XML if start.startswith(b"<?xml") else None
