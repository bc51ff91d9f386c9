"""Decodes the file names of a zip, and infers their encoding if the zip does not state it."""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import chardet

from training.errors import DatasetError
from training.wording import listed

UTF8_NAME = 0x800  # bit of a zip entry's flags: the name is stored as UTF-8
_UNICODE_PATH = 0x7075  # id of Info-ZIP's extra field, which holds the name as UTF-8
_UNICODE_PATH_VERSION = 1

# For each encoding, keyed by its name in chardet: Python's codec, and the display name. In East
# Asian encodings, the second byte of a letter may be that of a backslash. So a path is split into
# folders only after decoding.
_EAST_ASIAN = MappingProxyType(
    {
        "cp932": ("cp932", "Shift-JIS"),
        "gb18030": ("gb18030", "GBK"),
        "big5hkscs": ("cp950", "Big5"),
        "cp949": ("cp949", "EUC-KR"),
        "euc_jis_2004": ("euc_jp", "EUC-JP"),
    }
)
_ALPHABETS = MappingProxyType(
    {
        "cp866": ("cp866", "cp866"),
        "cp1251": ("cp1251", "Windows-1251"),
        "koi8-r": ("koi8_r", "KOI8-R"),
        "cp737": ("cp737", "cp737"),
        "cp1253": ("cp1253", "Windows-1253"),
        "cp862": ("cp862", "cp862"),
        "cp1255": ("cp1255", "Windows-1255"),
        "cp720": ("cp720", "cp720"),
        "cp1256": ("cp1256", "Windows-1256"),
        "cp874": ("cp874", "cp874"),
    }
)
_LATIN = MappingProxyType(  # the order in which encodings that fit equally well are tried
    {
        "cp1252": ("cp1252", "Windows-1252"),
        "cp850": ("cp850", "cp850"),
        "cp437": ("cp437", "cp437"),
        "cp1250": ("cp1250", "Windows-1250"),
        "cp852": ("cp852", "cp852"),
        "cp1254": ("cp1254", "Windows-1254"),
        "cp857": ("cp857", "cp857"),
    }
)
_KNOWN: Mapping[str, tuple[str, str]] = {**_EAST_ASIAN, **_ALPHABETS, **_LATIN}
# Each string holds the letters beyond a-z of one language or of a few related ones. If names are
# decoded correctly, a single string holds all their letters.
_LANGUAGES = (
    *("äöüß", "éèêëàâçîïôûùœæü", "áéíóúñü", "áàâãçéêíóôõúü", "àèéìíòóù", "åäöé", "æøåé"),
    *("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "çğıöşüâîû\u0307"),
    *("ăâîșțşţ", "čćđšž"),
)
_EAST_ASIAN_SCRIPTS = {"CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "FULLWIDTH", "HANGUL"}
# This pattern splits undecoded names into words. None of these bytes is part of a two-byte letter.
_BETWEEN_WORDS = re.compile(rb"[\x00-\x3f]+")
_BOX_DRAWING = re.compile("[\u2500-\u259f]")
_ONLY_AN_EXTENSION = re.compile(r"(?i)(^|[/\\])\.(png|jpe?g|webp|bmp|mp4|mov|mkv|txt|caption)$")
_LETTER_IN_A_WORD = re.compile(r"[a-z][^\x00-\x7f][a-z]")
_QUOTES = "–—’‘“”„…·«»¿¡"  # noqa: RUF001  # people type these in names
# A quote between two letters, or a closing quote before a word. Both are signs of wrong decoding.
_QUOTE_IN_A_WORD = re.compile(
    rf"[^\W\d_][{_QUOTES.replace(chr(0x2019), '')}][^\W\d_]|(?:^|[/\\ ])[\u201d\u00bb]\w"
)
_SIGNS = "～＋＝×→←±"  # noqa: RUF001  # mathematical symbols that people type in names
# Letters that no living language uses, and unassigned code points. A name that contains one of
# them when it is read as UTF-8 is more likely to be in GBK or EUC-JP.
_RARE = re.compile(
    "[\u0180-\u019f\u01b1-\u01cc\u01dd-\u0217\u021c-\u0258\u025a-\u02af\u0370-\u0385\u038b\u038d\u03a2"
    "\u03cf-\u03ff\u0460-\u048f]"
)
# No Thai word begins with a vowel or tone mark that is written after or above a consonant.
_THAI_START = re.compile(r"(?:^|[^\u0e01-\u0e4e])[\u0e30-\u0e3a\u0e45\u0e47-\u0e4e]")
_LENTICULAR = "〖〗"  # the bytes of 〖 in GBK are katakana's long-vowel mark in EUC-JP
_SHOWN_NAMES = 3
NAME_FIX = (
    "Zip the folder again with 7-Zip and its parameter cu=on, or in the macOS Finder. Or rename "
    "the files first, with plain letters and digits, such as 001.png and 001.txt."
)


class UnreadableNamesError(DatasetError):
    """No known encoding fits the file names of the zip."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a zip with its decoded name.

    Attributes:
        encoding: The encoding in which the name was read, such as "GBK"; "" if the zip states the
            encoding, or if it is UTF-8.
    """

    info: zipfile.ZipInfo
    name: str
    encoding: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether the entry is a folder; some Windows programs end such names with a backslash."""
        return self.name.endswith("/") or (self.name.endswith("\\") and self.info.file_size == 0)


def decode_names(infos: Sequence[zipfile.ZipInfo]) -> list[Entry]:
    """Return the zip's entries with decoded names.

    An entry may mark its name as UTF-8, or hold it in a Unicode extra field. All other names must
    be valid UTF-8, or make sense in the same legacy encoding.

    Raises:
        UnreadableNamesError: The other names do not make sense in any one encoding.
    """
    declared = {info: name for info in infos if (name := _declared(info)) is not None}
    unknown = [info for info in infos if info not in declared]
    encoding, names = _inferred([info.orig_filename.encode("cp437") for info in unknown])
    inferred = dict(zip(unknown, names, strict=True))
    return [
        Entry(info, declared[info]) if info in declared else Entry(info, inferred[info], encoding)
        for info in infos
    ]


def _declared(info: zipfile.ZipInfo) -> str | None:
    """Return the name if it is ASCII or the entry states its encoding; else None."""
    if info.flag_bits & UTF8_NAME:
        return info.orig_filename
    # Some tools that write the Unicode field put question marks into the plain name. So the field
    # takes precedence over the plain name.
    if (name := _unicode_path(info.extra, info.orig_filename.encode("cp437"))) is not None:
        return name
    return info.orig_filename if info.orig_filename.isascii() else None


def _unicode_path(extra: bytes, stored: bytes) -> str | None:
    """Return the name in the Unicode extra field; None if no such field matches `stored`."""
    for kind, content in _fields(extra):
        if kind != _UNICODE_PATH or len(content) <= 5:
            continue
        version, checksum = struct.unpack_from("<BI", content)
        if version == _UNICODE_PATH_VERSION and checksum == zlib.crc32(stored):
            try:
                return content[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
    return None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        yield kind, extra[at + 4 : at + 4 + size]
        at += 4 + size


def _inferred(names: Sequence[bytes]) -> tuple[str, list[str]]:
    """Return the encoding's display name ("" for UTF-8) and the decoded file names."""
    # macOS and many scripts store UTF-8 without the flag. Some short names in GBK are valid UTF-8
    # by chance, but as UTF-8 they mix alphabets or have rare letters.
    utf8 = _decoded(names, "utf-8")
    if utf8 is not None and all(_is_unmixed(text) and not _RARE.search(text) for text in utf8):
        return "", utf8
    best = next((key for key in _ranked(names) if _plausible(names, key)), None)
    if best is None and utf8 is not None:
        return "", utf8
    if best is None:
        raise _refused(names)
    if best in _LATIN:
        best = _best_latin(names) or best
    return _KNOWN[best][1], _plausible(names, best) or []


def _best_latin(names: Sequence[bytes]) -> str | None:
    """Return the Latin code page in which all letters belong to one language; None if none fits.

    If several fit, the one that gives the fewest quotation marks and dashes wins.
    """
    plausible = {key: texts for key in _LATIN if (texts := _plausible(names, key))}
    fitting = [key for key in plausible if _is_one_language(plausible[key])]
    return min(fitting, key=lambda key: _quotes(plausible[key]), default=None)


def _ranked(names: Sequence[bytes]) -> list[str]:
    """Return all known encodings, the likeliest first."""
    words = [word for name in names for word in _BETWEEN_WORDS.split(name) if not word.isascii()]
    text = b"\n".join(dict.fromkeys(words))
    found = chardet.detect_all(
        text, ignore_threshold=True, compat_names=False, include_encodings=_KNOWN
    )
    likely = [one["encoding"] for one in found if one["encoding"] in _KNOWN]
    return list(dict.fromkeys([*filter(None, likely), *_KNOWN]))


def _decoded(names: Sequence[bytes], codec: str) -> list[str] | None:
    try:
        return [name.decode(codec) for name in names]
    except UnicodeDecodeError:
        return None


def _plausible(names: Sequence[bytes], key: str) -> list[str] | None:
    """Return the names decoded as `key`; None if any name makes no sense in that encoding."""
    texts = _decoded(names, _KNOWN[key][0])
    if texts is None:
        return None
    is_right = _is_east_asian if key in _EAST_ASIAN else _is_alphabetic
    return texts if all(_is_sound(text) and is_right(text) for text in texts) else None


def _is_sound(text: str) -> bool:
    """Whether a decoded name looks real: visible letters, no box drawing, not just an extension."""
    is_visible = all(letter.isprintable() or letter == "\u3000" for letter in text)
    is_cut = _ONLY_AN_EXTENSION.search(text) is not None
    is_odd = _BOX_DRAWING.search(text) is not None or _THAI_START.search(text) is not None
    return is_visible and not is_cut and not is_odd and _is_unmixed(text)


def _is_unmixed(text: str) -> bool:
    """Whether each word keeps to one alphabet; East Asian letters may stand next to any other."""
    scripts = [_script(letter) for letter in text]
    return all(
        not one or not other or one == other or "EAST ASIAN" in (one, other)
        for one, other in pairwise(scripts)
    )


def _script(letter: str) -> str:
    """Return a letter's script, such as "GREEK" or "EAST ASIAN"; "" for digits and symbols."""
    name = re.split("[ -]", unicodedata.name(letter, ""), maxsplit=1)[0]
    if name == "COMBINING":  # macOS stores a letter and its accent as two characters
        return ""
    if name in _EAST_ASIAN_SCRIPTS:
        return "EAST ASIAN"
    return name if unicodedata.category(letter)[0] in "LM" else ""


def _is_east_asian(text: str) -> bool:
    has_signs = any(unicodedata.category(one) == "Sm" and one not in _SIGNS for one in text)
    # A single non-ASCII letter inside a Latin word is probably a misread accented letter.
    is_cut = _LETTER_IN_A_WORD.search(text)
    opened, closed = map(text.count, _LENTICULAR)
    return not has_signs and is_cut is None and opened == closed


def _is_alphabetic(text: str) -> bool:
    beyond = [letter for letter in text if not letter.isascii()]
    are_letters = all(_script(letter) or letter in _QUOTES for letter in beyond)
    return (
        are_letters
        and _QUOTE_IN_A_WORD.search(text) is None
        and not any(
            one.islower() and other.isupper() and not (one + other).isascii()
            for one, other in pairwise(text)
        )
    )


def _is_one_language(texts: Sequence[str]) -> bool:
    letters = {letter for text in texts for letter in text.lower() if not letter.isascii()}
    return any(letters <= {*language, *_QUOTES} for language in _LANGUAGES)


def _quotes(texts: Sequence[str]) -> int:
    return sum(letter in _QUOTES for text in texts for letter in text)


def _refused(names: Sequence[bytes]) -> UnreadableNamesError:
    shown = [name.decode("ascii", "replace").replace("\ufffd", "?") for name in names]
    return UnreadableNamesError(
        f"The file names in the zip cannot be read: {listed(shown, _SHOWN_NAMES)}. The program "
        "that made it did not store them as Unicode, and no known encoding fits all of them.",
        NAME_FIX,
    )
