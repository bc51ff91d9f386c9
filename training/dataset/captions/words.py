"""Splits captions into words, in languages with and without spaces between words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.dataset.captions.caption import UNSPACED, trigger_places

# Words that say nothing about a picture. Articles, pronouns and prepositions come first, then what
# every picture is, then what every subject is: a caption may well name "a woman" each time.
_PLAIN_WORDS = """
a an the and or of in on at to with from by for as is are was be been being has have his her hers
him she he it its they them their this that these those there while who which into over under near
up down out off than then very some one two
der die das ein eine einer einem einen und oder mit von im in am an auf zu ist sind sie er es ihr
ihre sein seine vor bei
le la les un une des de du et ou avec dans sur au aux est sont elle il son sa ses en
el los las una unos unas y o con del al por para es son su sus
lo gli uno e di da nel nella sul sulla che
os as um uma no na nos nas com em do da dos seu sua
photo photograph picture image video clip shot still scene footage frame view showing shows show
depicts depicting featuring features seen camera background foreground
foto bild aufnahme imagen vídeo immagine
woman women man men girl girls boy boys person people character figure lady guy someone subject
frau mann mädchen junge person femme homme fille garçon mujer hombre chica chico donna uomo mulher
homem
"""
_PLAIN_UNSPACED = (
    *("女性", "男性", "女人", "男人", "女孩", "男孩", "女子", "男子", "少女", "少年", "人物"),
    *("女の子", "男の子", "キャラクター", "角色", "主角", "一个", "一位", "一名", "一人"),
    *("照片", "视频", "影片", "图片", "画面", "镜头", "背景", "写真", "動画", "画像", "场景"),
)
_PLAIN_SIGNS = "一个位名的在是了着和与上中里正有这那她他它地得不被把从对向为以及其之人们"
PLAIN = frozenset((*_PLAIN_WORDS.split(), *_PLAIN_UNSPACED, *_PLAIN_SIGNS))
_KATAKANA = "\u30a1-\u30fa\u30fc"
_WORD = re.compile(
    rf"{'|'.join(_PLAIN_UNSPACED)}|[{_KATAKANA}]+|[{UNSPACED}]"
    rf"|[^\W_{UNSPACED}]+(?:['\u2019-][^\W_{UNSPACED}]+)*"
)
_HIRAGANA = re.compile("[\u3041-\u3096]")
_CLAUSE_END = re.compile(r"[^\w\s'\u2019-]|\n")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a caption, in lower case, and its place; one Chinese character is one word.

    Attributes:
        clause: Words of different clauses have different numbers: those of different sentences,
            and those with a comma or the trigger word between them.
    """

    text: str
    clause: int
    start: int
    end: int

    @property
    def is_telling(self) -> bool:
        """Whether the word says something about the picture, unlike "the" and "woman"."""
        return self.text not in PLAIN and _HIRAGANA.fullmatch(self.text) is None


def words_of(caption: str, trigger: str | None) -> tuple[Word, ...]:
    """Return the words of a caption without the trigger word."""
    found: list[Word] = []
    clause = 0
    for start, end in _beside(caption, trigger):
        at = start
        for stop in (*(match.start() for match in _CLAUSE_END.finditer(caption, start, end)), end):
            found += [
                Word(match[0].casefold(), clause, match.start(), match.end())
                for match in _WORD.finditer(caption, at, stop)
            ]
            at, clause = stop, clause + 1
    return tuple(found)


def _beside(caption: str, trigger: str | None) -> list[tuple[int, int]]:
    """Return where the parts of a caption before, between and after the trigger words are."""
    places = trigger_places(caption, trigger) if trigger else []
    starts = (0, *(end for _, end in places))
    return list(zip(starts, (*(start for start, _ in places), len(caption)), strict=True))


def texts(words: Sequence[Word]) -> tuple[str, ...]:
    return tuple(word.text for word in words)
