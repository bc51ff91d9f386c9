"""The table of the deployed Functions in bot/deploy/README.md: `python -m tests.resource_table`."""

import sys
from collections.abc import Mapping

from training.deployment.resources import (
    BOT,
    FUNCTIONS,
    HOURS,
    MINUTES,
    FunctionName,
    Resources,
    ServerResources,
)

_COLUMNS = (
    "function",
    "GPU, the first that is free",
    "CPU",
    "memory",
    "timeout",
    "retries",
    "runs",
)


def functions_table() -> str:
    """Return the table in Markdown."""
    return table(FUNCTIONS, BOT)


def table(functions: Mapping[FunctionName, Resources], bot: ServerResources) -> str:
    """Return the table of Functions and of the bot's server in Markdown."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS)]
    always = ("none", f"{bot.cpu:g}", f"{bot.memory_gib:g} GiB", "none", "none", "always, one copy")
    rows.append(("`Bot`, a server", *always))
    rows += [_row(name, resources) for name, resources in functions.items()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _row(name: FunctionName, resources: Resources) -> tuple[str, ...]:
    return (
        f"`{name}`",
        ", ".join(resources.gpu) or "none",
        f"{resources.cpu:g}",
        f"{resources.memory_gib:g} GiB",
        _time(resources.timeout_seconds),
        str(resources.retries),
        f"`{resources.cron}`" if resources.cron else "when called",
    )


def _time(seconds: int) -> str:
    if seconds % HOURS == 0:
        return f"{seconds // HOURS} h"
    return f"{seconds // MINUTES} min"


if __name__ == "__main__":
    sys.stdout.write(functions_table())
