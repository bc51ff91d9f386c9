"""`lorabot add --server` with a deployment: the choices that it has on this machine too."""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from bot.cli.datasets import sending
from bot.deploy import operator
from bot.hosting.modal import ModalInstallation
from bot.settings import Settings
from tests.cutting_proxy import CuttingProxy
from tests.media import png, write_zip
from tests.wire.modal.command_line import Result, lorabot
from tests.wire.modal.hosting import Hosting, hosting

pytestmark = pytest.mark.asyncio(loop_scope="module")
MOST_LOST = 1 << 20  # what was on its way when the connection was cut


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosting]:
    async with hosting(tmp_path_factory.mktemp("sending")) as found:
        await asyncio.to_thread(found.start)
        yield found


@pytest.fixture(autouse=True)
def opened(hosted: Hosting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands open this deployment, which has no stages."""

    def open_it(_settings: Settings) -> ModalInstallation:
        return hosted.runtime

    monkeypatch.setattr(operator, "open_deployment", open_it)


def uncaptioned(folder: Path) -> Path:
    media = {f"{n}.png": png(512, 480, seed=n) for n in range(3)}
    return write_zip(folder / "annika.zip", {**media, "0.txt": "ann1ka sits"})


def of_another_tool(folder: Path) -> Path:
    media = {f"{3 * (n + 1)}_ann1ka/{n}.png": png(512, 480, seed=n) for n in range(3)}
    captions = {name.replace(".png", ".txt"): f"ann1ka {name[-5]}" for name in media}
    return write_zip(folder / "annika.zip", {**media, **captions})


def table(archive: str, folder: Path) -> str:
    """Write the caption table of a zip, with the missing captions filled in."""
    path = folder / "captions.csv"
    lorabot("check", archive, "--table", str(path))
    title, *rows = csv.reader(path.read_text("utf-8-sig").splitlines())
    filled = [[file, caption or f"ann1ka in {file}", *rest] for file, caption, *rest in rows]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([title, *filled])
    return str(path)


def away(hosted: Hosting, *arguments: str) -> Result:
    place = ("--server", hosted.guild, "--backend", "modal", "--app", hosted.deployment.name)
    return lorabot(*arguments, *place)


@pytest.mark.parametrize(
    ("name", "made", "options"),
    [
        ("table", uncaptioned, ("--captions", "TABLE")),
        ("left-out", uncaptioned, ("--leave-out",)),
        ("trigger", uncaptioned, ("--trigger", "ann1ka", "--trigger-only")),
        ("layout", of_another_tool, ("--read-layout",)),
        ("ignored", of_another_tool, ("--ignore-layout",)),
        ("plain", of_another_tool, ()),
    ],
)
async def test_each_choice_gives_the_same_report_as_on_this_machine(
    hosted: Hosting,
    tmp_path: Path,
    name: str,
    made: Callable[[Path], Path],
    options: tuple[str, ...],
) -> None:
    archive = str(made(tmp_path))
    given = [table(archive, tmp_path) if one == "TABLE" else one for one in options]
    line = ("add", archive, "--name", name, *given)

    here = await asyncio.to_thread(lorabot, *line, "--home", str(tmp_path / "home"))
    there = await asyncio.to_thread(away, hosted, *line)

    assert here.code == 0, here.err
    assert (there.code, there.out) == (0, here.out), there.err
    assert f"{name}@1" in there.out


async def test_files_in_another_layout_join_a_dataset_only_with_ignore_layout(
    hosted: Hosting, tmp_path: Path
) -> None:
    first = {f"first-{n}.png": png(512, 480, seed=10 + n) for n in range(3)}
    captions = {name.replace(".png", ".txt"): "ann1ka" for name in first}
    start = (
        "add",
        str(write_zip(tmp_path / "first.zip", {**first, **captions})),
        "--name",
        "joined",
    )
    line = ("add", str(of_another_tool(tmp_path)), "--name", "joined", "--mode", "add")
    here = ("--home", str(tmp_path / "home"))
    for begun in (lorabot(*start, *here), await asyncio.to_thread(away, hosted, *start)):
        assert begun.code == 0, begun.err

    refused_here = await asyncio.to_thread(lorabot, *line, *here)
    refused = await asyncio.to_thread(away, hosted, *line)
    joined_here = await asyncio.to_thread(lorabot, *line, "--ignore-layout", *here)
    joined = await asyncio.to_thread(away, hosted, *line, "--ignore-layout")

    assert (refused_here.code, refused.code) == (1, 1)
    assert "--ignore-layout" in refused.err
    assert "--ignore-layout" in refused_here.err
    assert joined_here.code == 0, joined_here.err
    assert (joined.code, joined.out) == (0, joined_here.out), joined.err
    assert "joined@2" in joined.out
    version = await asyncio.to_thread(hosted.runtime.datasets.find, hosted.guild, "joined")
    assert version.images == 6


async def test_a_refused_zip_is_not_sent_and_names_the_choices(
    hosted: Hosting, tmp_path: Path
) -> None:
    refused = await asyncio.to_thread(away, hosted, "add", str(uncaptioned(tmp_path)))

    assert refused.code == 1
    assert "--captions captions.csv" in refused.err
    assert "--leave-out" in refused.err
    assert f"--server {hosted.guild}" in refused.err
    store, uploads = hosted.runtime.runtime.store, f"guilds/{hosted.guild}/uploads"
    sent = await asyncio.to_thread(lambda: [file.key for file in store.walk(uploads)])
    assert not [key for key in sent if "/files/" in key]


async def test_a_cut_upload_with_choices_is_continued_by_the_same_command(
    hosted: Hosting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = {f"{n}.png": png(1024, 1024, seed=n) for n in range(6)}
    archive = write_zip(tmp_path / "large.zip", {**noise, "0.txt": "ann1ka sits"})
    size = archive.stat().st_size
    line = ("add", str(archive), "--leave-out")
    monkeypatch.setattr(sending, "PAUSES_SECONDS", (0.01, 0.01))
    url = hosted.loopback.public_url("Bot")

    with CuttingProxy(url, [size // 2, 0, 0, 0], side="requests") as proxy:

        def address(_settings: Settings) -> str:
            return proxy.url

        monkeypatch.setattr(operator, "bot_address", address)
        given_up = await asyncio.to_thread(away, hosted, *line)
        sent = proxy.sent_bytes
        done = await asyncio.to_thread(away, hosted, *line)
        again = proxy.sent_bytes - sent

    assert given_up.code == 1
    assert "continues where it stopped" in given_up.err
    assert "5 samples left out" in done.out, done.err
    assert again < size // 2 + MOST_LOST
