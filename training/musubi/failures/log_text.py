"""Recovers the lines that a program printed, whichever tools collected and stored its log."""

import json
import re
from collections.abc import Iterator

_ESCAPES = re.compile(
    r"(?:\x1b|\^\[|␛)(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"
)
_LINE_ENDS = re.compile(r"\r*\n|\r")
# UTF-16 text inside a file in another encoding; PowerShell appends such text to files.
_WIDE = re.compile(rb"(?:[\t\n\r -~]\0){8,}")
_WIDE_BIG = re.compile(rb"(?:\0[\t\n\r -~]){8,}")
_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_SAMPLE = 4096
_LONGEST_LINE = 50_000
# Log collectors that write JSON store the text of a line under one of these keys.
_JSON_TEXTS = ("log", "message", "msg", "textPayload", "text", "line")

_CLOCK = r"\d{1,2}:\d\d(?::\d\d)?(?:[.,-]\d+)?(?: ?[AP]M)?"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d|\(GMT[+-][\d:]+\)))?"
_DATE = r"(?:\d{4}[-/.]\d\d[-/.]\d\d|\d\d[-/.]\d\d[-/.](?:\d{4}|\d\d))"
_SYSLOG_DATE = (
    rf"(?:[A-Z][a-z]{{2}},? )?[A-Z][a-z]{{2}} [ \d]?\d (?:\d{{4}} )?{_CLOCK}(?: \d{{4}})?"
)
_TIME = (
    rf"(?:{_DATE}[T _|]{_CLOCK}{_ZONE}|{_CLOCK}|{_SYSLOG_DATE}|\d{{10}}(?:\.\d+|\d{{3}}|\d{{9}})?)"
)
_LEVEL = r"(?:DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|CRITICAL|FATAL)"
_STREAM = r"(?:STD(?:ERR|OUT)|std(?:err|out))"
_PREFIX = re.compile(
    r"(?:"
    rf"{_SYSLOG_DATE} [\w.-]+ [\w./-]+(?:\[\d+\])?:(?= |$)"
    # A time; then perhaps a host and a program, or a level between bars or dashes.
    rf"|(?:\[{_TIME}\]|{_TIME})(?= |\t|\||$)"
    r"(?: [\w.-]+ [\w./-]+\[\d+\]:(?= |$)"
    rf"|(?: - | \| )(?=\S)(?:[\w.]+(?: - | \| ))??(?P<level>{_LEVEL})(?: - | *\| |: )"
    r"(?:[\w.]+:[\w<>.]+:\d+ - )?)?(?: - | ?\| )?"
    rf"|\[(?P<tag>{_LEVEL})\](?= |$)"
    r"|\[ *\+?\d+\.\d{3,}\]"  # a time, as the kernel writes it
    rf"|\[?{_STREAM}\]?(?: [FP](?= |$)|:| ?\|)?(?=[ \t]|$)"
    # prefixes of launchers such as torchrun and mpirun
    r"|\[(?:(?:default|rank|Rank )?\d+|\d+,\d+)\](?:(?:<std(?:err|out)>)?:|(?=[ \t]|$))"
    r"|\[pod/[\w./-]+\](?= |$)"
    r"|\((?:[\w.]+ )?pid=\d+(?:, ip=[\d.]+)?\)(?= |$)"
    r"|[A-Za-z][\w.-]* +\|(?= |$)"  # prefixes of docker compose
    r")[ \t]?"
)
_FRAME = re.compile(r'^(?P<prefix>[^\n"]{1,200}?) {2}File "[^"\n]+", line \d+')
_BOX = re.compile(r"^[╭┌+][─━═-]+ ?(?P<title>Traceback \(most recent call last\)) ?[─━═-]+[╮┐+]?$")
_BOX_END = re.compile(r"^[╰└][─━═]+[╯┘]?$")
_RECORD = ("ERROR", "ERR", "CRITICAL", "FATAL")


def decode(data: bytes, first: bytes = b"") -> str:
    """Decode the end of a log.

    Args:
        data: The end of the log, or all of it.
        first: The first bytes of the log, where a byte order mark may be; b"" if `data` has them.
    """
    encoding = _MARKS.get(first[:2] or data[:2]) or _unmarked(data)
    text = data.decode(encoding, "replace") if encoding else _narrowed(data)
    return text.removeprefix("\ufeff").lstrip("\0")


def _unmarked(data: bytes) -> str | None:
    """Guess the UTF-16 encoding of a text from its zero bytes; None if it is not UTF-16.

    This function is for texts without a byte order mark.
    """
    for sample in (data[:_SAMPLE], data[-_SAMPLE - len(data) % 2 :]):
        half = len(sample) // 2
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        if odd > half * 0.4 and even < half * 0.1:
            return "utf-16-le"
        if even > half * 0.4 and odd < half * 0.1:
            return "utf-16-be"
    return None


def _narrowed(data: bytes) -> str:
    """Decode UTF-8 text, some parts of which may be stored as UTF-16."""
    if b"\0" in data:
        for wide, encoding in ((_WIDE, "utf-16-le"), (_WIDE_BIG, "utf-16-be")):
            found = wide.search(data)
            rest = data[found.start() :].decode(encoding, "replace") if found else "\ufffd"
            if found is not None and not {"\ufffd", "\0"} & set(rest):
                return data[: found.start()].decode("utf-8", "replace") + rest
        for wide in (_WIDE, _WIDE_BIG):
            data = wide.sub(lambda found: found[0].replace(b"\0", b""), data)
    return data.decode("utf-8", "replace")


def plain_lines(text: str) -> str:
    """Return the text without colours, log collectors' prefixes, boxes and carriage returns."""
    text = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text))
    lines = [_without_known(line[:_LONGEST_LINE]) for line in _unpacked(text.split("\n"))]
    shapes = {shape: None for line in lines if (shape := _shape(line))}
    for shape in map(re.compile, shapes):
        lines = [shape.sub("", line, count=1) for line in lines]
    return "\n".join(_unboxed(lines))


def _unpacked(lines: list[str]) -> Iterator[str]:
    """Yield the lines; for a line that is a JSON object, yield the lines of the text in it."""
    for line in lines:
        if not (line.startswith("{") and line.rstrip().endswith("}")):
            yield line
            continue
        try:
            record = json.loads(line)
        except ValueError:
            yield line
            continue
        found = next((record[key] for key in _JSON_TEXTS if isinstance(record.get(key), str)), line)
        yield from _LINE_ENDS.sub("\n", _ESCAPES.sub("", found)).rstrip("\n").split("\n")


def _without_known(line: str) -> str:
    for _ in range(5):
        found = _PREFIX.match(line)
        if found is None or not found[0]:
            break
        line = line[found.end() :]
        level = found["level"] or found["tag"]
        if level is not None and level not in _RECORD:
            # Keep the level: it shows that this line does not belong to an exception above it.
            return f"{level}:{line}"
    return line


def _shape(line: str) -> str | None:
    """Return a pattern for the prefix of `File "x.py", line 1`; None if only spaces precede it.

    Lines of a traceback share such a prefix when an unknown log collector has added it.
    """
    found = _FRAME.match(line)
    if found is None or not re.search(r"[^\s|+-]", found["prefix"]):
        return None
    parts = re.split(rf"(\d+|\b{_LEVEL}\b)", found["prefix"].rstrip())
    return "^" + "".join(_generalised(part) for part in parts) + " ?"


def _generalised(part: str) -> str:
    if part.isdigit():
        return r"\d+"
    return _LEVEL if re.fullmatch(_LEVEL, part) else re.escape(part)


def _unboxed(lines: list[str]) -> Iterator[str]:
    """Yield the lines; remove the boxes that the library rich draws around tracebacks."""
    is_boxed = False
    for line in lines:
        bare = line.strip()
        if (title := _BOX.match(bare)) is not None:
            is_boxed = True
            yield f"{title['title']}:"
        elif is_boxed and _BOX_END.match(bare):
            is_boxed = False
        elif is_boxed and bare.startswith(("│", "┃", "|")):
            yield f"  {bare.strip('│┃| ')}"
        else:
            yield line
