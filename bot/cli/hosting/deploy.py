"""`lorabot deploy`: deploy the bot and its stages to Modal."""

import os
from dataclasses import asdict, replace
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from bot.cli.home import Home
from bot.cli.output import console, errors, plain, print_json
from bot.cli.parameters import Json
from bot.deploy.deploy import current_prices
from bot.deploy.deploy import deploy as deploy_to_modal
from bot.doctor.chat import DISCORD, DiscordAccount, DiscordRefusedError
from bot.messages.figures import duration
from bot.messages.installation import idle_text, next_text
from bot.settings import Settings
from training.deployment.idle_cost import idle_costs
from training.deployment.names import ENGINE_VARIABLE
from training.deployment.resources import BOT, FUNCTIONS
from training.errors import RequestError
from training.vocabulary import EngineName

Trainer = Annotated[
    EngineName | None,
    Parameter(
        help="musubi, or rehearsal for a tiny stand-in model. Default: LORABOT_ENGINE, the engine "
        "of the existing deployment, or musubi."
    ),
]


def deploy(*, engine: Trainer = None, json: Json = False, home: Home | None = None) -> None:
    place = home or Home()
    if place.backend == "local":
        raise RequestError("lorabot deploy only deploys to Modal.", "Leave out --backend local.")
    settings = replace(place, backend="modal").settings()
    environment = {**os.environ, **({ENGINE_VARIABLE: engine} if engine is not None else {})}
    name = settings.modal_app
    done = deploy_to_modal(name, environment, lambda line: errors.print(plain(line)))
    prices, application = current_prices(), _application(settings)
    costs = idle_costs(prices)
    if json:
        facts = {"app": name, "engine": done.deployment.engine, "url": done.url}
        idle = {"idle": [asdict(cost) for cost in costs], "prices": str(prices.day)}
        print_json({**facts, "workspace": done.workspace, "functions": _functions(), **idle})
        return
    console.print(
        f"Deployed {name} to the workspace {done.workspace}; it trains with "
        f"{done.deployment.engine}.\nThe bot is connected to Discord and serves {done.url}.\n",
        markup=False,
    )
    console.print(_table())
    console.print(f"\n{idle_text(costs, prices)}\n\n{next_text(application, name)}")


def _application(settings: Settings) -> str | None:
    """Return the application id; None if there is no token or Discord refuses the token."""
    if settings.discord_token is None:
        return None
    token = settings.discord_token.get_secret_value()
    try:
        with DiscordAccount(token, settings.discord_url or DISCORD) as account:
            return str(account.application()["id"])
    except DiscordRefusedError:
        return None


def _functions() -> list[dict[str, Any]]:
    return [{"name": name, **asdict(resources)} for name, resources in FUNCTIONS.items()]


def _table() -> Table:
    table = Table("deployed", "GPU", "cores", "GiB", "time limit", box=None)
    table.add_row("Bot", "", f"{BOT.cpu:g}", f"{BOT.memory_gib:g}", "none (always on)")
    for name, its in FUNCTIONS.items():
        limit = duration(its.timeout_seconds)
        table.add_row(name, ", ".join(its.gpu), f"{its.cpu:g}", f"{its.memory_gib:g}", limit)
    return table
