"""Names of zips from all tools and languages are read, or refused: no sample is lost."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import media
from tests.unit.training.dataset.zip.stored_names import Stored, encoded, unicode_path, zip_of
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.zip.archive import ArchiveRefusedError, open_archive

# By encoding: names as people have them. Those of East Asia hold letters with the byte 0x5C.
NAMES: dict[str, tuple[Sequence[str], ...]] = {
    "cp932": (
        ["表", "能力", "ソファ", "猫", "予約 席"],
        ["表"],
        ["噂話_00", "十字路_01"],
        ["アニカ_01", "アニカ_02"],
        ["ｱﾆｶ01", "ｱﾆｶ02"],
        ["わたしのしゃしん", "さくら"],
        ["ポーズ集/正面", "ポーズ集/横顔", "ソファ/申込書"],
        ["スクリーンショット 2024-01-01"],
        ["アニカ①", "アニカ～夜"],  # noqa: RUF001
    ),
    "euc_jp": (
        ["東京駅前の女性", "わたしのしゃしん", "スクリーンショット", "さくらの公園で"],
        ["ポーズ"],
    ),
    "cp950": (
        ["功課", "許可", "蓋子", "女孩", "台北車站"],
        ["功夫"],
        ["照片一", "照片二"],
        ["新增資料夾/女主角", "新增資料夾/功夫片"],
    ),
    "gbk": (
        ["女孩", "图片一", "照片", "北京", "新建文件夹"],
        ["女孩"],
        ["视频素材01", "视频素材02"],
        ["微信图片_20240101", "截图"],
        ["繁體字", "開車"],
        ["图1", "图2"],
        ["夜景"],
        ["IMG 微笑"],
    ),
    "cp949": (["사진"], ["여자 사진 1", "새 폴더/아니카"], ["스크린샷 2024"], ["뷁", "고양이"]),
    "cp866": (["Новая папка/фото", "девушка"], ["фото"]),
    "cp1251": (["фото", "девушка"], ["дівчина", "усмішка"]),
    "koi8_r": (["фото", "девушка"],),
    "cp850": (
        ["Mädchen", "Größe", "Übung"],
        ["été", "forêt", "garçon"],
        ["niña", "mañana", "árbol"],
        ["niña", "¿qué"],
        ["Süß"],
        ["João", "irmã", "coração"],
        ["flicka på äng", "sjö", "blåbär"],
    ),
    "cp437": (["Mädchen", "Übung"], ["café"]),
    "cp1252": (
        ["Mädchen", "Größe", "Übung"],
        ["été", "forêt", "garçon"],
        ["niña", "mañana"],
        ["João", "irmã", "coração"],
        ["città", "perché"],
    ),
    "cp852": (["zdjęcie", "łódź", "żółw"], ["příroda", "žena", "děvče"]),
    "cp1250": (["zdjęcie", "łódź", "żółw"], ["příroda", "děvče", "večeře"]),
    "cp857": (["kız", "güneş", "ağaç"],),  # noqa: RUF001
    "cp737": (["κορίτσι", "φωτογραφία"],),
    "cp1253": (["κορίτσι", "φωτογραφία"],),
    "cp862": (["ילדה", "תמונה"],),
    "cp1255": (["ילדה", "תמונה"],),
    "cp720": (["صورة", "فتاة", "ابتسامة"],),
    "cp1256": (["ابتسامة", "مدينة", "حديقة", "خلفية"],),
    "cp874": (["รูปภาพ", "ผู้หญิง"],),
    "utf-8": (["café", "мама", "表", "😀"], ["ñ"], ["mơ", "nǚ", "ști"]),
}
SETS = [(codec, stems) for codec, sets in NAMES.items() for stems in sets]


def paths(folder: Path, content: bytes) -> list[str]:
    path = folder / "a.zip"
    path.write_bytes(content)
    with open_archive(path, Limits()) as archive:
        assert archive.junk == ()
        return sorted(member.path for member in archive.members)


def refusal(folder: Path, content: bytes) -> ArchiveRefusedError:
    with pytest.raises(ArchiveRefusedError) as caught:
        paths(folder, content)
    return caught.value


@pytest.mark.parametrize(("codec", "stems"), SETS)
def test_names_without_a_flag_are_decoded_if_one_encoding_suits_them_all(
    tmp_path: Path, codec: str, stems: Sequence[str]
) -> None:
    names = [f"{stem}{extension}" for stem in stems for extension in (".png", ".txt")]

    found = paths(tmp_path, zip_of(*encoded(names, codec)))

    assert found == sorted(names)


def test_names_of_macos_without_a_flag_are_composed(tmp_path: Path) -> None:
    names = ["Größe/Äpfel.png", "Größe/が.png", "Größe/한.txt", "Größe/и́й.txt"]
    apart = [unicodedata.normalize("NFD", name) for name in names]

    found = paths(tmp_path, zip_of(*encoded(apart, "utf-8")))

    assert found == sorted(unicodedata.normalize("NFC", name) for name in names)


@pytest.mark.parametrize("codec", ["cp932", "cp950", "gbk", "cp949"])
def test_backslashes_between_folders_are_told_from_those_inside_letters(
    tmp_path: Path, codec: str
) -> None:
    folder = {"cp932": "表", "cp950": "功課", "gbk": "图片", "cp949": "사진"}[codec]
    names = [f"{folder}\\{folder}{index}.png" for index in range(3)]
    entries = [Stored(f"{folder}\\".encode(codec), b""), *encoded([*names, "x.png"], codec)]

    found = paths(tmp_path, zip_of(*entries))

    assert found == sorted([*(name.replace("\\", "/") for name in names), "x.png"])


def test_a_folder_that_ends_in_the_byte_of_a_backslash_is_not_a_file(tmp_path: Path) -> None:
    """能 ends in 0x5C, and so does the name of an empty file called 能."""
    names = ["能/1.png", "能/2.png", "猫/3.png"]

    found = paths(tmp_path, zip_of(Stored("能/".encode("cp932"), b""), *encoded(names, "cp932")))

    assert found == sorted(names)


def test_the_unicode_extra_field_is_preferred_to_the_stored_name(tmp_path: Path) -> None:
    names = {"表.png": "cp932", "功課.png": "cp950", "фото.png": "cp866"}
    raw = [(name.encode(codec), name) for name, codec in names.items()]

    found = paths(tmp_path, zip_of(*(Stored(r, extra=unicode_path(r, n)) for r, n in raw)))

    assert found == sorted(names)


def test_question_marks_are_replaced_by_the_names_in_the_extra_field(tmp_path: Path) -> None:
    entries = [
        Stored(b"?.png", extra=unicode_path(b"?.png", name)) for name in ("表.png", "猫.png")
    ]

    assert paths(tmp_path, zip_of(*entries)) == sorted(["表.png", "猫.png"])


def test_names_lost_to_question_marks_are_refused_with_the_true_reason(tmp_path: Path) -> None:
    refused = refusal(tmp_path, zip_of(Stored(b"??.png"), Stored(b"??.png")))

    assert refused.code == "unreadable-names"
    assert "question marks" in refused.cause
    assert "7-Zip" in refused.fix


def test_an_extra_field_that_belongs_to_another_name_is_ignored(tmp_path: Path) -> None:
    raw = ["表.png".encode("cp932"), "能力.png".encode("cp932")]

    found = paths(tmp_path, zip_of(*(Stored(r, extra=unicode_path(b"old", "旧.png")) for r in raw)))

    assert found == sorted(["表.png", "能力.png"])


def test_flagged_described_and_bare_names_meet_in_one_zip(tmp_path: Path) -> None:
    raw = "猫.png".encode("cp932")
    entries = [
        Stored("表.png".encode(), is_flagged=True),
        Stored("表.txt".encode("cp932")),
        Stored(raw, extra=unicode_path(raw, "猫.png")),
        Stored("猫.txt".encode(), is_flagged=True),
        Stored(b"plain.png"),
    ]

    found = paths(tmp_path, zip_of(*entries))

    assert found == sorted(["表.png", "表.txt", "猫.png", "猫.txt", "plain.png"])


def test_names_that_no_encoding_suits_are_refused_with_a_fix(tmp_path: Path) -> None:
    mixed = [*encoded(["表.png"], "cp932"), *encoded(["Größe.png"], "cp1252")]
    noise = [Stored(b"a\xff\xfe\x80.png"), Stored(b"\xa0\x81\xfd.png")]

    for entries in (mixed, noise):
        refused = refusal(tmp_path, zip_of(*entries))

        assert refused.code == "unreadable-names"
        assert ".png" in refused.cause
        assert "7-Zip" in refused.fix


def test_names_wrongly_marked_as_utf8_are_refused_with_the_true_reason(tmp_path: Path) -> None:
    refused = refusal(tmp_path, zip_of(Stored("表.png".encode("cp932"), is_flagged=True)))

    assert refused.code == "unreadable-names"
    assert "UTF-8" in refused.cause


def test_every_sample_of_a_zip_with_undeclared_names_is_kept(tmp_path: Path) -> None:
    stems = ["表", "能力", "ソファ", "猫", "予約 席"]
    entries = [
        Stored(f"{stem}{end}".encode("cp932"), content)
        for index, stem in enumerate(stems)
        for end, content in ((".png", media.png(seed=index)), (".txt", f"ann1ka {index}"))
    ]
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of(*entries))

    report = inspect_zip(path)

    assert [sample.caption for sample in sorted(report.samples, key=lambda s: s.caption)] == [
        f"ann1ka {index}" for index in range(5)
    ]
    assert {sample.source for sample in report.samples} == {f"{stem}.png" for stem in stems}
    assert report.is_usable
    assert "name-encoding" in report.codes()
