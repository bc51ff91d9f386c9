"""Caption files in every encoding: judged for the whole set, repaired, or reported as illegible."""
# ruff: noqa: RUF001

from pathlib import Path

import pytest

from tests import media
from training.dataset.captions.caption import read_captions, tidy
from training.dataset.inspect import inspect_zip

CHINESE = ["ann1ka，她站在窗前看着外面的雨", "ann1ka，微笑", "ann1ka，坐着喝咖啡"]
JAPANESE = [
    "ann1ka、赤い傘を持って雨の中を歩いている",
    "ann1ka、窓辺で本を読んでいる女性",
    "ann1ka",
]
SETS = {
    "cp932": JAPANESE,
    "euc_jp": JAPANESE,
    "iso2022_jp": JAPANESE,
    "gbk": CHINESE,
    "big5": ["ann1ka，穿著紅色外套站在雪地裡", "ann1ka，在廚房裡做飯", "ann1ka，坐在窗邊看書"],
    "cp949": ["ann1ka, 빨간 우산을 들고 빗속을 걷는 여자", "ann1ka, 창가에서 책을 읽는다"],
    "cp1251": ["ann1ka, девушка стоит у окна", "ann1ka, женщина в красном пальто"],
    "koi8-r": ["ann1ka, девушка стоит у окна", "ann1ka, женщина в красном пальто"],
    "cp1250": ["ann1ka, żółta sukienka, stoi przy oknie", "ann1ka w płaszczu idzie przez śnieg"],
    "cp1253": ["ann1ka, κορίτσι στο παράθυρο", "ann1ka, γυναίκα με κόκκινο παλτό"],
    "cp1255": ["ann1ka, ילדה ליד החלון"],
    "cp1256": ["ann1ka, فتاة بجانب النافذة"],
    "cp874": ["ann1ka, ผู้หญิงยืนอยู่ริมหน้าต่าง"],
    "cp1252": [
        "ann1ka in a café – “quoted” it’s",
        "ann1ka auf der Straße, ÉTÉ à NOËL, «Été»",
        "25° ½ l, ¿Qué?, col·lecció, œuvre",
    ],
    "mac_roman": ["ann1ka in a café – “quoted” it’s", "Straße, schön"],
    "cp850": ["ann1ka in a café", "schöne Straße"],
    "utf-16": CHINESE,
    "utf-16-le": ["ann1ka, no mark, café"],
    "utf-16-be": ["ann1ka, no mark, café"],
    "utf-32": CHINESE,
    "utf-8": [*CHINESE, *JAPANESE, "ÅÄÖ åäö", "É É É", "25°C ± 3 µm, £5, Nike®", "Việt Nam"],
}


CZECH = ["červené šaty, pláž, západ slunce", "mladá žena čte knihu", "zasněžené hory"]
HUNGARIAN = ["piros ruha, tengerpart", "fiatal nő könyvet olvas", "havas hegyek, kék ég, tűz"]
TURKISH = ["pencerenin önünde duran kız", "kırmızı elbise, gün batımı", "kameraya gülümsüyor"]
RUSSIAN = ["девушка стоит у окна", "красное платье, пляж, закат", "Снежные горы, голубое небо"]
UKRAINIAN = ["дівчина стоїть біля вікна", "червона сукня, пляж, захід сонця"]
KOREAN = ["창가에 서 있는 아니카", "빨간 드레스, 해변, 석양", "1girl, 긴 머리, 검은 눈"]
GERMAN = ["ein Mädchen steht am Fenster", "Sonnenuntergang über der Küste", "Übergröße"]
# What Notepad, TextEdit and consoles of these countries save.
LOCAL = (
    *((encoding, CZECH) for encoding in ("cp1250", "iso8859-2", "cp852")),
    *((encoding, HUNGARIAN) for encoding in ("cp1250", "iso8859-2", "cp852")),
    *((encoding, TURKISH) for encoding in ("cp1254", "cp857", "mac-turkish")),
    *((encoding, RUSSIAN) for encoding in ("cp866", "iso8859-5", "mac-cyrillic", "utf-16-le")),
    *((encoding, UKRAINIAN) for encoding in ("cp1251", "koi8-u")),
    *((encoding, KOREAN) for encoding in ("johab", "iso2022_kr", "euc_kr", "utf-16-le")),
    *((encoding, GERMAN) for encoding in ("cp437", "cp850", "mac-roman", "utf-16-be")),
    *((encoding, CHINESE) for encoding in ("hz", "utf-16-le", "utf-16-be")),
    *((encoding, JAPANESE[:2]) for encoding in ("utf-16-le", "utf-16-be")),
    ("cp1250", ["o fată la fereastră", "rochie roşie, plajă, apus", "tânără citind în cafenea"]),
    ("cp1254", ["ışık"]),
    ("cp1254", ["pencerede duran kadın, ışık"]),
    ("cp1252", ["stúlka við gluggann, þoka"]),
    ("cp1257", ["raudona suknelė, paplūdimys", "jauna moteris skaito knygą", "švelni šviesa"]),
    ("cp1252", ["uma menina à janela", "iluminação suave, coração"]),
    ("cp1252", ["price tag £5, €10"]),
    ("cp737", ["κόκκινο φόρεμα, παραλία", "κοντινό πλάνο, χαμογελά"]),
    ("cp862", ["ילדה עומדת ליד החלון"]),
    ("iso8859-6", ["فتاة تقف بجانب النافذة"]),
)


@pytest.mark.parametrize(("encoding", "texts"), LOCAL)
def test_what_people_everywhere_save_is_read(encoding: str, texts: list[str]) -> None:
    found, _ = read(*(text.encode(encoding) for text in texts))

    assert found == texts


def read(*contents: bytes) -> tuple[list[str], list[str]]:
    """Return the texts of a set's caption files, and the codes of all notes."""
    keyed = {f"{number:02}": content for number, content in enumerate(contents)}
    captions = [found for _, found in sorted(read_captions(keyed, 65_536, None).items())]
    return [c.text for c in captions], sorted({note.code for c in captions for note in c.notes})


@pytest.mark.parametrize("encoding", SETS)
def test_a_set_in_one_encoding_is_read_and_reported_as_converted(encoding: str) -> None:
    texts, codes = read(*(text.encode(encoding) for text in SETS[encoding]))

    assert texts == SETS[encoding]
    assert codes == ([] if encoding == "utf-8" else ["caption-encoding"])


@pytest.mark.parametrize("encoding", ["cp932", "gbk", "cp949", "cp1251"])
def test_an_encoding_read_as_latin_and_saved_as_utf8_is_undone(encoding: str) -> None:
    stored = [text.encode(encoding).decode("latin-1").encode() for text in SETS[encoding][:1]]

    assert read(*stored) == (SETS[encoding][:1], ["caption-encoding"])


def test_two_encodings_in_one_set_are_shown_and_not_guessed(tmp_path: Path) -> None:
    captions = [text.encode("gbk") for text in CHINESE]
    captions += [text.encode("cp932") for text in JAPANESE[:2]]
    files: dict[str, bytes | str] = {}
    for number, content in enumerate(captions):
        files |= {f"{number}.png": media.png(512, 480, seed=number), f"{number}.txt": content}

    report = inspect_zip(media.write_zip(tmp_path / "set.zip", files))

    (finding,) = report.errors
    assert finding.code == "caption-garbled"
    assert len(finding.files) == 5
    assert "0.png (ann1ka" in finding.cause
    assert "and 2 more" in finding.cause
    assert {sample.caption for sample in report.samples} == {""}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            b"ann1ka good\x92s caption, and a snowman \xe2\x98\x83",
            "ann1ka good’s caption, and a snowman ☃",
        ),
        ("cafÃ© x".encode(), "café x"),
        ("微笑".encode()[:-1], "微"),
        (b"caf\xe9", "café"),
    ],
)
def test_only_damaged_text_is_repaired(content: bytes, text: str) -> None:
    assert read(content) == ([text], ["caption-encoding"])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbf\xef\xbb\xbfann1ka two marks", "ann1ka two marks"),
        ("ann1ka\ufeff sits".encode(), "ann1ka sits"),
        ("ann\u00ad1ka".encode(), "ann1ka"),
        ("\u200bann1ka\u200b \u3000".encode(), "ann1ka"),
        (
            b"ann1ka first line\r\nsecond line\r\n\r\nthird\rfourth",
            "ann1ka first line\nsecond line\n\nthird\nfourth",
        ),
        ("one\u2028two\x85three\x0cfour".encode(), "one\ntwo\nthree\nfour"),
        ("👨\u200d👩\u200d👧 می\u200cخواهم".encode(), "👨\u200d👩\u200d👧 می\u200cخواهم"),
    ],
)
def test_marks_and_line_ends_become_plain(content: bytes, text: str) -> None:
    assert read(content) == ([text], [])


@pytest.mark.parametrize(
    "text",
    [
        "\u200b",
        "\u00ad",
        "\ufeff",
        "\u200b \u00a0\u3000",
        "\u2800",
        "\u3164",
        "\u200e\u202c",
        "\ufe0f",
        " \n",
    ],
)
def test_a_caption_of_invisible_letters_is_empty(text: str) -> None:
    assert tidy(text) == ""
    assert read(text.encode()) == ([""], ["empty-caption"])
