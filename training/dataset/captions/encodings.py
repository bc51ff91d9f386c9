"""Decodes the caption files of a dataset; those not in Unicode must share one legacy encoding."""
# ruff: noqa: RUF001  # the letters of many scripts

import codecs
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from training.dataset.captions.code_pages import EAST_ASIAN, LATIN, NAMES, code_page, is_common

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ESCAPED = (  # escape sequences that only these encodings contain
    (b"\x1b$)C", "iso2022_kr", "ISO-2022-KR"),
    (b"\x1b$", "iso2022_jp_2", "ISO-2022-JP"),
    (b"\x1b(", "iso2022_jp_2", "ISO-2022-JP"),
    (b"~{", "hz", "HZ"),
)
UTF16 = "UTF-16"
_REPAIRED = ("UTF-8 with bytes of Windows-1252", "UTF-8, cut off")
# A file counts as damaged UTF-8, and is repaired, if it has at least this many valid bytes outside
# ASCII for each invalid byte.
_MIXED = 2
# A Greek, Cyrillic, Hebrew or Arabic letter next to a Latin one. In real text this is rare: the
# letter's two bytes are probably two letters in a legacy encoding, and valid UTF-8 only by chance.
_TWO_SCRIPTS = re.compile("[A-Za-z][\u0370-\u07ff]|[\u0370-\u07ff][A-Za-z]")
_USUAL = 0.9  # a text counts as UTF-16 if at least this share of its characters is common
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")
# A run of letters and symbols outside ASCII. Western European texts have only short runs.
_RUN = re.compile(r"[\x80-\xffŒœŠšŽžŸƒˆ˜‘-„†-…‰‹›€™–—]+")
_LONGEST_RUN = 3


@dataclass(frozen=True, slots=True)
class Decoded:
    """The text of a caption file.

    Attributes:
        encoding: The encoding's display name, such as "Windows-1252"; None for plain UTF-8.
        is_legible: False if the text makes no sense in any known encoding.
    """

    text: str
    encoding: str | None = None
    is_legible: bool = True


def decode(content: bytes) -> Decoded:
    """Decode a single file."""
    return decode_all({"": content})[""]


def decode_all(contents: Mapping[str, bytes]) -> dict[str, Decoded]:
    """Decode the captions of a dataset together; the result has the same keys."""
    found = {key: _unicode(content) for key, content in contents.items()}
    if any(text is not None and text.encoding == UTF16 for text in found.values()):
        # If one caption of a dataset is UTF-16, try UTF-16 also for short captions, which alone
        # would not be recognized as UTF-16.
        found |= {
            key: read
            for key, text in found.items()
            if (text is None or _is_repaired(text)) and (read := _utf16(contents[key])) is not None
        }
    legacy = {key: _narrowed(contents[key], text) for key, text in found.items()}
    unsure = {key: content for key, content in legacy.items() if content is not None}
    plain = [content for key, content in unsure.items() if not _is_repaired(found[key])]
    encoding = _shared(plain, [*unsure.values()])
    for key, content in unsure.items():
        if encoding is not None and not (encoding in LATIN and _is_repaired(found[key])):
            found[key] = Decoded(content.decode(encoding), NAMES[encoding])
        elif encoding is None and plain:  # no encoding fits all, so no repair can be trusted
            found[key] = Decoded(content.decode("latin-1"), is_legible=False)
    return {key: text for key, text in found.items() if text is not None}


def _shared(plain: Sequence[bytes], unsure: Sequence[bytes]) -> str | None:
    """Return the legacy encoding that the captions of a dataset share; None if there is none.

    `plain` holds the captions that are certainly not UTF-8. `unsure` also holds those that look
    like UTF-8 with a few damaged bytes. Text in an East Asian encoding may look like that by
    chance, but text in a Latin one does not. So a Latin encoding is recognized by the captions in
    `plain` alone.
    """
    common = code_page(unsure)
    if common in EAST_ASIAN or (plain and common is not None and common not in LATIN):
        return common
    return code_page(plain)


def _is_repaired(decoded: Decoded | None) -> bool:
    return decoded is not None and decoded.encoding in _REPAIRED


def _unicode(content: bytes) -> Decoded | None:
    """Return the text if it is stored as Unicode, with a few damaged bytes repaired; else None."""
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return Decoded(content.decode(encoding, errors="replace"), encoding.upper())
    if content.count(0) > len(content) / 4:
        order = "le" if content[1::2].count(0) >= content[::2].count(0) else "be"
        return Decoded(content.decode(f"utf-16-{order}", errors="replace"), UTF16)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        found = _utf16(content) if _CONTROLS.search(content) else None
        return found or _mostly_utf8(content)
    if _CONTROLS.search(content) and (found := _utf16(content)) is not None:
        return found
    return _escaped(content, text) if content.isascii() else _stored_once(text)


def _utf16(content: bytes) -> Decoded | None:
    """Decode UTF-16 without a byte-order mark; None if too few of the characters are common."""
    for order in ("le", "be"):
        try:
            text = content.decode(f"utf-16-{order}")
        except UnicodeDecodeError:
            continue
        usual = sum(map(_is_usual, text))
        if len(text) > 1 and usual >= _USUAL * len(text):
            return Decoded(text, UTF16)
    return None


def _is_usual(letter: str) -> bool:
    """Whether a character is common in European, Thai or East Asian captions."""
    if letter.isascii():
        return letter.isprintable() or letter in "\t\r\n"
    if letter < "\u0600" or "\u0e00" <= letter <= "\u0e5b":
        return letter.isalpha()
    return any(
        is_common(letter, encoding) for encoding in ("gb18030", "big5hkscs", "cp932", "cp949")
    )


def _escaped(content: bytes, text: str) -> Decoded:
    for mark, codec, name in _ESCAPED:
        if mark in content:
            with suppress(UnicodeDecodeError):
                return Decoded(content.decode(codec), name)
    return Decoded(text)


def _stored_once(text: str) -> Decoded:
    """Undo double encoding: UTF-8 that was read as Windows-1252 and saved as UTF-8 again."""
    once = _RUN.sub(lambda run: _as_utf8(run.group()), text)
    return Decoded(once, "UTF-8 stored twice" if once != text else None)


def _as_utf8(run: str) -> str:
    try:
        return b"".join(map(_narrow, run)).decode("utf-8")
    except UnicodeError:
        return run


def _narrowed(content: bytes, decoded: Decoded | None) -> bytes | None:
    """Return the bytes to decode in legacy encodings; None if the text makes sense as Unicode."""
    if decoded is None or _is_repaired(decoded):
        return content
    if decoded.encoding is not None or not _holds_long_run(decoded.text):
        return None
    try:
        return b"".join(map(_narrow, decoded.text))
    except UnicodeEncodeError:
        return None


def _narrow(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")  # Windows-1252 leaves five bytes undefined


def _mostly_utf8(content: bytes) -> Decoded | None:
    """Decode text that is UTF-8 except for a few Windows-1252 bytes or a truncated last character.

    Return None for anything else.
    """
    bad = 0
    pieces: list[str] = []
    rest = content.removeprefix(codecs.BOM_UTF8)
    while rest:
        try:
            pieces.append(rest.decode("utf-8"))
            break
        except UnicodeDecodeError as error:
            pieces.append(rest[: error.start].decode("utf-8"))
            if error.reason == "unexpected end of data":
                break
            bad += 1
            pieces.append(rest[error.start : error.start + 1].decode("cp1252", "replace"))
            rest = rest[error.start + 1 :]
    text = "".join(pieces)
    good = len(text.encode()) - len(text.encode("ascii", "ignore")) - 2 * bad
    if good < _MIXED * max(1, bad) or _TWO_SCRIPTS.search(text):
        return None
    return Decoded(text, _REPAIRED[0] if bad else _REPAIRED[1])


def _holds_long_run(text: str) -> bool:
    return any(
        len(run) > _LONGEST_RUN and len(set(run)) > 1 and any(map(str.isalpha, run))
        for run in _RUN.findall(text)
    )
