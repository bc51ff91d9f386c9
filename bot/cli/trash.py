"""`lorabot trash`, and code shared by all commands that remove or restore something."""

from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from bot.cli.home import ServerHome
from bot.cli.output import console, print_json, print_table
from bot.cli.parameters import Json
from bot.messages.remedies import terminal_command
from bot.messages.trash import removed_name, restored_text
from training.files.sizes import size
from training.operations.trash.emptying import KINDS, TrashBin
from training.registry.trash import TRASH_DAYS, Removal, day
from training.remedies import Restore
from training.store_keys import TrashKind
from training.wording import listed

Removed = Annotated[str, Parameter(help="A name listed by `lorabot trash`.")]
Empty = Annotated[
    bool, Parameter(help="Delete everything in the trash now, for good.", negative=())
]


def trash(*, json: Json = False, empty: Empty = False, home: ServerHome | None = None) -> None:
    home = home or ServerHome()
    local = home.open()
    if empty:
        freed = TrashBin(local.runtime).empty(home.guild, is_all=True)
        console.print(f"Deleted {size(freed.size_bytes)}.")
        return
    found = [one for kind in KINDS for one in local.restores.removals(home.guild, kind)]
    held = TrashBin(local.runtime).held(home.guild)
    if json:
        removals = [
            {
                "kind": one.kind,
                "name": removed_name(one),
                "items": one.items,
                "removed_at": one.at.isoformat(),
                "until": one.until.isoformat(),
            }
            for one in found
        ]
        print_json({"removals": removals, "size_bytes": held.size_bytes})
        return
    table = Table("what", "name", "removed", "can be restored until", box=None)
    for one in found:
        table.add_row(one.kind.removesuffix("s"), _items(one), day(one.at), day(one.until))
    if found:
        print_table(table)
    else:
        console.print(f"Nothing was removed in the last {TRASH_DAYS} days.")
    if held.size_bytes:
        console.print(f"The trash takes up {size(held.size_bytes)}; --empty deletes it now.")


def print_removal(removal: Removal, home: ServerHome) -> None:
    """Print what was removed, and how to restore it."""
    remedy = Restore(what=removal.kind, name=removed_name(removal))
    console.print(f"Removed {_items(removal)}.", markup=False)
    console.print(f"It can be restored until {day(removal.until)}:", markup=False)
    console.print(f"  {terminal_command(remedy, home.words)}", markup=False)


def restore_removed(kind: TrashKind, name: str, home: ServerHome) -> None:
    """Restore a removed item, whoever owns it: the operator may restore anything."""
    restores = home.open().restores
    restored = restores.restore(restores.find(home.guild, kind, name))
    console.print(restored_text(restored), markup=False)


def _items(removal: Removal) -> str:
    return listed(removal.items, 3) if removal.kind == "datasets" else removed_name(removal)
