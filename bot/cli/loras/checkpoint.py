"""`lorabot checkpoint`: LoRA files that runs can start from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from bot.cli.home import GUILD, OPERATOR, ServerHome
from bot.cli.output import console, print_error, print_json, print_table
from bot.cli.parameters import Json, ModelName
from bot.cli.trash import Removed, print_removal, restore_removed
from bot.messages.loras import lora_card, terminal_usage
from training.files.sizes import size
from training.vocabulary import ExpertName

Name = Annotated[str, Parameter(help="A name listed by `lorabot checkpoint list`.")]

checkpoint = App(name="checkpoint")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainedFor:
    """What a LoRA file was trained for."""

    model: ModelName
    expert: Annotated[
        ExpertName | None,
        Parameter(help="Wan 2.2: high or low. Default: the expert that the file names."),
    ] = None
    name: Annotated[
        str | None, Parameter(help="Name to store it as. Default: the file's name.")
    ] = None


@checkpoint.command
def add(
    file: Annotated[Path, Parameter(help="A Wan LoRA as .safetensors, from any trainer.")],
    /,
    *,
    binding: TrainedFor,
    json: Json = False,
    home: ServerHome | None = None,
) -> None:
    """Check a LoRA file and store it for a model and expert."""
    home = home or ServerHome()
    record = home.open().loras.add(
        home.guild,
        file,
        model=binding.model,
        expert=binding.expert,
        name=binding.name,
        by=OPERATOR,
    )
    if json:
        print_json(record.model_dump(mode="json"))
    else:
        # A run started on the command line cannot use a chat server's LoRA files.
        start = f"{terminal_usage(record)}{home.words}" if home.guild == GUILD else None
        console.print(lora_card(record, start).text, markup=False)


@checkpoint.command(name="list")
def list_(*, json: Json = False, home: ServerHome | None = None) -> None:
    """List the LoRA files that runs can start from."""
    home = home or ServerHome()
    found, damaged = home.open().loras.all(home.guild)
    for error in damaged:
        print_error(error, home.words)
    if json:
        print_json([record.model_dump(mode="json") for record in found])
        return
    if not found and not damaged:
        console.print("No LoRA files yet. Add one with lorabot checkpoint add.")
    if not found:
        return
    table = Table("checkpoint", "model", "expert", "rank", "size", box=None)
    for record in found:
        cells = (record.name, record.model, record.expert, str(record.rank))
        table.add_row(*cells, size(record.size_bytes))
    print_table(table)


@checkpoint.command
def remove(name: Name, /, *, home: ServerHome | None = None) -> None:
    """Remove a LoRA file; for 7 days, `restore` can bring it back.

    Runs that started from it keep their own copy.
    """
    home = home or ServerHome()
    print_removal(home.open().lora_removals.remove(home.guild, name, by=OPERATOR), home)


@checkpoint.command
def restore(name: Removed, /, *, home: ServerHome | None = None) -> None:
    """Restore a LoRA file that was removed in the last 7 days."""
    restore_removed("checkpoints", name, home or ServerHome())
