"""What the bot tells users whose commands were cut off by its restart."""

from training.errors import RequestError

# Commands that change nothing, with their menus and buttons.
_READING = frozenset(
    {"models", "runs", "status", "download", "epochs", "dataset list", "dataset show"}
    | {"dataset check", "captions diff", "dataset diff", "checkpoint list"}
)
# Actions that can be repeated without harm; no command shows whether they were carried out.
_REPEATABLE = frozenset({"revoke-links"})
# First word of a command or button id -> the command that shows the outcome.
_LOOK = {
    "dataset": "/dataset list",
    "Use": "/dataset list",
    "ds": "/dataset list",
    "checkpoint": "/checkpoint list",
    "settings": "/settings",
}
_RUNS = "/runs"


def interrupted(command: str) -> RequestError:
    """Return the answer to a command or button that a restart of the bot cut off.

    `command` is the command's name without its slash, or the button's id.
    """
    words = command.partition(":")[0]
    if words in _READING:
        done, fix = " Nothing was changed.", "Try again."
    elif words in _REPEATABLE:
        done, fix = "", "Try again; doing it twice is harmless."
    else:
        look = _LOOK.get(words.split(" ")[0], _RUNS)
        done, fix = "", f"Check with {look} whether it succeeded; if not, try again."
    return RequestError(f"The bot was restarted while handling your request.{done}", fix)
