"""What the README says is true."""

import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.cli.models import markdown_table
from bot.messages.installation import PERMISSIONS, invite_link
from bot.settings import Settings
from training.catalogue.gpus import GPUS
from training.deployment.idle_cost import idle_costs
from training.deployment.image_pins import MUSUBI_EXTRA
from training.estimates.prices import LISTED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
LIMIT_BYTES = 15 * 1024
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [path for name in ("bot", "training", "storage") for path in (ROOT / name).rglob("README.md")]
)


def test_the_table_of_models_is_that_of_the_catalogue() -> None:
    assert markdown_table() in README


def test_the_readme_lists_the_gpus_that_can_be_chosen() -> None:
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


def test_the_driver_and_the_build_of_torch_are_those_of_the_gpu_image() -> None:
    install = " ".join((ROOT / "training/musubi/README.md").read_text("utf-8").split())

    assert MUSUBI_EXTRA == "cu130"  # CUDA 13.0 needs driver 580
    assert f"--no-dev --extra {MUSUBI_EXTRA} " in f"{install} "
    for text in (install, " ".join(README.split())):
        assert "NVIDIA driver 580 or newer" in text


def test_the_readme_stays_short() -> None:
    assert len(README.encode()) <= LIMIT_BYTES


COMMANDS = (ROOT / "bot/cli/README.md").read_text("utf-8")
GROUPS = {"dataset", "checkpoint", "run"}  # of commands of two words


def options_by_command() -> dict[tuple[str, ...], set[str]]:
    """Return the options that the README of the command line names for each command."""
    found = defaultdict[tuple[str, ...], set[str]](set)
    for line in re.findall(r"^    (lorabot .+)$", COMMANDS, re.MULTILINE):
        for told in str(line).split("lorabot ")[1:]:
            words = told.split()
            command = tuple(words[: 2 if words[0] in GROUPS else 1])
            found[command] |= set(re.findall(r"--[a-z][a-z0-9-]*", told))
    return found


@pytest.mark.parametrize("command", options_by_command(), ids=" ".join)
def test_every_command_and_option_of_the_command_line_exists(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        main([*command, "--help"])

    known = set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))
    assert known
    assert options_by_command()[command] <= known


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
class TestDocument:
    def test_every_setting_of_the_environment_exists(self, path: Path) -> None:
        named = set(re.findall(r"LORABOT_([A-Z_]+)", path.read_text("utf-8"))) - {"PICTURES"}

        assert {name.lower() for name in named} <= set(Settings.model_fields)

    def test_every_link_leads_to_a_file(self, path: Path) -> None:
        links: list[str] = re.findall(r"\]\((?!http)([^)#]+)", path.read_text("utf-8"))

        assert [link for link in links if not (path.parent / link).exists()] == []

    def test_every_path_of_the_tree_exists(self, path: Path) -> None:
        named: list[str] = re.findall(
            r"(?<![\w./-])(?:bot|training|storage|tests)/[\w./-]+", path.read_text("utf-8")
        )

        assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []

    def test_every_make_target_exists(self, path: Path) -> None:
        makefile = (ROOT / "Makefile").read_text("utf-8")
        targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

        assert set(re.findall(r"\bmake ([a-z-]+)", path.read_text("utf-8"))) <= targets
