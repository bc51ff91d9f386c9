"""`lorabot dataset`: list, remove and restore datasets."""

from cyclopts import App
from rich.table import Table

from bot.cli.home import OPERATOR, ServerHome
from bot.cli.output import console, print_error, print_json, print_table
from bot.cli.parameters import Json, StoredName
from bot.cli.trash import Removed, print_removal, restore_removed
from bot.messages.datasets.cards import lacking_text
from bot.messages.datasets.report import media_counts

dataset = App(name="dataset")


@dataset.command(name="list")
def list_(*, json: Json = False, home: ServerHome | None = None) -> None:
    """List the newest version of every dataset."""
    home = home or ServerHome()
    found, damaged = home.open().datasets.newest(home.guild)
    for error in damaged:
        print_error(error, home.words)
    if json:
        print_json([version.model_dump(mode="json") for version in found])
        return
    if not found and not damaged:
        console.print("No datasets yet. Add one with lorabot add.")
    if not found:
        return
    table = Table("dataset", "content", "added", box=None)
    for version in found:
        content = media_counts(version.images, version.clips) + lacking_text(version, "; ")
        table.add_row(str(version.ref), content, f"{version.added_at:%Y-%m-%d}")
    print_table(table)


@dataset.command
def remove(name: StoredName, /, *, home: ServerHome | None = None) -> None:
    """Remove a dataset or a version of it; for 7 days, `restore` can bring it back.

    Runs trained on it keep their checkpoints.
    """
    home = home or ServerHome()
    print_removal(home.open().dataset_removals.remove(home.guild, name, by=OPERATOR), home)


@dataset.command
def restore(name: Removed, /, *, home: ServerHome | None = None) -> None:
    """Restore a dataset, or a version, that was removed in the last 7 days."""
    restore_removed("datasets", name, home or ServerHome())
