"""The operator's command line, `lorabot` or `python -m bot`.

Commands are listed by import path, so that only the command that runs is imported.
"""

import logging
import sqlite3
import sys
from importlib import metadata

from cyclopts import App, CycloptsError

from bot.cli.output import errors, print_error, print_every_letter
from bot.cli.system_errors import system_error
from bot.cli.usage import help_hint, usage_text
from training.errors import TrainingError

USAGE, REFUSED = 2, 1
_INSTALLATION = ("--home", "--backend", "--app")
_COMMANDS = {
    "bot.cli.hosting.serve:sandbox": """Open a chat page with the bot in your browser.

        Everything works as on Discord, without any account.""",
    "bot.cli.hosting.serve:serve": "Run the bot on Discord. Needs LORABOT_DISCORD_TOKEN.",
    "bot.cli.hosting.demo:demo": """Play a whole session in chat and verify every file it produces.

        Needs no account.""",
    "bot.cli.models:models": "List the models you can train, with their defaults.",
    "bot.cli.datasets.check:check": "Check a dataset's zip and report what is wrong with it.",
    "bot.cli.datasets.versions:add": "Store a zip as a dataset, or as a new version of one.",
    "bot.cli.datasets.versions:captions": """Print the captions of a dataset, or change them.

        --file and --prefix store the changed captions as a new version.""",
    "bot.cli.datasets.caption:caption": """Propose captions for samples of a dataset.

        Proposals wait until a person accepts them; no caption is changed.""",
    "bot.cli.datasets.versions:diff": "Show what changed between two versions of a dataset.",
    "bot.cli.datasets.dataset:dataset": "List, remove and restore datasets.",
    "bot.cli.runs.plan:plan": """Show what a run would do, how long it takes and what it costs.

        The plan lists the stages, the exact commands and the number of steps. Nothing is
        started.""",
    "bot.cli.runs.train:train": """Train a LoRA and follow the run until it ends.

        Ctrl-C stops following; the run continues.""",
    "bot.cli.runs.runs:runs": "List all runs, newest first.",
    "bot.cli.runs.train:resume": """Resume a failed or cancelled run and follow it until it ends.

        Ctrl-C stops following; the run continues.""",
    "bot.cli.runs.runs:cancel": "Stop a run. Its checkpoints are kept.",
    "bot.cli.runs.run:run": "Remove and restore runs, and revoke links to their files.",
    "bot.cli.runs.download:download": """Copy the checkpoints of a run into a folder.

        The folder also gets a ComfyUI workflow that loads them.""",
    "bot.cli.runs.explain:explain": """Explain from a log why training or caching failed.

        The exit code is 1 if the log shows no failure.""",
    "bot.cli.loras.checkpoint:checkpoint": "Manage the LoRA files that runs can start from.",
    "bot.cli.loras.merge:merge": """Merge a LoRA into a base model, or verify an earlier merge.

        A receipt records every merged layer. If any part of the LoRA does not fit, nothing is
        written.""",
    "bot.cli.loras.import_volume:import_volume": """Import datasets and LoRA files from the
        Modal Volumes that the guide's scripts filled. README.md says what the guide is.

        They are copied into your Modal deployment, or to this machine with --backend local.
        Each dataset is checked like an upload. The Volumes are not changed.""",
    "bot.cli.storage:storage": """List what takes up space and what it costs, or remove it.

        What is removed can be restored for 7 days; caches and merged bases are deleted at once.""",
    "bot.cli.trash:trash": """List removed items that can be restored, or delete them now.

        Otherwise, they are deleted after 7 days.""",
    "bot.cli.hosting.deploy:deploy": """Deploy the bot to Modal, or update a deployment.

        This command first checks the Modal token and the secrets, then deploys the stages, then
        the bot. Modal's own output goes to stderr.""",
    "bot.cli.hosting.bench_gpu:bench_gpu": """Measure a training step on this machine's GPU.

        This command times musubi-tuner's own step and this project's compiled step, one after
        the other, with random weights of the model's real shapes. It needs LORABOT_MUSUBI_DIR and
        a GPU.""",
    "bot.cli.hosting.doctor:doctor": """Check this machine, Modal and Discord.

        This command changes nothing and prints no token. --backend local skips Modal; --probe
        also starts a few short-lived containers on Modal and measures how it behaves.

        The exit code is 1 if a check fails.""",
}


def _version() -> str:
    """Return the version, which cyclopts cannot find: the package is not called `lorabot`."""
    return metadata.version("wan-lora-bot")


app = App(
    name="lorabot",
    help=(
        "Train LoRAs for the Wan 2.1 and 2.2 video models from a chat command.\n\n"
        "To try it without any account, run `lorabot sandbox` for a chat page in your browser, or "
        "`lorabot train` in the terminal. Both train a tiny stand-in model."
    ),
    help_format="markdown",
    version=_version,
)
for path, text in _COMMANDS.items():
    app.command(path, help=text)


def main(arguments: list[str] | None = None) -> None:
    """Run one command line. Exit codes: 0 success, 1 refused or failed, 2 wrong usage."""
    print_every_letter()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    given = _in_order(sys.argv[1:] if arguments is None else arguments)
    options = ""
    try:
        command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
        options = getattr(bound.arguments.get("home"), "words", "")
        command(*bound.args, **bound.kwargs)
        sys.exit(0)
    except CycloptsError as error:
        errors.print(f"error: {usage_text(error)}", markup=False)
        errors.print(help_hint(app.parse_commands(given)[0]), markup=False)
        sys.exit(USAGE)
    except TrainingError as error:
        print_error(error, options)
        sys.exit(REFUSED)
    except ConnectionError as error:
        print_error(TrainingError(f"A connection failed: {error}.", "Try again in a moment."))
        sys.exit(REFUSED)
    except OSError as error:
        print_error(system_error(error))
        sys.exit(REFUSED)
    except sqlite3.Error as error:
        fix = "Check the home folder, its permissions and the free disk space, then try again."
        print_error(TrainingError(f"A database of lorabot reported an error: {error}.", fix))
        sys.exit(REFUSED)


def _in_order(arguments: list[str]) -> list[str]:
    """Move installation options, such as `--home`, from before the command to the line's end."""
    count = 0
    while count < len(arguments) and arguments[count].split("=")[0] in _INSTALLATION:
        count += 1 if "=" in arguments[count] else 2
    return [*arguments[count:], *arguments[:count]]


if __name__ == "__main__":
    main()
