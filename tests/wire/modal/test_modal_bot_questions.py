"""How many requests to Modal the bot needs to answer people."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from bot.hosting.modal import ModalInstallation
from bot.settings import Settings
from tests.wire.modal.crowd import DATASETS, ENDED, OPEN, fill
from tests.wire.modal.hosting import Hosting, hosting
from training.pipeline.advance import open_runs

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosting]:
    async with hosting(tmp_path_factory.mktemp("questions")) as found:
        await asyncio.to_thread(fill, found)
        yield found


@pytest.fixture
def runtime(hosted: Hosting) -> ModalInstallation:
    """The runtime of a bot that was just started."""
    return ModalInstallation(Settings(), hosted.deployment)


async def asked(hosted: Hosting, work: Callable[[], object]) -> Counter[str]:
    """Return how often the work asks for what on Modal."""
    counts = hosted.loopback.plane.router.counts
    before = Counter(counts)
    await asyncio.to_thread(work)
    return Counter(counts) - before


async def test_listing_datasets_takes_two_listings_and_one_file_each_at_first(
    hosted: Hosting, runtime: ModalInstallation
) -> None:
    newest = lambda: runtime.datasets.newest(hosted.guild)  # noqa: E731

    first = await asked(hosted, newest)
    again = await asked(hosted, newest)

    assert (first["VolumeListFiles"], first["VolumeGetFile2"]) == (2, DATASETS)
    assert again == {"VolumeListFiles": 2}  # all datasets, removed ones


async def test_names_of_ended_runs_cost_no_request(
    hosted: Hosting, runtime: ModalInstallation
) -> None:
    names = lambda: runtime.runs.names(hosted.guild)  # noqa: E731

    first = await asked(hosted, names)
    again = await asked(hosted, names)
    opened = await asked(hosted, lambda: open_runs(runtime.runtime))

    assert (first["VolumeListFiles"], first["VolumeGetFile2"]) == (3, OPEN)
    assert again == {"VolumeListFiles": 3}  # all runs, open ones, removed ones
    assert opened == {"VolumeListFiles": 1 + OPEN}


async def test_a_list_of_runs_reads_ended_ones_once_and_open_ones_again(
    hosted: Hosting, runtime: ModalInstallation
) -> None:
    summaries = lambda: runtime.runs.summaries(hosted.guild)  # noqa: E731

    first = await asked(hosted, summaries)
    again = await asked(hosted, summaries)

    assert first["VolumeListFiles"] == 3 + OPEN
    assert ENDED < first["VolumeGetFile2"] < ENDED + 12 * OPEN
    assert again["VolumeListFiles"] == 3 + OPEN
    assert again["VolumeGetFile2"] == 0
    assert again["DictGet"] <= 6 * OPEN
