"""What the first bytes of an image file tell: HDR, and kinds that are not read here."""

import struct

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
    """Return what a file is that is no image of a known type, None where that is not known."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a clip")
    if head.lstrip().lower().startswith(_PAGES):
        return "a web page"
    return next((name for start, name in _BY_START.items() if head.startswith(start)), None)


def hdr_transfer(head: bytes, form: str) -> str | None:
    """Return the name of an HDR transfer function that the file is marked with, if any.

    Args:
        head: The file's beginning, in which such marks stand.
        form: Pillow's name of the format.
    """
    if form == "AVIF" and (at := head.find(b"colrnclx")) >= 0 and len(head) >= at + 12:
        (transfer,) = struct.unpack_from(">H", head, at + 10)
        return HDR_TRANSFERS.get(transfer)
    if form == "PNG" and (at := head.find(b"cICP")) >= 0 and len(head) >= at + 6:
        return HDR_TRANSFERS.get(head[at + 5])
    return None
