"""Files are named by their first bytes, and only where these are certain."""

import pytest

from training.dataset.file_kinds import file_kind

RIFF = b"RIFF\x24\0\0\0"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
        (b"GIF89a", "a GIF image"),
        (RIFF + b"WEBPVP8 ", "a WebP image"),
        (RIFF + b"AVI LIST", "a clip"),
        (RIFF + b"WAVEfmt ", "a sound file"),
        (b"\0\0\0\x1cftypavif", "an AVIF image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "an AVIF image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42isom", "a clip"),
        (b"\x1aE\xdf\xa3", "a clip"),
        (b"{\\rtf1\\ansi ann1ka}", "an RTF document"),
        (b"\xef\xbb\xbf  <!DOCTYPE HTML>", "a web page"),
        (b"<!-- saved -->\n<html lang='en'>", "a web page"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>", "a web page"),
        (b"<?xml version='1.0'?><svg width='9'>", "an SVG image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG image"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
        (b'{"error": "quota"}', "a JSON file"),
        (b'[\n  {"file": 1}]', "a JSON file"),
    ],
)
def test_a_file_is_named_by_how_it_begins(head: bytes, name: str) -> None:
    kind = file_kind(head)

    assert kind is not None
    assert kind.name == name


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"hello",
        b"[general]\nresolution = 960",
        b"{a|b} ann1ka sits",
        b'{"' + bytes(60),
        b"{\x8a\x01\0\xff",
        b"[\x00\x01",
        b"a page with <html> in its text",
        RIFF + b"ACON",
        b"\x60\xea\x01",
        b"\x1f\x9d\x90",
    ],
)
def test_a_file_that_only_resembles_a_kind_stays_unknown(head: bytes) -> None:
    assert file_kind(head) is None
