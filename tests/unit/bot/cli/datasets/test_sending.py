"""A zip sent from a terminal to a bot elsewhere: cuts, restarts and refusals."""

import asyncio
from pathlib import Path

import pytest

from bot.cli.datasets.sending import Progress, Sender, TerminalLink, terminal_link
from tests.cutting_proxy import CuttingProxy
from tests.unit.bot.web.upload_side import GUILD, UploadSide
from training.errors import BackendError, RequestError
from training.ports import unwatched
from training.registry.uploads.session import DatasetTarget, StoredVersion
from training.registry.uploads.sessions import UploadSessions

TARGET = DatasetTarget(name="annika")
_SIZE = 4 << 20
_MOST_LOST = 700_000  # per cut: what the server had received but not taken
_QUICK = (0.01,) * 20


def link_of(uploads: UploadSide, target: DatasetTarget = TARGET) -> TerminalLink:
    return terminal_link(uploads.installation, GUILD, target)


def large(folder: Path, name: str = "annika.zip") -> Path:
    path = folder / name
    path.write_bytes(bytes(range(256)) * (_SIZE // 256))
    return path


async def send(
    uploads: UploadSide, link: TerminalLink, file: Path, on_progress: Progress = unwatched
) -> None:
    with Sender(uploads.signer.base_url, link) as sender:
        await asyncio.to_thread(sender.send, [file], on_progress)


def received(uploads: UploadSide, link: TerminalLink, folder: Path) -> dict[str, bytes]:
    """Return what another process would find in the store, by path."""
    sessions, found = UploadSessions(uploads.installation.runtime.store), dict[str, bytes]()
    for file in sessions.files(link.session):
        file.copy_to(folder / file.facts.id)
        found[file.facts.path] = (folder / file.facts.id).read_bytes()
    return found


async def test_a_file_goes_on_where_the_connection_was_cut(
    uploads: UploadSide, tmp_path: Path
) -> None:
    file, link = large(tmp_path), link_of(uploads)
    told: list[int] = []
    cuts = [1_500_000, 1_200_000]
    with (
        CuttingProxy(uploads.signer.base_url, cuts, side="requests") as proxy,
        Sender(proxy.url, link, pauses_seconds=_QUICK, piece_bytes=1 << 20) as sender,
    ):
        await asyncio.to_thread(sender.send, [file], told.append)

    assert received(uploads, link, tmp_path) == {"annika.zip": file.read_bytes()}
    assert told[-1] == _SIZE
    assert not cuts
    assert proxy.sent_bytes < _SIZE + 2 * _MOST_LOST


async def test_the_next_command_continues_what_the_last_one_gave_up(
    uploads: UploadSide, tmp_path: Path
) -> None:
    file, told = large(tmp_path), list[int]()
    with (
        CuttingProxy(uploads.signer.base_url, [2_000_000, 0, 0], side="requests") as proxy,
        Sender(proxy.url, link_of(uploads), pauses_seconds=(0.01, 0.01)) as sender,
        pytest.raises(BackendError, match="continues where it stopped"),
    ):
        await asyncio.to_thread(sender.send, [file])

    await send(uploads, link_of(uploads), file, told.append)

    assert 1_000_000 < told[0] < 2_000_000
    assert received(uploads, link_of(uploads), tmp_path) == {"annika.zip": file.read_bytes()}


async def test_only_the_file_of_the_last_command_is_used(
    uploads: UploadSide, tmp_path: Path
) -> None:
    link = link_of(uploads)
    for name in ("first.zip", "second.zip"):
        await send(uploads, link, large(tmp_path, name))

    assert list(received(uploads, link, tmp_path)) == ["second.zip"]


async def test_a_sent_zip_is_checked_and_stored(uploads: UploadSide, archive: Path) -> None:
    link = link_of(uploads)

    with Sender(uploads.signer.base_url, link) as sender:
        await asyncio.to_thread(sender.send, [archive])
        await asyncio.to_thread(sender.finish)

    state = UploadSessions(uploads.installation.runtime.store).find(GUILD, link.session.id)[1]
    assert state.result == StoredVersion(reference="annika@1")
    assert uploads.installation.datasets.find(GUILD, "annika").owner == "operator"
    assert link_of(uploads).session.id != link.session.id  # the next upload is another one


async def test_a_refusal_is_told_in_the_bots_words(uploads: UploadSide, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="one part of a split archive"):
        await send(uploads, link_of(uploads), large(tmp_path, "annika.zip.001"))
