"""Recognizes texts that are in another format, such as HTML or JSON, and are not captions."""

import re
from collections.abc import Mapping

# These patterns must match at the start of a text, because a real caption may mention markup later.
_FILES: Mapping[str, re.Pattern[str]] = {
    "RTF": re.compile(r"\{\\rtf"),
    "HTML": re.compile(r"(?i)<!doctype\s+html|<(?:html|meta|script|style|br|hr|img)(?=[\s/>])"),
    "XML": re.compile(r"(?i)<\?xml|<svg[\s>]"),
    "JSON": re.compile(
        r"""[\[({\s]*\{\s*("[^"\n]{0,80}"|'[^'\n]{0,80}')\s*:|\{\s*[A-Za-z_]\w*\s*:\s*["'\[{]"""
    ),
    "a code block": re.compile(r"```"),
    "subtitles": re.compile(
        r"WEBVTT(?!\S)|\d+\s*\n\d\d:\d\d:\d\d[,.]\d{3} -->|\[Script Info\]|\[\d\d:\d\d[.:]\d\d"
    ),
    "a Git LFS pointer": re.compile(r"version https://git-lfs\.github\.com/"),
    "a merge conflict": re.compile(r"<<<<<<< "),
    "PDF": re.compile(r"%PDF-\d"),
    "a data URL": re.compile(r"data:[\w.+-]+/[\w.+-]+[;,]"),
    # INI and TOML files, such as `desktop.ini`, Windows shortcuts and dataset TOMLs.
    "settings": re.compile(r"(?:[#;].*\n|\s)*\[{1,2}[\w. -]+\]{1,2}\s*\n\s*[\w. -]+\s*="),
    "YAML": re.compile(r"---\s*\n[\w-]+:"),
}
# A tag that opens the text and is closed later: for example `<p>`, or the `<caption>` that language
# models write.
_ELEMENT = re.compile(r"(?s)<([A-Za-z][\w:-]*)(?:\s[^<>]*)?>.*</\1\s*>")
_HTML_TAGS = {
    *("a", "b", "body", "center", "div", "em", "font", "head", "i", "li", "ol", "p", "pre"),
    *("span", "strong", "table", "u", "ul", "h1", "h2", "h3", "h4", "h5", "h6"),
}
# These patterns may match anywhere in a text, because no real caption contains such text.
_ANYWHERE: Mapping[str, re.Pattern[str]] = {
    "HTML": re.compile(
        r"(?i)<br\s*/?>|</?(?:a|img|span|div|p|font)\s+[a-z-]+=|"
        r"&(?:amp|quot|lt|gt|nbsp|apos|#\d{2,6}|#x[0-9a-f]{2,5});"
    ),
    # AUTOMATIC1111's web UI saves generation settings in text files beside its images.
    "generation settings": re.compile(
        r"(?m)^Negative prompt:|^Steps: \d+, \w|\bSteps: \d+, Sampler: "
    ),
}
# Special tokens that language models write around their answers, such as `<|im_end|>`.
_TOKENS = re.compile(
    r"<\|[\w ./-]{1,40}\|>|</?s>|</?(?:pad|unk|bos|eos|sep|cls|image|video|loc_\d+)>"
    r"|</?(?:[A-Z]+_)*(?:CAPTION|OD|OCR|PROPOSAL|TAGS)>"  # Florence-2's tasks
    r"|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|PAD|UNK|BOS|EOS)\]"
)
_DIALOGUE = re.compile(
    r"(?s)(?:USER|Human|User|user|### ?(?:Human|User|Instruction))\s*[:\n].*"
    r"(?:ASSISTANT|Assistant|\nassistant|### ?(?:Assistant|Response))\s*[:\n]"
    r"|(?:ASSISTANT|Assistant|### ?(?:Assistant|Response)):\s|assistant\s*[:\n]"
)
# A list as Python or JSON prints it, such as `['a woman']`; a tuple such as `('a woman',)`; bytes.
_LIST = re.compile(r"""(?s)\[\s*(['"]).*\1\s*\]|\(\s*(['"]).*\2,\s*\)|b(['"]).*\3""")
# YOLO labels such as `0 0.51 0.43 0.22 0.33`, and other texts that have only decimal numbers.
_NUMBERS = re.compile(r"[-+\d.,;:eE\s()\[\]]+")
_FRACTION = re.compile(r"\d*\.\d+")
_FEWEST_FRACTIONS = 4


def format_of(text: str) -> str | None:
    """Return the format of a text, such as "HTML"; None for plain text, the format of captions."""
    for kind, pattern in _FILES.items():
        if pattern.match(text):
            return kind
    if match := _ELEMENT.match(text):
        return "HTML" if match[1].lower() in _HTML_TAGS else "XML"
    if _LIST.fullmatch(text):
        return "a printed list"
    for kind, pattern in _ANYWHERE.items():
        if pattern.search(text):
            return kind
    if _DIALOGUE.match(text) or without_tokens(text) not in ("", text):
        return "a dialogue with a model"
    is_numeric = len(_FRACTION.findall(text)) >= _FEWEST_FRACTIONS and _NUMBERS.fullmatch(text)
    return "coordinates" if is_numeric else None


def without_tokens(text: str) -> str:
    """Return the text without special tokens of language models, such as `<|im_end|>`."""
    return _TOKENS.sub("", text).strip() if _TOKENS.search(text) else text
