"""`lorabot caption`: propose captions for a stored dataset."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bot.cli.home import ServerHome
from bot.cli.output import confirmed, console, is_terminal
from bot.cli.parameters import StoredName
from bot.cli.progress import counted
from bot.messages.datasets.proposals import made_text, plan_text
from bot.service.proposals import make_proposals, plan_proposals
from training.captioning.propose import Which
from training.captioning.templates import LoraKind
from training.errors import RequestError
from training.wording import count

if TYPE_CHECKING:
    from bot.settings import Settings
    from training.vocabulary import EngineName


def caption(
    dataset: StoredName,
    /,
    *,
    which: Annotated[
        Which, Parameter(help="Samples that lack a caption, or all samples.")
    ] = "missing",
    kind: Annotated[
        LoraKind,
        Parameter(name="--for", help="What the LoRA is to learn; captions leave that out."),
    ] = "character",
    yes: Annotated[bool, Parameter(help="Start without asking.", negative=())] = False,
    home: ServerHome | None = None,
) -> None:
    home = home or ServerHome()
    installation, guild = home.open(), home.guild
    captioner = installation.captioner(_engine(installation.settings))
    plan = plan_proposals(installation, guild, dataset, which, kind, captioner)
    text = plan_text(captioner, samples=plan.samples, frames=plan.frames)
    asks = captioner.asks_first and not yes
    if asks and not is_terminal():
        raise RequestError(text, "Nothing was started. To start without a question, add --yes.")
    console.print(text, markup=False)
    if asks and not confirmed("Start?"):
        return
    with counted("Captioning", is_quiet=False) as on_progress:
        made = make_proposals(installation, guild, plan, on_progress)
    console.print(f"{made.version.ref}: {count(made.made, 'caption')} proposed.", markup=False)
    console.print(made_text(made), markup=False)


def _engine(settings: "Settings") -> "EngineName":
    """Return the engine that runs of the installation use."""
    if settings.backend == "modal":
        return settings.engine
    return "musubi" if settings.musubi_dir is not None else "rehearsal"
