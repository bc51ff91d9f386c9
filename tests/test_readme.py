"""What a newcomer reads is true today."""

import re
from pathlib import Path

from bot.cli.models import markdown_table
from bot.messages.invite import PERMISSIONS, invite_link
from bot.settings import Settings
from training.catalogue.gpus import GPUS
from training.deployment.idle_cost import idle_costs
from training.estimates.prices import LISTED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_table_of_models_is_that_of_the_catalogue() -> None:
    assert markdown_table() in README


def test_the_gpus_that_can_be_asked_for_are_those_of_the_list() -> None:
    *names, last = GPUS

    assert f"{', '.join(names)} or {last};" in README


def test_the_invitation_asks_for_exactly_what_the_bot_needs() -> None:
    text = " ".join(README.split())
    *names, last = PERMISSIONS

    assert invite_link("APPLICATION_ID") in README
    assert f"{', '.join(names)} and {last};" in text


def test_the_cost_of_an_idle_deployment_is_that_of_its_figures() -> None:
    costs = {cost.what: cost.usd for cost in idle_costs(LISTED)}

    assert f"about ${sum(costs.values()):.2f} in 30 days" in README
    assert f"${costs['bot']:.2f} for the bot" in README


def test_every_setting_of_the_environment_that_is_named_exists() -> None:
    named = set(re.findall(r"LORABOT_([A-Z_]+)", README)) - {"PICTURES"}

    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets
