"""Failures to connect to Hugging Face, or to download from it."""

from dataclasses import replace

from training.musubi.failures.known.entry import KnownFailure

_LATER = "Resume the run in a few minutes."
_CONNECTION = (
    r"[Tt]imed out|[Tt]ime-?out|Connect(ion)?Error|Connection (reset|aborted|refused|broken)"
    r"|RemoteDisconnected|ProtocolError|IncompleteRead|ChunkedEncodingError|peer closed"
    r"|Server disconnected|\[Errno (32|104|110|111|113|101)\]|WinError 100(53|54|60|61)\]"
    r"|UNEXPECTED_EOF|EOF occurred in violation|BAD_RECORD_MAC|DECRYPTION_FAILED"
    r"|Network is unreachable|CAS service error|Data processing error|[Rr]econstruction error"
    r"|Consistency check failed|Max retries exceeded|error sending request|error decoding response"
)
_HUB = r"We couldn't connect to 'https://huggingface\.co'|LocalEntryNotFoundError"
_SERVER = (
    r"\b5\d\d Server Error|HTTP status server error|Bad Gateway|Service (Temporarily )?Unavailable"
    r"|Gateway Time-?out|Internal Server Error|status code 5\d\d"
)

# huggingface_hub may raise an exception that does not say why. Then the reason is in the exception
# that came before it, which the traceback also shows.
_LIMIT = KnownFailure(
    "hub-limit",
    r"429 Client Error|Too Many Requests|rate[- ]limit|status code 429",
    "Hugging Face got too many requests from this machine's IP address.",
    f"{_LATER} With a token in HF_TOKEN, the limit is higher.",
    retry=True,
)
_CERTIFICATE = KnownFailure(
    "certificate",
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|self[- ]signed certificate"
    r"|invalid peer certificate|UnknownIssuer|WRONG_VERSION_NUMBER|unable to get local issuer",
    "The connection to Hugging Face is not trusted: a proxy intercepts it, certificates are "
    "missing, or the machine's clock is wrong.",
    "Correct the clock, and set SSL_CERT_FILE and REQUESTS_CA_BUNDLE to the proxy's certificate; "
    "then resume the run.",
)
_DOWN = KnownFailure(
    "hub-down",
    _SERVER,
    "Hugging Face could not answer: {line}",
    _LATER,
    retry=True,
)
_BROKEN = KnownFailure(
    "connection",
    _CONNECTION,
    "The connection broke: {line}",
    _LATER,
    retry=True,
    within=r"huggingface|http|urllib|requests|socket|ssl|hub|download",
)

NETWORK_FAILURES = (
    KnownFailure(
        "proxy",
        r"ProxyError|Tunnel connection failed|407 Proxy|Unable to connect to proxy",
        "This machine's proxy refused the connection or could not be reached: {line}",
        "Correct HTTPS_PROXY, with name and password if the proxy asks for them, or unset it; then "
        "resume the run.",
    ),
    KnownFailure(
        "hub-missing",
        r"RepositoryNotFoundError|EntryNotFoundError: 404|RemoteEntryNotFoundError"
        r"|RevisionNotFoundError|404 Client Error|HFValidationError"
        r"|is not a local folder and is not a valid model identifier",
        "Hugging Face has no such repository or file, or the token has no access to it: {line}",
        "Correct the name, or set HF_TOKEN to a token with access; then resume the run.",
    ),
    KnownFailure(
        "gated",
        r"GatedRepoError|401 Client Error|403 (Client Error|Forbidden)|401 Unauthorized"
        r"|Access to model .* is restricted",
        "Hugging Face denies access to a file: its licence has not been accepted or the token is "
        "missing.",
        "Accept the licence on the model's page and set HF_TOKEN, then resume the run.",
    ),
    _LIMIT,
    replace(_LIMIT, pattern=_HUB, within=r"429 Client Error|Too Many Requests"),
    _CERTIFICATE,
    replace(_CERTIFICATE, pattern=_HUB, within=r"CERTIFICATE_VERIFY_FAILED"),
    _DOWN,
    replace(
        _DOWN,
        pattern=_HUB,
        cause="Hugging Face could not answer.",
        within=rf"{_SERVER}|Read ?[Tt]imed? ?out|Connection (reset|aborted)|RemoteDisconnected",
    ),
    KnownFailure(
        "offline",
        rf"{_HUB}|Failed to resolve '|NameResolutionError|[Tt]emporary failure in name resolution"
        r"|getaddrinfo failed|Name or service not known|nodename nor servname"
        r"|OfflineModeIsEnabled|offline mode is enabled|No address associated with hostname"
        r"|outgoing traffic has been disabled|dns error",
        "A file such as the tokenizer is not on this machine, and Hugging Face cannot be reached.",
        "Connect the machine to the internet, or ask the operator to download that file once; then "
        "resume the run.",
    ),
    _BROKEN,
    replace(
        _BROKEN,
        pattern=r"(huggingface|hf\.co|requests\.exceptions|httpx|httpcore|urllib3|aiohttp)"
        rf".*({_CONNECTION})|downloading using `hf_transfer`|payload is not completed"
        r"|^(Connection(Reset|Aborted|Refused)Error|TimeoutError: .*timed out|socket\.timeout"
        r"|http\.client\.|ssl\.SSL|OSError: \[Errno (101|104|110|113)\])"
        r"|WinError 100(53|54|60|61)\]|CAS service error|Data processing error|xet.*error"
        r"|Consistency check failed",
        within="",
    ),
)
