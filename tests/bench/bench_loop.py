"""Measures how long single callbacks block the bot's event loop during an upload.

`python -m tests.bench.bench_loop --gigabytes 1`
"""

import argparse
import asyncio
import functools
import http.server
import multiprocessing
import sys
import tempfile
import time
from asyncio.events import Handle
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import create_autospec, patch

import discord
from discord.state import ConnectionState

from bot.discord.answers.answers import to_embed
from bot.discord.answers.attachment_file import save_attachment
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.datasets import send_answer
from bot.hosting.bot import load_and_freeze
from bot.hosting.local import LocalInstallation
from bot.service.dataset_answers import stored_answer
from bot.service.datasets import StoredDataset
from bot.service.links import LinkSigner
from bot.service.rights import GuildMember
from bot.service.service import Service
from bot.settings import Settings
from tests.bench.footage import footage, large_zip
from tests.bench.hardware import hardware
from training.registry.dataset_draft import Upload

if TYPE_CHECKING:  # alone, it cannot be imported
    from discord.types.message import Attachment as AttachmentData

_MOST_MILLISECONDS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=None, help="where footage is kept")
    parser.add_argument(
        "--scratch", type=Path, default=None, help="a disk with room for three zips"
    )
    options = parser.parse_args()
    sys.stdout.write(hardware())
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        # `lorabot serve` starts like this.
        load_and_freeze(LocalInstallation(Settings(home=Path(scratch) / "home")))
        clips = footage(options.folder or Path(scratch) / "footage", 12)
        archive = large_zip(clips, Path(scratch) / "large.zip", options.gigabytes)
        with _timed_callbacks() as busy, _serving(Path(scratch)) as address:
            started = time.perf_counter()
            attachment = _attachment(archive, f"{address}/{archive.name}")
            number = asyncio.run(_take_in(Path(scratch), attachment))
        longest = sorted(busy, reverse=True)[:3]
        sys.stdout.write(
            f"{archive.stat().st_size / 2**30:.2f} GiB downloaded, inspected and stored as "
            f"version {number} in {time.perf_counter() - started:.0f} s; {len(busy)} callbacks, "
            f"the longest (of the loop thread's own CPU time; at most {_MOST_MILLISECONDS} ms):\n"
        )
        for seconds, what in longest:
            sys.stdout.write(f"{seconds * 1000:8.1f} ms  {what}\n")


def _attachment(archive: Path, url: str) -> discord.Attachment:
    state = create_autospec(ConnectionState, instance=True)
    state.http = None  # attachments would download through it, which they must not
    size = archive.stat().st_size
    data: AttachmentData = {
        "id": 1,
        "filename": archive.name,
        "size": size,
        "url": url,
        "proxy_url": url,
    }
    return discord.Attachment(data=data, state=state)


async def _take_in(scratch: Path, attachment: discord.Attachment) -> int:
    """Do what `/dataset add` does with an attachment."""
    local = await asyncio.to_thread(LocalInstallation, Settings(home=scratch / "home"))
    service = Service(local, LinkSigner(b"benchmark", hours=1), "rehearsal")
    upload = scratch / "upload.zip"
    await save_attachment(attachment, upload)
    sent = Upload(archive=upload, by="7", file_name=attachment.filename)
    added = await service.datasets.add(GuildMember(id="7", guild="guild"), "annika", sent)
    assert isinstance(added, StoredDataset), "the bench's dataset has every caption"
    answer = create_autospec(LongAnswer, instance=True, spec_set=True)
    await send_answer(answer, "guild", await stored_answer(added))
    to_embed(answer.send.await_args.args[0])
    return added.version.number


@contextmanager
def _timed_callbacks() -> Generator[list[tuple[float, str]]]:
    """Measure the CPU time of every callback of every loop."""
    busy: list[tuple[float, str]] = []
    run = Handle._run

    def timed(handle: Handle) -> None:
        where = _where(handle)
        before = time.thread_time()
        run(handle)
        busy.append((time.thread_time() - before, where))

    with patch.object(Handle, "_run", timed):
        yield busy


def _where(handle: Handle) -> str:
    """Return the line at which a task continues, or the callback's name."""
    callback = handle._callback
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return repr(callback)[:200]
    frames = task.get_stack()
    return " < ".join(f"{f.f_code.co_qualname}:{f.f_lineno}" for f in reversed(frames))


@contextmanager
def _serving(folder: Path) -> Generator[str]:
    """Serve a folder's files from another process."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(folder, there), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        server.terminate()
        server.join()


def _serve(folder: Path, port: Connection) -> None:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port.send(server.server_address[1])
        server.serve_forever()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own word
        """Print nothing."""


if __name__ == "__main__":
    main()
