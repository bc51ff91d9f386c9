"""What people are told to type in chat, in the words of the command line."""

import re

PLACE_OPTIONS = ("--home", "--backend", "--app")
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


def named_place(arguments: list[str]) -> str:
    """Return the options of a command line that name the installation, as they were typed."""
    found, number = "", 0
    while number < len(arguments):
        name, is_given, _ = arguments[number].partition("=")
        if name in PLACE_OPTIONS:
            taken = 1 if is_given else 2
            found += "".join(f" {word}" for word in arguments[number : number + taken])
            number += taken - 1
        number += 1
    return found
