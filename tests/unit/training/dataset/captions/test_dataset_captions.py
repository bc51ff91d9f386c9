"""Captions of a stored set: edited as a table, prefixed, and judged without decoding again."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import media
from training.dataset.captions.table import (
    TABLE_LIMIT_BYTES,
    ReadTable,
    TableRefusedError,
    read_table,
    write_table,
)
from training.dataset.inspect import inspect_zip
from training.dataset.recaption import check_trigger, prefixed, recaption
from training.dataset.report import Report, Sample
from training.errors import RequestError

NAMES = ("images/a.png", "images/b.png", "videos/c.mp4")


def a_report(*captions: str) -> Report:
    samples = tuple(
        Sample(
            name=name,
            source=name,
            kind="video" if name.startswith("videos") else "image",
            caption=caption,
            sha256=name,
            width=640,
            height=480,
        )
        for name, caption in zip(NAMES, captions, strict=False)
    )
    return Report(version="v", samples=samples, findings=())


def a_set(tmp_path: Path, name: str, captions: dict[str, str | bytes]) -> Path:
    files: dict[str, bytes | str] = {
        f"images/{stem}.png": media.png(seed=seed) for seed, stem in enumerate("abc")
    }
    files["videos/d.mp4"] = media.mp4(33)
    return media.write_zip(tmp_path / name, {**files, **captions})


# Valid caption text: no control characters other than white space.
WRITABLE = st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\n\t")


@settings(deadline=None)
@example(["", "", "¡¡¢º"])  # whose bytes are also Thai
@example(["", "Ã©", "Ã¡ Ã©"])  # which looks like UTF-8 that was encoded twice
@example(["", "", "¡£Û¶"])  # which looks like an encoding that nobody can recognize
@given(st.lists(st.text(WRITABLE, max_size=80), min_size=3, max_size=3))
def test_a_table_sent_back_unchanged_changes_nothing(captions: list[str]) -> None:
    tidy = [" ".join(c.split()) or "x" for c in captions]
    report = recaption(a_report(*tidy), dict(zip(NAMES, tidy, strict=True)), None)

    if all(sample.caption for sample in report.samples):
        assert read_table(write_table(report), report).captions == {}


def test_beside_an_illegible_caption_others_can_be_changed_but_not_to_nonsense() -> None:
    report = a_report("one", "two", "¡£Û¶")
    table = write_table(report).decode("utf-8-sig")

    for old, new in (("one", "uno"), ("two", "dos")):
        edited = table.replace(old, new).encode("utf-8-sig")
        assert list(read_table(edited, report).captions.values()) == [new]
    with pytest.raises(TableRefusedError, match="encoding of the table"):
        read_table(table.replace("one", "¡£Û¶").encode("utf-8-sig"), report)


def test_a_table_shows_the_original_names_of_renamed_files() -> None:
    first, second = a_report("one", "two").samples
    renamed = first.model_copy(update={"name": "images/sample.png", "source": "=\u56fe/\u4e00.png"})
    report = Report(version="v", samples=(renamed, second), findings=())

    rows = list(csv.reader(io.StringIO(write_table(report).decode("utf-8-sig"))))

    assert rows[0] == ["file", "caption", "uploaded as"]
    assert rows[1] == ["images/sample.png", "one", "'=\u56fe/\u4e00.png"]
    assert read_table(write_table(report), report) == ReadTable({})


@pytest.mark.parametrize("start", ["=1+1", "+49 30", "-soft light", "@ann1ka", "'quoted'", "'=x"])
def test_no_caption_is_a_formula_in_a_spreadsheet(start: str) -> None:
    report = a_report(start)

    cell = list(csv.reader(io.StringIO(write_table(report).decode("utf-8-sig"))))[1][1]

    assert not cell.startswith(("=", "+", "-", "@"))
    assert read_table(write_table(report), report).captions == {}
    # A spreadsheet that treats the apostrophe as its own mark writes the caption without it.
    plain = f'file,caption\r\nimages/a.png,"{start}"\r\n'.encode()
    assert read_table(plain, report).captions.get("images/a.png", start) in (start, start[1:])


@pytest.mark.parametrize(
    "table",
    [
        "file,caption\r\nimages/a.png,new\r\nimages/b.png,two\r\n",
        "\ufefffile;caption\nimages/a.png;new\nimages/b.png;two\n;\n",
        "sep=;\r\nfile;caption\r\nimages/a.png;new\r\nimages/b.png;two\r\n",
        "File\tCaption\nimages/b.png\ttwo\t\nimages/a.png\t new \n\n",
        '"file","caption"\n"images/a.png","new"\n"images/b.png","two",,\n',
    ],
)
def test_a_table_as_a_spreadsheet_saves_it_is_read(table: str) -> None:
    report = a_report("one", "two")

    wide = table.removeprefix("\ufeff").encode("utf-16")
    for content in (table.encode(), wide):
        assert read_table(content, report) == ReadTable({"images/a.png": "new"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("written", ["images/a.png", "images\\a.png", "Images/A.PNG", "a.png"])
def test_a_table_of_any_excel_is_read(encoding: str, delimiter: str, written: str) -> None:
    rows = [("file", "caption"), (written, "für Ännchen, im Café"), ("images/b.png", "two")]
    lines = [delimiter.join((name, f'"{caption}"')) for name, caption in rows]
    content = "\r\n".join(lines).encode(encoding)

    read = read_table(content, a_report("one", "two"))

    assert read.captions == {"images/a.png": "für Ännchen, im Café"}


@pytest.mark.parametrize(
    "table",
    [
        "file,caption,notes,Stars\nimages/a.png,new,good,5\nimages/b.png,two\n",
        ",notes,Caption,FILE\n0,,new,images/a.png\n1,soft,two,images/b.png\n",
        "caption;file;;\nnew;images/a.png;;\ntwo;images/b.png;;\n",
    ],
)
def test_added_and_moved_columns_are_accepted(table: str) -> None:
    report = a_report("one", "two")

    read = read_table(table.encode(), report)

    assert read.captions == {"images/a.png": "new"}
    assert set(read.unread) in ({"notes", "Stars"}, {"", "notes"}, set())


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("file,caption\nimages/z.png,x\nimages/a.png,x\nimages/b.png,y", "Row 2: images/z.png is"),
        ("file,caption\nimages/a.png,x", "There is no row for images/b.png."),
        ("file,caption\nimages/a.png,x\nimages/a.png,y\nimages/b.png,y", "Row 3: images/a.png has"),
        (
            "file,caption\nimages/a.png,a\0b\nimages/b.png,y",
            "Row 2: images/a.png has control characters",
        ),
        ("file,caption\nimages/a.png,\nimages/b.png,y", "Row 2: images/a.png has no caption"),
        ("file,caption\nimages/a.png,x, y\nimages/b.png,y", "has 3 cells instead of 2"),
        ("file,caption,note\nimages/a.png,x,a,b\nimages/b.png,y", "has 4 cells instead of 3"),
        ("images/a.png,x\nimages/b.png,y", 'has no column "file"'),
        ("file,text\nimages/a.png,x", 'has no column "caption"'),
        ("file,caption,Caption\nimages/a.png,x,y", 'has more than one column "caption"'),
        ("", 'has no column "file"'),
        ('file,caption\nimages/a.png,"' + "x" * 200_000, "cannot be read"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_the_row(table: str, says: str) -> None:
    with pytest.raises(TableRefusedError) as caught:
        read_table(table.encode(), a_report("one", "two"))

    assert says in caught.value.cause
    assert caught.value.fix


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 a workbook", ".xlsx"),
        (b"\xd0\xcf\x11\xe0 an old one", ".xlsx"),
    ],
)
def test_a_file_that_is_not_csv_is_refused_with_how_to_save_one(content: bytes, says: str) -> None:
    with pytest.raises(TableRefusedError, match=says) as caught:
        read_table(content, a_report("one", "two"))

    assert "CSV UTF-8" in caught.value.fix


def test_a_file_too_long_for_a_table_is_refused() -> None:
    with pytest.raises(TableRefusedError, match="too long"):
        read_table(bytes(TABLE_LIMIT_BYTES + 1), a_report("one", "two"))


CELLS = (("images/a.png", "caf\u00e9, red"), ("images/b.png", "blue"), ("videos/c.mp4", "green; x"))


def form(separator: str = ",", end: str = "\r\n", quote: str = '"', above: str = "") -> str:
    rows = (("file", "caption"), *CELLS)
    cells = [separator.join(f"{quote}{cell}{quote}" for cell in row) for row in rows]
    return above + end.join((*cells, ""))


@pytest.mark.parametrize(
    "table",
    [
        form().encode("utf-8-sig"),
        form(";").encode("cp1252"),
        form("\t").encode("utf-16"),
        form("\t").encode("utf-16-le"),
        form().encode("utf-16-be"),
        form(";", end="\r").encode("mac-roman"),
        form("|").encode(),
        form(", ").encode(),
        form(quote="'").encode(),
        form(";", above="sep=;\r\n").encode(),
        form(above="Table 1\r\n").encode(),
        form(above="Table 1,\r\n,\r\n").encode(),
        form().encode().decode("cp1252").encode(),
        form().replace(".png", "").replace(".mp4", "").encode(),
        form().replace("images/", ".\\IMAGES\\").encode(),
    ],
)
def test_tables_are_read_in_the_forms_of_all_spreadsheets(table: bytes) -> None:
    read = read_table(table, a_report("one", "two", "three"))

    assert read.captions == dict(CELLS)


def test_edited_captions_are_judged_like_those_of_the_zip(tmp_path: Path) -> None:
    first = {
        "images/a.txt": "caf\u00e9 scene".encode("cp1252"),
        "images/b.txt": "",
        "images/c.TXT": "many more words " * 300,
        "videos/d.txt": "ann1ka walks",
    }
    second = {
        "images/a.txt": "ann1ka in a caf\u00e9",
        "images/b.txt": "a portrait of ann1ka",
        "images/c.TXT": "many more words " * 300,
        "videos/d.txt": "a long caption " * 300,
    }
    old = inspect_zip(a_set(tmp_path, "old.zip", {**first}))
    new = inspect_zip(a_set(tmp_path, "new.zip", {**second}), trigger="ann1ka")
    edited = {
        "images/a.png": second["images/a.txt"],
        "images/b.png": second["images/b.txt"],
        "videos/d.mp4": second["videos/d.txt"],
    }

    assert not old.is_usable
    assert recaption(old, edited, "ann1ka") == new
    assert new.is_usable


def test_texts_that_are_no_captions_make_one_finding_after_an_edit(tmp_path: Path) -> None:
    texts = {
        "images/a.txt": "Error: 429",
        "images/b.txt": "ann1ka",
        "images/c.TXT": "Here is a caption: ann1ka",
        "videos/d.txt": "None",
    }
    old = inspect_zip(a_set(tmp_path, "old.zip", {**texts}))
    edits = {"images/b.png": "Error: 500", "videos/d.mp4": "ann1ka walks"}
    texts |= {"images/b.txt": "Error: 500", "videos/d.txt": "ann1ka walks"}

    edited = recaption(old, edits, None)

    assert edited == inspect_zip(a_set(tmp_path, "new.zip", {**texts}))


def test_equal_captions_are_found_after_an_edit() -> None:
    report = a_report("one", "two", "three")

    edited = recaption(report, dict.fromkeys(NAMES, "the same"), None)

    assert edited.codes() == ["captions-all-equal"]
    assert recaption(edited, {NAMES[0]: "another"}, None).codes() == []


def test_the_trigger_is_prefixed_to_captions_that_lack_it_as_a_word() -> None:
    report = a_report("a portrait", "ANN walks", "annika walks")

    captions = prefixed(report, "ann")

    assert captions == {"images/a.png": "ann, a portrait", "videos/c.mp4": "ann, annika walks"}
    assert recaption(report, {}, "ann").findings[0].files == ("images/a.png", "videos/c.mp4")
    assert recaption(report, captions, "ann").codes() == []


@pytest.mark.parametrize("word", ["", "  ", "x" * 61, "two\nlines", "bell\a"])
def test_a_word_that_cannot_be_a_trigger_is_refused(word: str) -> None:
    with pytest.raises(RequestError):
        check_trigger(word)
