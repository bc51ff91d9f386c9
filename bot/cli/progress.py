"""A bar on the terminal while files are looked at or written."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bot.cli.output import console


@contextmanager
def counted(what: str, *, is_quiet: bool) -> Generator[Callable[[int, int], None]]:
    """Give the body something to tell its progress to; shown on a terminal only."""
    with _bar(BarColumn(), MofNCompleteColumn(), is_quiet=is_quiet) as progress:
        bar = progress.add_task(what, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        yield on_progress


@contextmanager
def fetched(
    total_bytes: int, what: str = "Fetching", *, is_quiet: bool = False
) -> Generator[Callable[[int], None]]:
    """Give the body something to tell how many bytes are there; shown on a terminal only."""
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with _bar(*columns, is_quiet=is_quiet) as progress:
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
