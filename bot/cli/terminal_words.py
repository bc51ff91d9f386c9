"""What people are told to type in chat, in the words of the command line."""

import re

# Only what the command line can do too; the rest stays as it is typed in chat.
_COMMANDS = {
    "/dataset add": "lorabot add",
    "/dataset check": "lorabot check",
    "/dataset diff": "lorabot diff",
    "/train": "lorabot train",
    "/runs": "lorabot runs",
    "/status": "lorabot runs",
    "/checkpoint list": "lorabot checkpoint list",
    "/resume": "lorabot resume",
    "/cancel": "lorabot cancel",
    "/download": "lorabot download",
}
_NAMED = "|".join(re.escape(command) for command in _COMMANDS)
# Not in the middle of a path: what follows a letter, or is followed by another part of one.
_COMMAND = re.compile(rf"(?<![\w./])({_NAMED})(?![\w/-])((?: [a-z][\w-]*:[^\s,;]+)*)")
_OPTION = re.compile(r" ([a-z][\w-]*):")


def for_terminal(text: str, place: str = "") -> str:
    """Return a text with the commands of the chat as they are typed on a terminal.

    Args:
        text: What is said.
        place: The options that name the installation, with a space before them.
    """

    def typed(found: re.Match[str]) -> str:
        return _COMMANDS[found[1]] + place + _OPTION.sub(r" --\1 ", found[2])

    return _COMMAND.sub(typed, text)
