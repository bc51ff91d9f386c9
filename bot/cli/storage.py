"""`lorabot storage`: list what takes up space and what it costs, or remove it."""

from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from bot.cli.home import OPERATOR, ServerHome
from bot.cli.output import confirmed, console, is_terminal, print_json, print_table
from bot.cli.parameters import Json
from bot.cli.trash import print_removal
from bot.installation import Installation
from bot.messages.storage import item_kind, monthly, removal_text
from training.errors import RequestError
from training.files.sizes import size
from training.registry.trash import day, restorable_until

Remove = Annotated[str | None, Parameter(help="Key of the item to remove, as listed.")]
Yes = Annotated[bool, Parameter(help="Remove without asking.", negative=())]


def storage(
    *,
    remove: Remove = None,
    yes: Yes = False,
    json: Json = False,
    home: ServerHome | None = None,
) -> None:
    home = home or ServerHome()
    local = home.open()
    if remove is not None:
        _remove(local, home, remove, is_confirmed=yes)
        return
    use = local.storage.use(home.guild)
    if json:
        items = [
            {"key": item.key, "kind": item.kind, "size_bytes": item.size_bytes}
            for item in use.items
        ]
        print_json({"items": items, "trash_bytes": use.trash.size_bytes})
        return
    prices = local.runtime.prices().machine if local.runtime.is_billed else None
    table = Table("key", "what", "size", *(["cost"] if prices else []), box=None)
    for item in use.items:
        cost = [monthly(item.size_bytes, prices)] if prices else []
        table.add_row(item.key, item_kind(item), size(item.size_bytes), *cost)
    if use.items:
        print_table(table)
    total = f", {monthly(use.size_bytes, prices)}" if prices else ""
    console.print(f"{size(use.size_bytes)} in all{total}.")
    if use.trash_until is not None:
        held = size(use.trash.size_bytes)
        console.print(f"The trash takes up {held} of this, until {day(use.trash_until)}.")
        console.print(f"  lorabot trash --empty{home.words}", markup=False)


def _remove(local: Installation, home: ServerHome, key: str, *, is_confirmed: bool) -> None:
    item = local.storage.find(home.guild, key)
    local.storage.require_unused(home.guild, item)
    text = removal_text(item, restorable_until(local.runtime.clock()))
    if not is_confirmed:
        if not is_terminal():
            raise RequestError(f"Nothing was removed yet. {text}", "To remove it, add --yes.")
        console.print(text, markup=False)
        if not confirmed(f"Remove {item.key}?"):
            return
    removal = local.storage.remove(home.guild, item, by=OPERATOR)
    if removal is None:
        console.print(f"Freed {size(item.size_bytes)}.")
        return
    print_removal(removal, home)
    console.print(
        f"Its {size(item.size_bytes)} are freed after that; lorabot trash --empty frees them now."
    )
