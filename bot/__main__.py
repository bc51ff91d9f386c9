"""The operator's command line, `lorabot` or `python -m bot`."""

import logging
import sqlite3
import sys

from cyclopts import App, CycloptsError

from bot.cli.datasets.check import check
from bot.cli.datasets.versions import add, captions, diff
from bot.cli.hosting.demo import demo
from bot.cli.hosting.deploy import deploy
from bot.cli.hosting.doctor import doctor
from bot.cli.hosting.serve import sandbox, serve
from bot.cli.loras.checkpoint import checkpoint
from bot.cli.loras.import_volume import import_volume
from bot.cli.loras.merge import merge
from bot.cli.models import models
from bot.cli.options import Home
from bot.cli.output import errors, print_error
from bot.cli.runs.explain import explain_log
from bot.cli.runs.plan import plan
from bot.cli.runs.runs import cancel, download, runs
from bot.cli.runs.train import resume, train
from training.errors import TrainingError

USAGE, REFUSED = 2, 1
_INSTALLATION = ("--home", "--backend", "--app")

app = App(
    name="lorabot",
    help=(
        "Train LoRA adapters for the Wan 2.1 and 2.2 video models from a chat command.\n\n"
        "Without any account: `lorabot sandbox` opens a chat page in the browser, "
        "`lorabot train` does the same from the terminal. Both rehearse on a tiny stand-in model."
    ),
    help_format="markdown",
)
for command in (serve, sandbox, demo, models, check, add, captions, diff, plan, train, runs):
    app.command(command)
for command in (resume, cancel, download, merge, import_volume, deploy, doctor):
    app.command(command)
app.command(explain_log, name="explain")
app.command(checkpoint)


def main(arguments: list[str] | None = None) -> None:
    """Run one command line; exit codes: 0 fine, 1 refused or failed, 2 usage."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    given = _in_order(sys.argv[1:] if arguments is None else arguments)
    place = ""
    try:
        command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
        home = bound.arguments.get("home")
        place = home.words if isinstance(home, Home) else ""
        command(*bound.args, **bound.kwargs)
        sys.exit(0)
    except CycloptsError as error:
        errors.print(f"error: {error}", markup=False)
        errors.print("See lorabot --help, or --help of the command.")
        sys.exit(USAGE)
    except TrainingError as error:
        print_error(error, place)
        sys.exit(REFUSED)
    except ConnectionError as error:
        print_error(TrainingError(f"A connection failed: {error}.", "Try again in a moment."))
        sys.exit(REFUSED)
    except (OSError, sqlite3.Error) as error:
        print_error(TrainingError(f"The machine refused: {error}.", "Mend that and try again."))
        sys.exit(REFUSED)


def _in_order(arguments: list[str]) -> list[str]:
    """Return a command line with what names the installation after the command, as it is read."""
    count = 0
    while count < len(arguments) and arguments[count].split("=")[0] in _INSTALLATION:
        count += 1 if "=" in arguments[count] else 2
    return [*arguments[count:], *arguments[:count]]


if __name__ == "__main__":
    main()
