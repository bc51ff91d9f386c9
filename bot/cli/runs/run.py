"""`lorabot run`: remove and restore runs, and revoke links to their files."""

from cyclopts import App

from bot.cli.home import GUILD, OPERATOR, ServerHome
from bot.cli.output import console
from bot.cli.parameters import RunName
from bot.cli.trash import Removed, print_removal, restore_removed
from bot.messages.runs.downloads import links_revoked
from bot.service.downloads.revocations import Revocations
from training.errors import RequestError
from training.files.sizes import size
from training.wording import count

run = App(name="run")


@run.command
def remove(name: RunName, /, *, home: ServerHome | None = None) -> None:
    """Remove a finished run with its checkpoints; for 7 days, `restore` can bring it back."""
    home = home or ServerHome()
    removed = home.open().run_removals.remove(home.guild, name, by=OPERATOR)
    print_removal(removed.removal, home)
    files = count(removed.checkpoints, "checkpoint")
    total = size(removed.size_bytes)
    console.print(f"Removed with the run: {files} and everything else it saved, {total} in all.")


@run.command
def restore(name: Removed, /, *, home: ServerHome | None = None) -> None:
    """Restore a run that was removed in the last 7 days."""
    restore_removed("runs", name, home or ServerHome())


@run.command
def revoke_links(name: RunName, /, *, home: ServerHome | None = None) -> None:
    """Revoke all links made so far to a run's files, on the server given by --server."""
    home = home or ServerHome()
    if home.guild == GUILD:
        raise RequestError(
            "Only runs of a chat server have links to their files.",
            "Add --server with the server's id, which /checkpoint list shows on that server.",
        )
    local = home.open()
    local.runs.find(home.guild, name)
    Revocations(local.runtime.store).revoke(home.guild, name)
    console.print(links_revoked(name), markup=False)
