"""`lorabot demo`: play a chat session and verify its results."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bot.cli.home import Home
from bot.cli.output import console
from bot.demo.play import on_this_machine, play

Out = Annotated[
    Path, Parameter(help="Folder for the results; replaces the results of an earlier demo.")
]


def demo(*, out: Out = Path("demo-output"), home: Home | None = None) -> None:
    (home or Home()).this_machine("demo")
    scene = on_this_machine(home.home if home is not None else None)
    asyncio.run(play(out, console, scene))
