"""Recognizes texts that captioning programs write when they fail: errors and placeholders."""
# ruff: noqa: E501, RUF001  # patterns in many scripts, on long lines

import re

_FAULT = (
    r"(?:too many requests|rate[ _-]?limit|unauthori[sz]ed|forbidden|bad (?:request|gateway)|internal"
    r" server|service unavailable|(?:gateway )?time[d ]?-? ?out|quota|overloaded|invalid|no response|"
    r"failed|fail(?:ure)? to|unable to|could not|cannot|connection|CUDA|out of memory|API|model|"
    r"not found$|unknown$|none$|null$|request|exceeded|object has no|NoneType)"
)
_DOING = r"(?:generat|process|load|open|read|caption|fetch|call|decod|gett|creat|describ|analy[sz]|pars|retriev|encod|comput)"
# These patterns must match at the start of a text, because a real caption may mention an error
# later.
_MESSAGES = tuple(
    re.compile(f"(?i){pattern}")
    for pattern in (
        r"traceback \(most recent call last\)",
        r"\W*(?:(?:fatal|api|server|runtime|caption(?:ing)?|openai|gemini|ollama|http) )?error\W{0,2}:",
        rf"(?:\w+ ){{0,2}}error(?: code)?:? ?\(?\d{{3}}\)?(?:\W*$|\W{{1,3}}(?:\{{|{_FAULT}))",
        rf"\[?(?:error|exception|warning|failed|failure)\]?[:\]] *(?:\w+ ){{0,3}}{_FAULT}",
        rf"(?:an? )?(?:error|exception|failure) (?:occurred |happened )?(?:while |when |during |in |on |with )?{_DOING}(?:ing|ion)\b",
        r"(?-i:(?:[a-z_]+\.)*(?:[A-Z][A-Za-z]*)(?:Error|Exception)\b(?:[:(]|$))",
        r"(?:HTTP(?:/[\d.]+)? ?(?:error )?)?(?:4\d\d|5\d\d)(?: |: ?|$)(?:too many requests|unauthori[sz]ed|"
        r"forbidden|bad (?:request|gateway)|internal server error|service unavailable|gateway time|not found$)",
        r"<Response \[\d{3}\]>|torch\.\w*OutOfMemoryError|CUDA (?:error|out of memory)",
        r"(?:failed|could not|unable|cannot) (?:to )?(?:generate|process|load|caption|fetch|get|"
        r"describe|analy[sz]e|read|open|create|retrieve|connect|identify)\b.{0,30}(?:caption|image|picture|photo|video|"
        r"description|response|request|file|server|host)\b",
        r"(?:rate limit|quota|request limit|maximum context length) (?:exceeded|reached)|"
        r"you(?:['’]ve| have)? exceeded your",
        r"(?:request|connection|read|operation) (?:has )?timed out",
        r"\W*(?:(?:http|exit|status|error|err)(?: status)?(?: code)?|code)\W{0,2}\d{1,3}\W*$|(?:todo|fixme):|\W*ERR_[A-Z]",
        r"no [\w ]{1,30} (?:detected|recogni[sz]ed|found)\b[^,]{0,30}$|Exception occurred\b",
        # Messages of Python's exceptions, without the exception's name.
        r"['\"]?NoneType['\"]? object|'\w+' object (?:has no attribute|is not)|\[(?:Errno|WinError) -?\d+\]",
        r"(?:list|tuple|string|pop) (?:index|assignment index|indices|from empty)\b|name '\w+' is not defined|No module named ",
        r"HTTPS?ConnectionPool\(|\('Connection aborted|Max retries exceeded|Expecting (?:value|property name|',' delimiter)",
        r"Extra data: line \d|Expected all tensors|Expected (?:scalar type|string or bytes)|mat1 and mat2|probability tensor contains",
        r"(?:the )?sizes? of tensors?\b|Input type \(|division by zero|not enough values to unpack|too many values to unpack",
        r"<[^<>\n]{1,60} at 0x[0-9a-f]+>|<class '|(?:tensor|array)\(\[|dict_\w+\(\[",
        # Messages of servers and gateways.
        r"upstream connect error|no healthy upstream|incorrect API key|the server had an error|getaddrinfo|ECONN|socket hang up",
        r"your (?:input|image|prompt|request)\b[^.]{0,40}(?:may contain|was rejected|not allowed|safety system)",
        r"#(?:N/A|NAME\?|VALUE!|REF!|DIV/0!|NUM!|NULL!|SPILL!|CALC!|ERROR!)",  # in spreadsheets
        r"finish_reason\W|content_filter\b|the response was filtered|invalid operation: the `response",
        r"(?:Fehler|erreur|errore|erro|błąd|ошибка|помилка|hata|fout|virhe|chyba|hiba|eroare|lỗi|kesalahan|错误|錯誤|异常|エラー|오류|خطأ)\s*(?:code |\d{3}|[:：])",
        r"(?:请求|請求|生成|识别|加载|处理|上传|下载|网络|图片加载|服务器?)(?:失败|失敗|错误|錯誤|超时|异常|繁忙)",
        r"(?:生成|処理|読み込み|取得|通信)(?:に失敗|エラー)|(?:생성|처리|요청|로드)(?:에)? ?실패",
    )
)
_PICTURE_FILE = r"[^\n]{1,200}\.(?:png|jpe?g|webp|gif|bmp|avif|heic|mp4|mov|webm|mkv|avi|txt)"
# Placeholders: this pattern must match the whole text.
_NOTHING = re.compile(
    r"(?i)(?:none|null|nil|nan|undefined|n[./]?a\.?|\\N|empty|false|true|object object|"
    r"(?:error|caption error|failed|unknown|unlabell?ed|unanswerable|uncaptioned|placeholder|untitled|todo|fixme|tbd|lorem ipsum.*)|"
    r"(?:(?:your|insert|enter|write|add|type|put|the|a|test) )*(?:caption|description|prompt|text)(?: goes)?(?: here| text)?|"
    r"caption ?\d+|无|無|なし|空|нет|없음|"
    rf"https?://\S+|[^\s/\\]+\.(?:png|jpe?g|webp|gif|bmp|avif|heic|mp4|mov|webm|mkv|avi|txt)|"
    rf"(?:[a-z]:\\|\\\\|~?/|\.{{1,2}}/){_PICTURE_FILE})"
)
# These are placeholders only on their own: after another word, they can be a short caption, such as
# "ann1ka, photo 3".
_NUMBERED = re.compile(r"(?i)(?:image|picture|photo|video|clip) ?\d+")
_WRAPPING = " \t\n\"'\u201c\u201d\u2018\u2019`.!?()[]{}<>*_#$%。！"
# A short text is an error message if all its words are in these two lists, and if it has a word of
# the second list or a phrase that matches `_NOT_DONE`.
_MESSAGE_WORDS = """
a access account after again an analyze analyzed and any api are at authentication authorization
available bad be because been billing but by can caption captioning captions check clip code
completed connection contact content context core could create created creating cuda current
currently data decode describe described describing description descriptions details due dumped
during encountered entry fault fetch fetching few file filter find for found from gateway
generate generated generating generation get getting given gpu guidelines had happened has have
here host http https i image images in input internal is it its key later length limited load
loaded loading many max maximum memory minute minutes model moderation moment my network not now
occurred of on open opening or out output page parse password permission photo picture plan
please policies policy process processed processing prompt provided quota rate read reading
receive received repo repository request requests resource response result results retrieve
retrieved retry returned returns right seconds send server service something sorry status
support system tag tags text that the there this time to token tokens too try url usage user
username video was we we're went were when while with yet you your
"""
_FAILURE_WORDS = """
aborted blocked can't canceled cancelled cannot corrupted couldn't crashed denied deprecated
disconnected doesn't err error errors exceeded exception expired fail failed failing fails
failure filtered flagged forbidden incorrect insufficient interrupted invalid isn't killed limit
missing no none nothing null oom oops overloaded refused rejected reset safety segmentation
timed timeout unable unauthorized unavailable undefined unexpected unknown unsupported wasn't
wrong
"""
_NOT_DONE = re.compile(
    r"\b(?:not|n't) (?:be |been )?(?:\w+ed|found|available|given|read)\b"
    r"|out of memory|timed? ?out|too many requests|rate limit"
)
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_FAILURES = frozenset(_FAILURE_WORDS.split())
_OF_MESSAGES = _FAILURES.union(_MESSAGE_WORDS.split())
_LONGEST_MESSAGE = 25  # words
_FEWEST_REPEATS, _MOST_IN_LOOP = 6, 2  # at most 2 different words, with at least 6 words for each


def is_failure(text: str) -> bool:
    """Whether a text is an error message, a placeholder, or only repeats one or two words."""
    return (
        _NOTHING.fullmatch(_once(text).strip(_WRAPPING)) is not None
        or any(pattern.match(_unquoted(text)) for pattern in _MESSAGES)
        or _is_message(text)
        or _is_loop(text)
    )


def is_numbered_placeholder(text: str) -> bool:
    """Whether a text is nothing but a kind of file and a number, like "Photo 3" or "image12"."""
    return _NUMBERED.fullmatch(text.strip(_WRAPPING)) is not None


def _once(text: str) -> str:
    """Return "null" for "null, null, null": a text of one repeated word becomes that word."""
    words = {word.strip(",") for word in text.split()}
    return words.pop() if len(words) == 1 else text


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] + text[-1:] in ('""', "''", "\u201c\u201d") else text


def _is_message(text: str) -> bool:
    """Whether all words of a text are typical of error messages, as in "Image not found"."""
    if not text.isascii() and "’" not in text:
        return False
    plain = text.lower().replace("’", "'")
    words = _WORD.findall(plain)
    return (
        len(words) <= _LONGEST_MESSAGE
        and (not _FAILURES.isdisjoint(words) or _NOT_DONE.search(plain) is not None)
        and _OF_MESSAGES.issuperset(words)
    )


def _is_loop(text: str) -> bool:
    """Whether a text repeats one or two words many times: "the the the the the the"."""
    words = [word.strip(_WRAPPING + ",") for word in text.casefold().split()]
    different = len({*words})
    return different <= _MOST_IN_LOOP and len(words) >= _FEWEST_REPEATS * different
