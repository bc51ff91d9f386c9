"""Shows the progress of the demo's runs: as bars in a terminal, otherwise as plain lines."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bot.service.threads import in_thread
from training.pipeline.run_view import RunView
from training.vocabulary import StageKey

_POLL_SECONDS = 0.5


@asynccontextmanager
async def show_progress(
    console: Console, views: Callable[[], Sequence[RunView]]
) -> AsyncGenerator[None]:
    """Show the progress of the runs until the `async with` block ends."""
    columns = (TextColumn("  {task.description:<34}"), BarColumn(), TextColumn("{task.fields[at]}"))
    bars = Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
    with bars:
        shown = asyncio.create_task(_keep_showing(console, bars, views), name="progress")
        try:
            yield
        finally:
            shown.cancel()
            with suppress(asyncio.CancelledError):
                await shown


async def _keep_showing(
    console: Console, bars: Progress, views: Callable[[], Sequence[RunView]]
) -> None:
    tasks: dict[str, TaskID] = {}
    said: set[str] = set()
    while True:
        for view in await in_thread(views):
            for expert in view.spec.experts:
                state = view.expert(expert.name)
                name = f"{view.spec.name} {expert.name}"
                at = f"epoch {state.epoch}, {_stage(view, StageKey('train', expert.name))}"
                if name not in tasks:
                    tasks[name] = bars.add_task(name, total=state.total_steps, at="")
                bars.update(tasks[name], completed=state.step, at=at)
            _say_changes(console, view, said)
        await asyncio.sleep(_POLL_SECONDS)


def _say_changes(console: Console, view: RunView, said: set[str]) -> None:
    if console.is_terminal:
        return
    for key in view.keys:
        line = f"  {view.spec.name} {key}: {view.run.stage(key).status}"
        if line not in said:
            said.add(line)
            console.print(line, markup=False)


def _stage(view: RunView, train: StageKey) -> str:
    current = [key for key in view.current() if key.expert in (None, train.expert)]
    return current[0].stage if current else str(view.run.stage(train).status)
