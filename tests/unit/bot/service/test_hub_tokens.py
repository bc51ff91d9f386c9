"""Whose token reads which repository on the Hub."""

from pathlib import Path

import pytest
from aiohttp import hdrs
from pydantic import SecretStr

from bot.hosting.local import LocalInstallation
from bot.service.hub_tokens import HubTokens
from bot.service.rights import GuildMember, Rights
from bot.service.server_settings import SettingsStore
from bot.settings import Settings
from tests.unit.bot.service.file_server import Files, importer
from tests.unit.bot.web.upload_side import ADA, UploadSide
from training.errors import RequestError, TrainingError
from training.registry.uploads.session import DatasetTarget

OWN, OPERATORS = "hf_0123456789", "hf_operator99"
MANAGER = GuildMember(id="1", guild="42", manages_server=True)


def tokens(home: Path, hub_repos: str = "") -> HubTokens:
    settings = Settings(home=home, hub_repos=hub_repos)
    settings = settings.model_copy(update={"hf_token": SecretStr(OPERATORS)})
    runtime = LocalInstallation(settings).runtime
    return HubTokens(runtime.store, settings, Rights(SettingsStore(runtime)))


@pytest.mark.parametrize(
    ("hub_repos", "repo", "is_listed"),
    [
        ("", "ann/clips", False),
        ("ann/clips", "ann/clips", True),
        ("ann/clips", "ann/clips-private", False),
        ("ann/clips", "Ann/clips", False),
        ("ann/*, ben/set", "ann/anything", True),
        ("ann/*, ben/set", "ben/set", True),
        ("ann/*, ben/set", "ben/other", False),
        ("ann/*", "joann/clips", False),
    ],
)
async def test_the_operators_token_reads_only_repositories_that_the_operator_listed(
    tmp_path: Path, hub_repos: str, repo: str, is_listed: bool
) -> None:
    found = await tokens(tmp_path, hub_repos).find("42", repo)

    assert found == (OPERATORS if is_listed else None)


async def test_a_servers_own_token_comes_first_and_serves_no_other_server(tmp_path: Path) -> None:
    both = tokens(tmp_path, "ann/*")

    assert await both.set(MANAGER, f" {OWN} ")

    assert await both.find("42", "ann/clips") == OWN
    assert await both.find("42", "ben/set") == OWN
    assert await both.find("43", "ann/clips") == OPERATORS
    assert await both.find("43", "ben/set") is None


async def test_a_token_is_replaced_and_removed_by_managers_only(tmp_path: Path) -> None:
    found = tokens(tmp_path)

    with pytest.raises(RequestError, match="Only members who manage the server"):
        await found.set(ADA, OWN)
    with pytest.raises(RequestError, match="not a Hugging Face token"):
        await found.set(MANAGER, "my password")
    await found.set(MANAGER, OWN)

    assert await found.is_set("42")
    assert not await found.set(MANAGER, "")
    assert not await found.is_set("42")


async def test_an_import_sends_the_operators_token_for_listed_repositories_only(
    uploads: UploadSide, files: Files, tmp_path: Path
) -> None:
    found = tokens(tmp_path / "tokens", "ann/*")
    imports = importer(files, uploads.service.uploads, token=found.find)
    for repo in ("ann/clips", "ben/set"):
        address = files.serve(f"/datasets/{repo}/resolve/main/a.zip", b"")
        with pytest.raises(TrainingError):  # it is empty
            await imports.begin(ADA, DatasetTarget(name="annika"), f"{address}x", channel=None)

    sent = {one.path.split("/")[2]: one.headers.get(hdrs.AUTHORIZATION) for one in files.asked}
    assert sent == {"ann": f"Bearer {OPERATORS}", "ben": None}
