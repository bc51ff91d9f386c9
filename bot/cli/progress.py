"""Progress bars, apart from `output`, so that commands that show none start faster."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bot.cli.output import console
from training.files.sizes import size


class BytesColumn(ProgressColumn):
    """Shows the bytes so far and the speed in KiB, MiB or GiB, which rich's own columns do not."""

    def render(self, task: Task) -> Text:
        done = f"{size(int(task.completed))} of {size(int(task.total or 0))}"
        speed = task.finished_speed or task.speed
        return Text(done if speed is None else f"{done}, {size(int(speed))}/s")


@contextmanager
def counted(what: str, *, is_quiet: bool) -> Generator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal; yield a callback for the number done and the total."""
    with _bar(BarColumn(), MofNCompleteColumn(), is_quiet=is_quiet) as progress:
        bar = progress.add_task(what, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        yield on_progress


@contextmanager
def fetched(
    total_bytes: int, what: str = "Fetching", *, is_quiet: bool = False
) -> Generator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield a callback for the bytes fetched so far."""
    with _bar(BarColumn(), BytesColumn(), is_quiet=is_quiet) as progress:
        bar = progress.add_task(what, total=total_bytes)
        yield lambda here_bytes: progress.update(bar, completed=here_bytes)


def _bar(*columns: ProgressColumn, is_quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=is_quiet or not console.is_terminal,
    )
