"""Chooses the legacy (non-Unicode) encoding that fits all captions of a dataset."""
# ruff: noqa: RUF001  # the letters of many scripts

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import groupby, pairwise

import chardet

# Each encoding's name in chardet, and its display name. ISO 8859-1 and -9 are missing,
# because Windows-1252 and -1254 contain them. The order of the Latin encodings matters for short
# texts, on which statistics fail: the first that fits is chosen.
_EAST_ASIAN = {
    "cp932": "Shift-JIS",
    "euc_jis_2004": "EUC-JP",
    "gb18030": "GBK",
    "big5hkscs": "Big5",
    "cp949": "EUC-KR",
    "johab": "Johab",
}
_LATIN = {
    **{f"cp{number}": f"Windows-{number}" for number in (1252, 1250, 1254, 1257)},
    "mac-roman": "Mac Roman",
    **{f"cp{number}": f"DOS {number}" for number in (850, 437, 852, 857, 865)},
    **{f"iso8859-{part}": f"ISO 8859-{part}" for part in (15, 2, 16, 13)},
    "mac-latin2": "Mac Central European",
    "mac-turkish": "Mac Turkish",
    **{f"cp{number}": f"DOS {number}" for number in (860, 861)},
}
_CYRILLIC = {
    "cp1251": "Windows-1251",
    "koi8-r": "KOI8-R",
    "koi8-u": "KOI8-U",
    "cp866": "DOS 866",
    "iso8859-5": "ISO 8859-5",
    "mac-cyrillic": "Mac Cyrillic",
}
_OTHERS = {
    **{f"cp{number}": f"Windows-{number}" for number in (1253, 1255, 1256, 874)},
    **{f"cp{number}": f"DOS {number}" for number in (737, 862, 720)},
    **{f"iso8859-{part}": f"ISO 8859-{part}" for part in (6, 7, 8)},
    "mac-greek": "Mac Greek",
}
NAMES = {**_EAST_ASIAN, **_LATIN, **_CYRILLIC, **_OTHERS}
LATIN, EAST_ASIAN = frozenset(_LATIN), frozenset(_EAST_ASIAN)
_READ_BYTES = 64 * 1024
_ALL, _ONE = 0.85, 0.6  # smallest share of common characters in all captions together, and in each
_FEWEST_KANA = 0.1  # smallest share of kana among the non-ASCII characters of Japanese text
# The letters beyond a-z of languages that are written in Latin letters, a string for each language,
# grouped by the code pages that contain them.
_WEST = (
    *("äöüß", "éèêëàâçîïôûùœæüÿ", "áéíóúñüªº", "áàâãçéêíóôõúüªº", "àèéìíòóùî", "åäöéü", "æøåéäö"),
    *("áðéíóúýþæö", "àçèéíïòóúü", "ëïéèöüóáê", "äöõüšž"),
)
_CENTRE = (
    *("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîșțşţ", "čćđšž", "äöüß"),
)
# If Turkish text is read as Western European, three of its letters become the Icelandic ð, ý and þ.
# Real Icelandic text has other accented letters, too.
_SHARED_WITH_TURKISH, _ONLY_ICELANDIC = frozenset("ðýþ"), frozenset("áéíóúæ")
_TURKEY = ("çğıöşüâîû\u0307",)
_BALTIC = ("äöõüšž", "āčēģīķļņšūž", "ąčęėįšųūž")
_SPOKEN = {
    **dict.fromkeys(("cp1250", "cp852", "iso8859-2", "iso8859-16", "mac-latin2"), _CENTRE),
    **dict.fromkeys(("cp1254", "cp857", "mac-turkish"), _TURKEY),
    **dict.fromkeys(("cp1257", "iso8859-13"), _BALTIC),
}
# These numbers are added to chardet's confidence, so that the most common encodings win where
# chardet is unsure: its confidence is about 0.1 for short texts with few accents.
_FAVOUR = {"cp1252": 0.1, "cp1250": 0.02, "cp1254": 0.02, "mac-roman": 0.02}
_IN_WORDS, _BEHIND_WORDS = "’–—…®™©", "²³°"
_AT_WORDS = "‘“”„‚«»‹›¿¡·°€£¥×"
_BOX_OR_CONTROL = re.compile("[\x7f-\x9f\u2500-\u25ff]")
_ACCENTED = re.compile(r"\S*[^\x00-\x7f]\S*")
_BARE_MARKS = re.compile(r"[a-z][‚„¸¨¯]|[^\W\d_][ªº][^\W\d_]", re.IGNORECASE)
# A run of letters and symbols outside ASCII. Texts in Latin letters have only short runs.
_RUN = re.compile(r"[^\x00-\x7f\s“”‘’«»„–—…·¡¿]+")
_LONGEST_RUN = 3


def code_page(contents: Sequence[bytes]) -> str | None:
    """Return Python's name for the encoding that fits all contents; None if none does."""
    if not contents:
        return None
    guesses = chardet.detect_all(
        b"\n".join(contents)[:_READ_BYTES],
        ignore_threshold=True,
        compat_names=False,
        include_encodings=NAMES,
    )
    sure = {guess["encoding"]: guess["confidence"] for guess in guesses if guess["encoding"]}
    likeliest = sorted(
        dict.fromkeys([*sure, *NAMES]),
        key=lambda name: sure.get(name, 0.0) + _FAVOUR.get(name, 0.0),
        reverse=True,
    )
    latin: str | None = None
    for name in likeliest:
        if (latin is not None and name not in LATIN) or not (texts := _plausible(contents, name)):
            continue
        if name not in LATIN or _is_one_language(texts, name):
            return name
        latin = latin or name
    return latin


def _texts(contents: Sequence[bytes], encoding: str) -> list[str]:
    """Return the decoded contents; [] if any of them cannot be decoded."""
    try:
        return [content.decode(encoding) for content in contents]
    except UnicodeDecodeError:
        return []


def _plausible(contents: Sequence[bytes], encoding: str) -> list[str]:
    """Return the decoded contents if all make sense in this encoding; else []."""
    texts = _texts(contents, encoding)
    if any(_BOX_OR_CONTROL.search(text) for text in texts):
        return []
    if encoding in LATIN:
        words = {word for text in texts for word in _ACCENTED.findall(text)}
        return texts if all(map(_is_latin, words)) else []
    is_right = texts and _is_likely(texts, encoding) and _has_kana(texts, encoding)
    return texts if is_right else []


def _is_latin(word: str) -> bool:
    """Whether a word has only Latin letters, and accents and symbols only in usual places."""
    scripts = {_script(letter) for letter in word if letter.isalpha() and not letter.isascii()}
    return (
        scripts <= {"LATIN", "FEMININE", "MASCULINE", "MICRO"}
        and not _holds_long_run(word)
        and not _BARE_MARKS.search(word)
        and not any(_is_swapped(a, b) for a, b in pairwise(word))
        and not any(map(_is_wrong, f" {word}", word, f"{word[1:]} "))
    )


def _holds_long_run(text: str) -> bool:
    """Whether a word has a non-ASCII run that is too long or too odd for Latin text."""
    return any(
        (len(run) > _LONGEST_RUN and len(set(run)) > 1) or _is_of_symbols(run)
        for run in _RUN.findall(text)
    )


def _is_of_symbols(run: str) -> bool:
    return any(
        unicodedata.category(a)[0] == unicodedata.category(b)[0] == "S" and a != b
        for a, b in pairwise(run)
    )


def _is_swapped(first: str, second: str) -> bool:
    """Whether a lower-case letter is followed by a capital with an accent, as in "eÉ"."""
    return first.islower() and second.isupper() and not second.isascii()


def _is_wrong(before: str, letter: str, after: str) -> bool:
    """Whether `letter` is outside ASCII and cannot stand between `before` and `after`."""
    if letter.isascii():
        return False
    if letter.isalpha():
        return before.isupper() and letter.isupper() and after.islower()
    if letter in _IN_WORDS or unicodedata.category(letter)[0] == "Z":
        return False
    if before.isalpha() and after.isalpha():
        return (before + letter + after).lower() != "l·l"
    return letter not in _AT_WORDS and (
        after.isalpha() or (before.isalpha() and letter not in _BEHIND_WORDS)
    )


def _is_one_language(texts: Sequence[str], encoding: str) -> bool:
    used = {letter for text in texts for letter in {*text.lower()}}
    letters = {letter for letter in used if letter.isalpha() and not letter.isascii()}
    if encoding == "cp1252" and letters & _SHARED_WITH_TURKISH and not letters & _ONLY_ICELANDIC:
        return False
    return any(letters <= {*language, "µ"} for language in _SPOKEN.get(encoding, _WEST))


def _is_likely(texts: Sequence[str], encoding: str) -> bool:
    kinds = [_likely(text, encoding) for text in texts]
    likely, letters = (sum(column) for column in zip(*kinds, strict=True))
    return likely >= _ALL * max(1, letters) and all(some >= _ONE * of for some, of in kinds if of)


def _has_kana(texts: Sequence[str], encoding: str) -> bool:
    """Whether texts have enough kana to be Japanese rather than misread Chinese.

    For encodings of other languages, the answer is always True.
    """
    if encoding not in ("cp932", "euc_jis_2004"):
        return True
    wide = [letter for text in texts for letter in text if not letter.isascii()]
    kana = sum("\u3041" <= letter <= "\u30ff" for letter in wide)
    return kana >= _FEWEST_KANA * len(wide)


def _likely(text: str, encoding: str) -> tuple[int, int]:
    """Return how many non-ASCII characters of a text are common, and how many it has in all.

    Signs of a wrong encoding lower the first number.
    """
    wide = [letter for letter in text if not letter.isascii() and not letter.isspace()]
    if encoding in _EAST_ASIAN:
        return sum(is_common(letter, encoding) for letter in wide), len(wide)
    script = "CYRILLIC" if encoding in _CYRILLIC else _SCRIPTS[encoding]
    # Single letters do not count: the £ in £5, misread as Greek, is a single letter.
    runs = ([*run] for is_own, run in groupby(text, lambda one: _script(one) == script) if is_own)
    own = sum(len(run) for run in runs if len(run) > 1)
    # A text read in the wrong encoding has words that mix two scripts, or that have a capital
    # after a lower-case letter. Real words do neither.
    wrong = sum(
        (a.islower() and b.isupper()) or (a.isalpha() and b.isalpha() and _is_mixed(a, b, script))
        for a, b in pairwise(text)
    )
    return own - 2 * wrong, len([letter for letter in wide if letter not in _TYPED_ANYWHERE])


def _is_mixed(one: str, other: str, script: str) -> bool:
    """Whether one of the two letters is in this script and the other is not."""
    return (_script(one) == script) != (_script(other) == script)


@cache
def _script(letter: str) -> str:
    """Return a letter's script, such as "GREEK", from its Unicode name; "" for ASCII."""
    return "" if letter.isascii() else unicodedata.name(letter, "?").partition(" ")[0]


_SCRIPTS = {
    **dict.fromkeys(("cp1253", "iso8859-7", "cp737", "mac-greek"), "GREEK"),
    **dict.fromkeys(("cp1255", "iso8859-8", "cp862"), "HEBREW"),
    **dict.fromkeys(("cp1256", "iso8859-6", "cp720"), "ARABIC"),
    "cp874": "THAI",
}
_TYPED_ANYWHERE = "“”‘’«»„–—…·№°"


@cache
def is_common(letter: str, encoding: str) -> bool:
    """Whether a character is common in the language of this East Asian encoding.

    The encoding's national standard keeps the common characters in a range of their own.
    """
    if "\u3000" <= letter <= "\u30ff" or "\uff00" <= letter <= "\uff60":
        return True  # punctuation, kana, full-width letters
    if unicodedata.category(letter)[0] == "P":
        return True
    if encoding in ("cp949", "johab"):
        return "\uac00" <= letter <= "\ud7a3" and len(letter.encode("euc_kr", "ignore")) == 2
    first, last = {"gb18030": (0xB0, 0xD7), "big5hkscs": (0xA4, 0xC6)}.get(encoding, (0xB0, 0xCF))
    codec = {"gb18030": "gb2312", "big5hkscs": "big5"}.get(encoding, "euc_jis_2004")
    code = letter.encode(codec, "ignore")
    return len(code) == 2 and first <= code[0] <= last
