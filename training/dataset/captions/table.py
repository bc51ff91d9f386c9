"""Writes captions as a CSV table for spreadsheets, and reads the edited table back."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.dataset.captions.caption import holds_controls, tidy
from training.dataset.report import Report
from training.errors import DatasetError

HEADER = ("file", "caption")
SOURCE = "uploaded as"  # an informative column, present if files were renamed
TABLE_LIMIT_BYTES = 8 * 1024 * 1024
_DELIMITERS = ",;\t"  # Excel writes semicolons where the comma is the decimal point
_SEPARATOR_LINES = {"sep=,", "sep=;", "sep=\t", "sep="}
# Spreadsheets take text that starts like this for a formula, unless an apostrophe precedes it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_SHOWN_PROBLEMS = 8
_ZIP_MAGIC, _OLD_EXCEL_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_SAVE_AS = "In the spreadsheet choose File, Save as (or Download), CSV UTF-8, and send that file."


@dataclass(frozen=True, slots=True)
class ReadTable:
    """The content of an edited table.

    Attributes:
        captions: Changed captions by sample name.
        unread: Titles of columns that the user added.
    """

    captions: Mapping[str, str]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Columns:
    """The positions of file and caption in a row."""

    titles: list[str]
    file: int
    caption: int
    others: tuple[str, ...]


class TableRefusedError(DatasetError):
    """The table does not match the dataset; nothing was changed."""


def write_table(report: Report) -> bytes:
    """Return the captions as CSV, with the byte order mark that Excel needs for UTF-8."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    is_renamed = any(_stem(sample.name) != _stem(sample.source) for sample in report.samples)
    writer.writerow((*HEADER, SOURCE) if is_renamed else HEADER)
    for sample in report.samples:
        row = sample.name, _guarded(sample.caption), _guarded(sample.source)
        writer.writerow(row if is_renamed else row[:2])
    return buffer.getvalue().encode("utf-8-sig")


def read_table(content: bytes, report: Report) -> ReadTable:
    """Return the captions that differ from the report's.

    Raises:
        TableRefusedError: The file is not such a table, or has bad rows; lists all problems.
    """
    rows = _rows(_decoded(content))
    columns = _columns(next((row for _, row in rows), list[str]()))
    known = {sample.name: sample.caption for sample in report.samples}
    given: dict[str, str] = {}
    problems: list[str] = []
    for number, row in rows:
        cells = [*row, *[""] * (len(columns.titles) - len(row))]
        name, caption = cells[columns.file].strip(), tidy(_unguarded(cells[columns.caption]))
        problem = _problem(name, caption, known, given)
        if len(row) > len(columns.titles):
            problem = (
                f"{name[:80]} has {len(row)} cells instead of {len(columns.titles)}; "
                "a caption with commas needs quotes"
            )
        if problem:
            problems.append(f"Row {number}: {problem}.")
        given[name] = caption
    problems += [f"There is no row for {name}." for name in known if name not in given]
    if problems:
        raise _refused(problems)
    captions = {name: caption for name, caption in given.items() if caption != known[name]}
    return ReadTable(captions, columns.others)


def _columns(header: list[str]) -> _Columns:
    """Return the positions of the known columns; users may add their own."""
    plain = [title.strip().casefold() for title in header]
    for title in HEADER:
        if plain.count(title) != 1:
            found = "more than one column" if title in plain else "no column"
            raise TableRefusedError(
                f'The first row of the table has {found} "{title}".',
                "Edit the table that you downloaded and keep its first row.",
            )
    known = {*HEADER, SOURCE}
    others = [title for title, word in zip(header, plain, strict=True) if word not in known]
    return _Columns(header, plain.index(HEADER[0]), plain.index(HEADER[1]), tuple(others))


def _problem(name: str, caption: str, known: dict[str, str], given: dict[str, str]) -> str:
    if name not in known:
        return f"{name[:80] or 'an empty name'} is not a file of this dataset"
    if name in given:
        return f"{name} has more than one row"
    if holds_controls(caption):
        return f"{name} has control characters in its caption"
    return "" if caption else f"{name} has no caption"


def _refused(problems: list[str]) -> TableRefusedError:
    shown = problems[:_SHOWN_PROBLEMS]
    more = f" And {len(problems) - len(shown)} more." if len(problems) > len(shown) else ""
    return TableRefusedError(
        " ".join(shown) + more,
        "Keep one row per file, as in the original table, and send it again. Nothing was changed.",
    )


def _decoded(content: bytes) -> str:
    if len(content) > TABLE_LIMIT_BYTES:
        raise TableRefusedError("The file is too long for a table of captions.", _SAVE_AS)
    if content.startswith((_ZIP_MAGIC, _OLD_EXCEL_MAGIC)):
        raise TableRefusedError("That is a workbook (such as .xlsx), not a CSV file.", _SAVE_AS)
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableRefusedError(
            "The table is not saved as UTF-8, so accents and other letters would be lost.",
            _SAVE_AS,
        ) from error


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with its number, counted from 1."""
    first, _, rest = text.partition("\n")
    if first.strip().casefold() in _SEPARATOR_LINES:  # Excel's own separator line, above the header
        text, first = rest, rest.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    # The longest cell is a caption of 64 KiB, which is less than the module's own limit.
    rows = enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1)
    try:
        for number, row in rows:
            cells = _without_empty_end(row)
            if cells:
                yield number, cells
    except csv.Error as error:
        raise TableRefusedError(f"The table cannot be read: {error}.", _SAVE_AS) from error


def _without_empty_end(row: list[str]) -> list[str]:
    cells = list(row)
    while cells and not cells[-1].strip():
        cells.pop()
    return cells


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _guarded(caption: str) -> str:
    return f"'{caption}" if caption.startswith(_FORMULA) else caption


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
