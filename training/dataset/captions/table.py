"""Writes captions as a CSV table for a spreadsheet, and reads the edited table back."""

import csv
import io
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath

from training.dataset.captions.caption import holds_controls, tidy
from training.dataset.captions.encodings import Decoded, decode
from training.dataset.report import Report
from training.errors import DatasetError
from training.files.sizes import MIB
from training.wording import listed_sentences

HEADER = ("file", "caption")
SOURCE = "uploaded as"  # title of a column for the user, added if files were renamed
TABLE_LIMIT_BYTES = 96 * MIB  # more than the captions and names of the largest dataset take
# In countries that write decimals with a comma, Excel separates cells with semicolons. Delimiters
# that captions often contain come last.
DELIMITERS = "\t;|,"
# The header row may be preceded by up to 20 rows, because some programs write the table's name
# first.
_LINES_ABOVE = 20
# A spreadsheet treats a cell that starts with one of these as a formula, unless an apostrophe
# stands before it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_SHOWN_PROBLEMS = 8
_ZIP_MAGIC, _OLD_EXCEL_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_SAVE_AS = "In the spreadsheet choose File, Save as (or Download), CSV UTF-8, and send that file."


@dataclass(frozen=True, slots=True)
class ReadTable:
    """The content of an edited table.

    Attributes:
        captions: The changed captions, keyed by sample name.
        unread: Titles of columns that the user added; these columns are ignored.
    """

    captions: Mapping[str, str]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Columns:
    """The titles of a table, and which columns hold the file and the caption."""

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
    """Return the changed captions; a cell may be empty if the sample had no caption before.

    Raises:
        TableRefusedError: The file is not a table of captions, or some rows are wrong.
    """
    decoded = _decoded(content)
    form = _form(decoded.text)
    rows = _rows(decoded.text, form)
    exact = _rows_as_utf8(content, form)
    columns = _columns(next((row for number, row in rows if number > form.above), list[str]()))
    known = {sample.name: sample.caption for sample in report.samples}
    written = _ways_to_write(report)
    missing = {sample.name for sample in report.without_caption}
    given: dict[str, str] = {}
    problems: list[str] = []
    for number, row in rows:
        cells = [*row, *[""] * (len(columns.titles) - len(row))]
        name = cells[columns.file].strip()
        name = written.get(_plain(name), name)
        caption = _caption(cells, columns)
        if number in exact and _caption(exact[number], columns) == known.get(name):
            caption = known[name]  # the row is UTF-8, but was decoded in another encoding
        problem = _problem(name, caption, known, given)
        if len(row) > len(columns.titles):
            problem = (
                f"{name[:80]} has {len(row)} cells instead of {len(columns.titles)}; "
                "a caption with commas needs quotes"
            )
        if problem and not (name in missing and not caption and name not in given):
            problems.append(f"Row {number}: {problem}.")
        given[name] = caption
    problems += [f"There is no row for {name}." for name in known if name not in given]
    if problems:
        raise _refused(problems)
    captions = {
        name: caption for name, caption in given.items() if caption and caption != known[name]
    }
    if not (decoded.is_legible or all(decode(c.encode()).is_legible for c in captions.values())):
        raise _illegible()
    return ReadTable(captions, columns.others)


def _ways_to_write(report: Report) -> Mapping[str, str]:
    """Return the sample names, keyed by every way to write a path that fits only one sample.

    For `images/01.png`, these include `01.png` and `01`.
    """
    ways = defaultdict[str, set[str]](set)
    for sample in report.samples:
        for path in (sample.name, sample.source):
            for way in (_plain(path), _plain(str(PurePosixPath(path).with_suffix("")))):
                parts = way.split("/")
                for start in range(len(parts)):
                    ways["/".join(parts[start:])].add(sample.name)
    exact = {_plain(sample.name): sample.name for sample in report.samples}
    return {way: next(iter(names)) for way, names in ways.items() if len(names) == 1} | exact


def _plain(path: str) -> str:
    """Return a path in one form for comparison: lower case, forward slashes, no leading "./"."""
    plain = unicodedata.normalize("NFC", path.strip().replace("\\", "/")).casefold()
    return plain.removeprefix("./").lstrip("/")


def _columns(header: list[str]) -> _Columns:
    """Find the file and caption columns by their titles; users may have added other columns."""
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


def _caption(cells: list[str], columns: _Columns) -> str:
    return tidy(_unguarded(cells[columns.caption])) if columns.caption < len(cells) else ""


def _problem(name: str, caption: str, known: dict[str, str], given: dict[str, str]) -> str:
    if name not in known:
        return f"{name[:80] or 'an empty name'} is not a file of this dataset"
    if name in given:
        return f"{name} has more than one row"
    if holds_controls(caption):
        return f"{name} has control characters in its caption"
    return "" if caption else f"{name} has no caption"


def _refused(problems: list[str]) -> TableRefusedError:
    return TableRefusedError(
        listed_sentences(problems, _SHOWN_PROBLEMS),
        "Keep one row per file, as in the original table, and send the table again. "
        "Nothing was changed.",
    )


def _decoded(content: bytes) -> Decoded:
    if len(content) > TABLE_LIMIT_BYTES:
        raise TableRefusedError("The file is too long for a table of captions.", _SAVE_AS)
    if content.startswith((_ZIP_MAGIC, _OLD_EXCEL_MAGIC)):
        raise TableRefusedError("That is a workbook (such as .xlsx), not a CSV file.", _SAVE_AS)
    # Excel's plain "CSV" format uses the encoding of the user's Windows, not UTF-8.
    decoded = decode(content)
    if decoded.is_legible:
        return decoded
    try:  # only captions that were changed must be legible
        return Decoded(content.decode("utf-8-sig"), is_legible=False)
    except UnicodeDecodeError:
        raise _illegible() from None


def _illegible() -> TableRefusedError:
    return TableRefusedError(
        "The encoding of the table cannot be recognized, so letters would be lost.", _SAVE_AS
    )


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a CSV file; `above` is the number of rows above the header row."""

    delimiter: str = ","
    quote: str = '"'
    above: int = 0


def _form(text: str) -> _Form:
    """Find the delimiter and quote that make one of the first rows a header row."""
    start = "\n".join(text.splitlines()[:_LINES_ABOVE])
    for delimiter, quote in product(DELIMITERS, "\"'"):
        form = _Form(delimiter, quote)
        with suppress(csv.Error):
            for number, row in enumerate(_reader(start, form), start=1):
                if {title.strip().casefold() for title in row}.issuperset(HEADER):
                    return _Form(delimiter, quote, number - 1)
    return _Form()


def _reader(text: str, form: _Form) -> Iterator[list[str]]:
    # A caption is at most 64 KiB, so no cell reaches the csv module's own limit.
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=form.delimiter,
        quotechar=form.quote,
        skipinitialspace=True,
    )


def _rows(text: str, form: _Form) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row, counted from 1, and its cells; empty rows are skipped."""
    try:
        for number, row in enumerate(_reader(text, form), start=1):
            cells = _without_empty_end(row)
            if cells:
                yield number, cells
    except csv.Error as error:
        raise TableRefusedError(f"The table cannot be read: {error}.", _SAVE_AS) from error


def _rows_as_utf8(content: bytes, form: _Form) -> dict[int, list[str]]:
    """Decode a table as UTF-8 and return its rows by number, as in `_rows`; {} if that fails.

    This is needed because `_decoded` may read a UTF-8 table in another encoding if one of its
    captions is unusual.
    """
    with suppress(UnicodeDecodeError, TableRefusedError):
        return dict(_rows(content.decode("utf-8-sig"), form))
    return {}


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
