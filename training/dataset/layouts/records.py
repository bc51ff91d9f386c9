"""Reads the files in which other tools list captions, and returns their rows as records.

The format is recognized by the content, not by the extension: JSON, JSON Lines, CSV and similar
tables, YAML, and lists such as `001.png: ann1ka`.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from training.dataset.captions.table import DELIMITERS

IsFile = Callable[[str], bool]  # returns whether a text names an image or clip in the zip
# Key of a copy of each row's cell in the column with the most text. It is used if no column title
# is known.
LONGEST = ""
_DEEPEST = 3  # levels of JSON objects that may enclose the records
_SHOWN_ROWS = 50  # number of rows from which the content of the columns is guessed
_SEPARATOR_LINE = re.compile(r"(?i)\s*sep=.?\s*")
_SEPARATOR = re.compile(r"\s*(?:[\t|:,;=]|\s->\s|\s-\s)\s*|\s+")
_MOST_SEPARATORS = 12
_HARD = re.compile(r"[\t|:,;=]")
_YAML_ITEM = re.compile(r"(?P<first>- +)?(?P<key>[A-Za-z_]\w*): *(?P<value>.*)")
_NUMBER_SIGN = re.compile(r"#\d+$")  # Flickr30k adds such a number to file names


class Record(NamedTuple):
    """One row of a table.

    Attributes:
        cells: The values, keyed by normalized titles, such as `file_name`.
        name: The record's key in a JSON object, or the file that it names in a list or in a table
            without titles; else "".
        unread: The text of the row if it cannot be read; else "".
    """

    cells: Mapping[str, object]
    name: str = ""
    unread: str = ""


def read_records(text: str, is_file: IsFile) -> list[Record]:
    """Return the records of a text, one for each row or entry; [] if it has none."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            return list(_json(text, is_file))
        return list(_yaml(text)) or list(_list(text, is_file)) or list(_table(text, is_file))
    except (ValueError, csv.Error, RecursionError):
        return []


def cells_of(entry: object) -> dict[str, object]:
    """Return an object's values under normalized keys, such as `file_name` for "File Name"."""
    if not isinstance(entry, dict):
        return {}
    return {
        re.sub(r"[\W_]+", "_", str(key).casefold()).strip("_"): value
        for key, value in cast("Mapping[object, object]", entry).items()
    }


def _json(text: str, is_file: IsFile) -> Iterator[Record]:
    try:
        content: object = json.loads(text)
    except ValueError:
        yield from _json_lines(text)
    else:
        yield from _objects(content, is_file)


def _json_lines(text: str) -> Iterator[Record]:
    for line in filter(str.strip, text.split("\n")):
        try:
            yield Record(cells_of(json.loads(line)))
        except ValueError:
            yield Record({}, unread=line.strip())


def _objects(content: object, is_file: IsFile, depth: int = _DEEPEST) -> Iterator[Record]:
    """Yield the records in a JSON list or object; objects are searched `depth` levels deep."""
    if isinstance(content, list):
        items = cast("list[object]", content)
        rows = [cast("list[object]", item) for item in items if isinstance(item, list)]
        yield from _untitled(rows, is_file)
        yield from (Record(cells) for cells in map(cells_of, items) if cells)
    elif isinstance(content, dict):
        yield from _object(cast("dict[str, object]", content), is_file, depth)


def _object(entries: Mapping[str, object], is_file: IsFile, depth: int) -> Iterator[Record]:
    if _names_file(entries, is_file):
        yield Record(cells_of(entries))
    elif any(is_file(name) for name in entries):
        yield from _by_name(entries)
    elif (table := _coco(entries) or _columns(entries, is_file)) is not None:
        yield from table
    elif depth:
        for entry in entries.values():
            yield from _objects(entry, is_file, depth - 1)


def _names_file(entry: object, is_file: IsFile) -> bool:
    """Whether an object is a single record, that is, whether one of its values names a file."""
    return any(isinstance(one, str) and is_file(one) for one in cells_of(entry).values())


def _by_name(entries: Mapping[str, object]) -> Iterator[Record]:
    for name, entry in entries.items():
        yield Record(cells_of(entry) or {"captions": entry}, name)


def _coco(entries: Mapping[str, object]) -> list[Record] | None:
    """Return a record for each COCO annotation, with its image's file name; None if not COCO."""
    images, notes = entries.get("images"), entries.get("annotations")
    if not isinstance(images, list) or not isinstance(notes, list):
        return None
    named = {
        str(cells.get("id")): cells.get("file_name")
        for cells in map(cells_of, cast("list[object]", images))
    }
    return [
        Record({**cells, "file_name": named.get(str(cells.get("image_id")))})
        for cells in map(cells_of, cast("list[object]", notes))
    ]


def _columns(entries: Mapping[str, object], is_file: IsFile) -> list[Record] | None:
    """Return the rows of a table that pandas saved column by column; None for any other data."""
    if all(_names_file(entry, is_file) for entry in entries.values()):
        return None  # the object holds records, not columns
    titles, data = entries.get("columns"), entries.get("data")
    if isinstance(titles, list) and isinstance(data, list):
        names, rows = cast("list[object]", titles), cast("list[object]", data)
        lists = [cast("list[object]", row) for row in rows if isinstance(row, list)]
        return [Record(cells_of(dict(zip(names, row, strict=False)))) for row in lists]
    columns = [_column(column) for column in entries.values()]
    if len(columns) < 2 or not columns[0] or len({len(column) for column in columns}) > 1:
        return None
    return [
        Record(cells_of(dict(zip(entries, row, strict=True)))) for row in zip(*columns, strict=True)
    ]


def _column(column: object) -> list[object]:
    """Return the cells of a column; [] if it is not a list or object of plain values."""
    if isinstance(column, dict):
        column = [*cast("dict[str, object]", column).values()]
    if not isinstance(column, list):
        return []
    cells = cast("list[object]", column)
    return [] if any(isinstance(cell, dict | list) for cell in cells) else cells


def _yaml(text: str) -> Iterator[Record]:
    """Yield the records of a YAML list whose items have no nested values."""
    cells: dict[str, object] = {}
    for line in filter(str.strip, text.splitlines()):
        match = _YAML_ITEM.fullmatch(line.strip() if cells else line)
        if match is None or not (cells or match["first"]):
            return
        if match["first"] and cells:
            yield Record(cells)
            cells = {}
        cells |= cells_of({match["key"]: _unquoted(match["value"].strip())})
    if cells:
        yield Record(cells)


def _list(text: str, is_file: IsFile) -> Iterator[Record]:
    """Yield a record for each line, if all lines are like `001.png: ann1ka`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rows = [_listed(line, is_file) for line in lines if not line.startswith("#")]
    if all(rows):
        yield from (Record({"captions": row[1]}, row[0]) for row in rows if row)


def _listed(line: str, is_file: IsFile) -> tuple[str, str] | None:
    """Split a line such as `001.png: ann1ka` after the file name; None if it names no file."""
    found: tuple[str, str] | None = None
    for count, match in enumerate(_SEPARATOR.finditer(line)):
        name, rest = line[: match.start()], line[match.end() :]
        name = _NUMBER_SIGN.sub("", _unquoted(name))
        # An ordinary word may happen to be a file's stem. So a name without an extension must be
        # followed by a separator such as `:`, not just a space.
        is_clear = "." in name or _HARD.search(match.group()) is not None
        if count < _MOST_SEPARATORS and rest and is_clear and is_file(name):
            found = name, _unquoted(rest)
    return found


def _table(text: str, is_file: IsFile) -> Iterator[Record]:
    first, _, rest = text.partition("\n")
    text = rest if _SEPARATOR_LINE.fullmatch(first) else text  # skip Excel's line `sep=;`
    tables = [_split(text, delimiter) for delimiter in DELIMITERS]
    rows = max(tables, key=lambda rows: sum(any(map(is_file, row)) for row in rows[:_SHOWN_ROWS]))
    if not any(map(is_file, rows[0] if rows else ())):
        file = _file_column(rows[1:], is_file)
        titles = [*cells_of(dict.fromkeys(rows[0]))] if rows else []
        if file is not None and len(titles) == len(rows[0]):
            yield from _titled(titles, rows[1:], file)
            return
    yield from _untitled(rows, is_file)


def _split(text: str, delimiter: str) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    found = ([cell.strip() for cell in row] for row in rows)
    return [row for row in found if any(row) and len(row) > 1]


def _file_column(rows: Sequence[Sequence[object]], is_file: IsFile) -> int | None:
    """Return the index of the column that most often names a file; None if none ever does."""
    counts: dict[int, int] = {}
    for row in rows[:_SHOWN_ROWS]:
        for at, cell in enumerate(row):
            counts[at] = counts.get(at, 0) + (isinstance(cell, str) and is_file(cell))
    best = max(counts, key=lambda at: counts[at], default=None)
    return best if best is not None and counts[best] else None


def _titled(titles: list[str], rows: Sequence[list[str]], file: int) -> Iterator[Record]:
    """Yield the rows of a table with titles; cells split at unquoted commas are joined again."""
    text = _text_column([row for row in rows if len(row) == len(titles)] or rows, file)
    for row in rows:
        cells = _joined(row, len(titles), text)
        longest = cells[text] if text < len(cells) and any(map(str.isalpha, cells[text])) else ""
        yield Record({**dict(zip(titles, cells, strict=False)), LONGEST: longest})


def _untitled(rows: Sequence[Sequence[object]], is_file: IsFile) -> Iterator[Record]:
    """Yield the rows of a table whose column titles are not known.

    The captions are taken from the column with the most text.
    """
    file = _file_column(rows, is_file)
    texts = [[cell if isinstance(cell, str) else "" for cell in row] for row in rows]
    if file is None or not texts:
        return
    width = min(map(len, texts))
    start = texts[1:] if len(texts) > 1 and not any(map(is_file, texts[0])) else texts
    at = _text_column(start, file) if width > 2 else 1 - file
    for row in start:
        cells = _joined(row, width, at)
        if max(file, at) < len(cells):
            yield Record({"captions": cells[at]}, cells[file])


def _text_column(rows: Sequence[Sequence[str]], file: int) -> int:
    width = min(map(len, rows), default=0)
    others = [at for at in range(width) if at != file]
    return max(others, key=lambda at: sum(len(row[at]) for row in rows[:_SHOWN_ROWS]), default=0)


def _joined(row: list[str], width: int, text: int) -> list[str]:
    """Undo splits at unquoted commas: join a row's surplus cells to the cell at index `text`."""
    surplus = len(row) - width
    if surplus <= 0:
        return row
    return [*row[:text], ", ".join(row[text : text + surplus + 1]), *row[text + surplus + 1 :]]


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else text
