"""`lorabot checkpoint`: LoRA files that trainings can start from."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from bot.cli.options import GUILD, OPERATOR, Home, Json, ModelName
from bot.cli.output import console, print_json
from bot.messages.checkpoint_text import checkpoint_card
from bot.messages.figures import size
from training.errors import RequestError
from training.vocabulary import ExpertName

Name = Annotated[str, Parameter(help="A name of `lorabot checkpoint list`.")]

checkpoint = App(name="checkpoint", help="LoRA files that trainings can start from.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServerHome(Home):
    """Whose checkpoints: the command line's own, or those of a chat server."""

    server: Annotated[
        str, Parameter(help="A chat server's id, as /checkpoint list there shows it.")
    ] = GUILD

    @property
    def guild(self) -> str:
        """Return the guild of that server.

        Raises:
            RequestError: It cannot be a server's id.
        """
        if self.server != GUILD and re.fullmatch(r"\d{1,20}", self.server) is None:
            raise RequestError(
                f"{self.server[:40]!r} is no id of a chat server.",
                "Copy it from the answer to /checkpoint list in that server.",
            )
        return self.server


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoraTarget:
    """What a file is for."""

    model: ModelName
    expert: Annotated[
        ExpertName | None, Parameter(help="Wan 2.2: high or low; read from the file if it says it.")
    ] = None
    name: Annotated[str | None, Parameter(help="Its name; made from the file's name.")] = None


@checkpoint.command
def add(
    file: Annotated[Path, Parameter(help="A .safetensors file of musubi-tuner or of ComfyUI.")],
    /,
    *,
    binding: LoraTarget,
    json: Json = False,
    place: ServerHome | None = None,
) -> None:
    """Check a LoRA file, bind it to a model and an expert, and store it."""
    place = place or ServerHome()
    record = place.open().checkpoints.add(
        place.guild,
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
def list_(*, json: Json = False, place: ServerHome | None = None) -> None:
    """List the LoRA files that trainings can start from."""
    place = place or ServerHome()
    found = place.open().checkpoints.all(place.guild)
    if json:
        print_json([record.model_dump(mode="json") for record in found])
        return
    table = Table("checkpoint", "model", "expert", "rank", "size", box=None)
    for record in found:
        cells = (record.name, record.model, record.expert, str(record.rank))
        table.add_row(*cells, size(record.size_bytes))
    console.print(table if found else "No checkpoints yet: add one with lorabot checkpoint add.")


@checkpoint.command
def remove(name: Name, /, *, place: ServerHome | None = None) -> None:
    """Remove one; runs that started from it keep their own copy."""
    place = place or ServerHome()
    place.open().checkpoints.remove(place.guild, name)
    console.print(f"{name} is removed; runs that started from it keep their own copy.")
