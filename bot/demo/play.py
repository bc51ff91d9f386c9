"""The demo: a team trains LoRAs using only the chat, and the results are verified."""

import json
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bot.demo.clips import write_dataset
from bot.demo.conversation import TEAM_ROLE, Person, epochs_of, links_of
from bot.demo.display import show_progress
from bot.demo.proof import (
    DemoError,
    read_receipts,
    require_learning,
    require_merges,
    require_seeds_decide,
    require_whole_adapters,
)
from bot.hosting.bot import running_bot
from bot.hosting.local import LocalInstallation
from bot.installation import Installation
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from bot.service.threads import in_thread
from bot.settings import Settings
from training.files.temporary import scratch_folder
from training.pipeline.checkpoint_sets import sets
from training.pipeline.run_view import RunView, metrics
from training.runs.event_log import events_as_json

_MODELS = ("wan21-i2v-720p", "wan22-i2v-lightning")
EDIT_SECONDS = 0.5
# Folders of a run to copy, and the files to copy from each. An empty tuple means all files.
_RECORDS: Mapping[str, tuple[str, ...]] = {
    "receipts": (),
    "inputs": ("dataset.toml", "report.json"),
}
_MARK = ".lorabot-demo"
_SHORT = {"model": "wan21-t2v-1-3b", "dataset": "annika", "epochs": "1", "name": "seeds"}


@dataclass(frozen=True, slots=True)
class Scene:
    """An installation with a running bot, and the URL of its chat page."""

    installation: Installation
    page_url: str


async def play(out: Path, console: Console, scene: AbstractAsyncContextManager[Scene]) -> None:
    """Play the demo, write the results to `out` and verify them.

    Raises:
        TrainingError: A step failed or a result is wrong.
    """
    started = time.monotonic()
    await in_thread(_empty, out)
    async with scene as ready:
        await _Demo(ready, out, console).play()
    seconds = time.monotonic() - started
    console.print(f"[green]All files are present and valid[/] (took {seconds:.0f} s); see {out}/")


@asynccontextmanager
async def on_this_machine(home: Path | None = None) -> AsyncGenerator[Scene]:
    """Run the bot on this machine, in a new folder."""
    with scratch_folder("demo") as temporary:
        place = await in_thread(_fresh, home) if home is not None else temporary
        local = LocalInstallation(Settings(home=place / "home", team_role=TEAM_ROLE))
        server = SandboxServer(local.home / "sandbox")
        await server.start()
        try:
            with point_discord_at(server.base_url):
                async with running_bot(
                    local, token=server.bot_token, engine="rehearsal", edit_seconds=EDIT_SECONDS
                ):
                    yield Scene(local, server.page_url)
        finally:
            await server.stop()
            local.stop_worker()


class _Demo:
    def __init__(self, scene: Scene, out: Path, console: Console) -> None:
        self._local = scene.installation
        self._page_url = scene.page_url
        self._out = out
        self._console = console

    async def play(self) -> None:
        async with AsyncExitStack() as stack:
            ada = await stack.enter_async_context(self._person("Ada", "Studio A"))
            cleo = await stack.enter_async_context(self._person("Cleo", "Studio B"))
            try:
                await self._add_dataset(ada)
                await self._train_both(ada)
                await self._compare_seeds(ada, cleo)
            finally:
                text = "\n".join([*ada.lines, *cleo.lines])
                (self._out / "conversation.txt").write_text(text, "utf-8")

    def _person(self, name: str, guild: str) -> Person:
        return Person(self._page_url, name, guild, self._console)

    async def _add_dataset(self, ada: Person) -> None:
        archive = await in_thread(write_dataset, self._out / "annika.zip")
        answer = await ada.type("dataset add", name="annika", zip=archive)
        for attachment in answer.attachments:
            await ada.download(attachment.url, self._out / "dataset-report.txt")

    async def _train_both(self, ada: Person) -> None:
        for model in _MODELS:
            await ada.type("train", model=model, dataset="annika")
        names = [f"annika-{model}" for model in _MODELS]
        local = self._local
        guild = await in_thread(
            lambda: next(g for g in local.guilds() if names[0] in local.runs.names(g))
        )

        def views() -> list[RunView]:
            return [self._local.runs.view(guild, name) for name in names]

        async with show_progress(self._console, views):
            for name in names:
                await ada.until_ended(name)
        for name in names:
            await self._keep(ada, guild, name)

    async def _compare_seeds(self, ada: Person, cleo: Person) -> None:
        """Train with one seed on two servers and with another seed on one; compare the files."""
        await cleo.type("dataset add", name="annika", zip=self._out / "annika.zip")
        await ada.type("train", **_SHORT, seed="7")
        await cleo.type("train", **_SHORT, seed="7")
        await ada.type("train", **{**_SHORT, "name": "other-seed"}, seed="8")
        files: list[Path] = []
        for person, run in ((ada, "seeds"), (cleo, "seeds"), (ada, "other-seed")):
            await person.until_ended(run)
            links = links_of(await person.type("download", run_name=run))
            target = self._out / "seeds" / f"{len(files) + 1}-{run}.safetensors"
            target.parent.mkdir(exist_ok=True)
            await person.download(links[0], target)
            files.append(target)
        require_seeds_decide((files[0], files[1]), files[2])
        self._console.print("  the same seed gave the same bytes, a different seed did not")

    async def _keep(self, ada: Person, guild: str, name: str) -> None:
        """Download a run's checkpoints as a user would, copy its records, and verify both."""
        folder = self._out / name
        (folder / "checkpoints").mkdir(parents=True)
        answer = await ada.type("download", run_name=name)
        offered = [await ada.pick(answer, *epoch) for epoch in epochs_of(answer)]
        links = [link for one in offered for link in links_of(one)]
        files = [folder / "checkpoints" / url.rsplit("/", 1)[-1] for url in links]
        for url, file in zip(links, files, strict=True):
            await ada.download(url, file)
        view = await in_thread(self._local.runs.view, guild, name)
        await in_thread(self._copy_records, view, folder)
        await in_thread(self._prove, view, folder, files)

    def _copy_records(self, view: RunView, folder: Path) -> None:
        spec, store = view.spec, self._local.runtime.store
        source = spec.keys.folder
        (folder / "spec.json").write_bytes(store.read(f"{source}/spec.json"))
        for part, names in _RECORDS.items():
            (folder / part).mkdir()
            for name in names or store.names(f"{source}/{part}"):
                (folder / part / name).write_bytes(store.read(f"{source}/{part}/{name}"))
        events = self._local.runtime.log(spec.guild, spec.name).events()
        (folder / "events.json").write_text(events_as_json(events), "utf-8")
        for expert in spec.experts:
            found = metrics(self._local.runtime, spec, expert.name)
            lines = [json.dumps(metric.model_dump()) for metric in found]
            (folder / f"metrics-{expert.name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")

    def _prove(self, view: RunView, folder: Path, files: list[Path]) -> None:
        made = {Path(f.file).name for one in sets(view.run) for f in one.files.values()}
        if {file.name for file in files} != made:
            raise DemoError(f"{view.spec.name}: some checkpoints could not be downloaded.", "")
        require_whole_adapters(view.spec, files)
        require_merges(view.spec, read_receipts(folder / "receipts"))
        for expert in view.spec.experts:
            found = metrics(self._local.runtime, view.spec, expert.name)
            total = view.expert(expert.name).total_steps
            fall = require_learning(view.spec.name, expert.name, found, total)
            self._console.print(
                f"  {view.spec.name} {expert.name}: {total} steps, loss {fall.first:.3f} to "
                f"{fall.last:.3f} ({-fall.share:.0%}), {len(files)} checkpoints downloaded",
                markup=False,
            )


def _fresh(home: Path) -> Path:
    """Create a new folder in `home`, because the demo needs an empty installation."""
    home.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="demo-", dir=home))


def _empty(out: Path) -> None:
    """Create an empty folder, replacing an earlier demo's results."""
    if out.exists() and any(out.iterdir()) and not (out / _MARK).exists():
        raise DemoError(f"{out} contains files that are not from a demo.", "Choose another --out.")
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / _MARK).touch()
