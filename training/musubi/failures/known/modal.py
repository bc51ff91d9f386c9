"""Failures of Modal's service, an account, an image or a Volume, as Modal reports them."""

from training.musubi.failures.known.entry import ELSEWHERE, KnownFailure

MODAL_FAILURES = (
    KnownFailure(
        "modal-token",
        r"modal\.exception\.(AuthError|PermissionDeniedError)|\bAuthError: Token|Token missing\."
        r"|Token ID is (malformed|invalid)|Could not authenticate client",
        "Modal does not accept the token: {line}",
        "Create a token for the app's workspace with modal setup, then resume the run.",
    ),
    KnownFailure(
        "modal-missing",
        r"modal\.exception\.NotFoundError|(Secret|Volume|App|Function|Environment|Dict) '[^']+' "
        r"not found|Secret is missing key|missing required (secret )?keys?",
        "Modal has no such secret, Volume or app, or the secret lacks a key: {line}",
        "Create the secret (modal secret create) or deploy again, then resume the run.",
    ),
    KnownFailure(
        "modal-image",
        r"Image build for \S+ (failed|terminated|timed out)",
        "Modal could not build the container's image: {line}",
        "Look for the reason in the build's log, above this message, and deploy again.",
    ),
    KnownFailure(
        "modal-client",
        r"modal\.exception\.VersionError|client version \S+ is (too old|no longer supported)",
        "The installed Modal client is too old: {line}",
        "Update the client (pip install --upgrade modal), deploy again and resume the run.",
    ),
    KnownFailure(
        "modal-volume",
        r"there are open files preventing the operation",
        "A Volume could not be reloaded while one of its files was open.",
        "Close the file before the reload, or keep it outside the Volume; then resume the run.",
        retry=True,
    ),
    KnownFailure(
        "modal-service",
        r"modal\.exception\.(Internal\w+|ServiceError|ConnectionError|ExecutionError|ClientClosed)"
        r"|Could not connect to the Modal server|grpclib\.exceptions\.\w+"
        r"|Container heartbeat (failed|timed out)",
        "Modal's service failed or could not be reached: {line}",
        f"{ELSEWHERE} If it happens again, look at Modal's status page.",
        retry=True,
    ),
)
