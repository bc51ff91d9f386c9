"""`lorabot checkpoint`: LoRA files that runs can start from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from bot.cli.home import OPERATOR, ServerHome
from bot.cli.output import console, print_json
from bot.cli.parameters import Json, ModelName
from bot.messages.checkpoint_text import checkpoint_card
from bot.messages.figures import size
from training.vocabulary import ExpertName

Name = Annotated[str, Parameter(help="A name listed by `lorabot checkpoint list`.")]

checkpoint = App(name="checkpoint")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoraTarget:
    """What a LoRA file was trained for."""

    model: ModelName
    expert: Annotated[
        ExpertName | None, Parameter(help="Wan 2.2: high or low. Default: as the file says.")
    ] = None
    name: Annotated[str | None, Parameter(help="Name to store it as. Default: the file's.")] = None


@checkpoint.command
def add(
    file: Annotated[Path, Parameter(help="A .safetensors file from musubi-tuner or ComfyUI.")],
    /,
    *,
    binding: LoraTarget,
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
        console.print(checkpoint_card(record).text, markup=False)


@checkpoint.command(name="list")
def list_(*, json: Json = False, home: ServerHome | None = None) -> None:
    """List the LoRA files that runs can start from."""
    home = home or ServerHome()
    found = home.open().loras.all(home.guild)
    if json:
        print_json([record.model_dump(mode="json") for record in found])
        return
    table = Table("checkpoint", "model", "expert", "rank", "size", box=None)
    for record in found:
        cells = (record.name, record.model, record.expert, str(record.rank))
        table.add_row(*cells, size(record.size_bytes))
    console.print(table if found else "No LoRA files yet. Add one with lorabot checkpoint add.")


@checkpoint.command
def remove(name: Name, /, *, home: ServerHome | None = None) -> None:
    """Remove a LoRA file. Runs that started from it keep their own copy."""
    home = home or ServerHome()
    home.open().loras.remove(home.guild, name)
    console.print(f"Removed {name}. Runs that started from it keep their own copy.")
