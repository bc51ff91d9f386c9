"""Passes users' requests from a run's log on to its trainers, through a live value."""

import logging
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from training.files.temporary import scratch_folder
from training.musubi.requests import FOLDER_VARIABLE, ask_to_finish, ask_to_save
from training.pipeline.runtime import Runtime
from training.runs.state import Run
from training.store_keys import RunKeys

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0


class RunRequests(BaseModel):
    """When users last made each request to a run; None if they never did.

    Attributes:
        save_at: When they last asked for a checkpoint.
        finish_at: When they asked the run to stop early and count as finished.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    save_at: datetime | None = None
    finish_at: datetime | None = None

    @classmethod
    def of(cls, run: Run) -> "RunRequests":
        return cls(save_at=run.save_requested_at, finish_at=run.finish_requested_at)


def publish_requests(runtime: Runtime, run: Run) -> None:
    """Publish the requests in a run's log to its trainers; an update may be lost."""
    data = RunRequests.of(run).model_dump_json().encode()
    runtime.live.publish(run.spec.keys.requests, data)


@contextmanager
def passing_on(runtime: Runtime, run: Run) -> Generator[Mapping[str, str]]:
    """Pass requests on to a trainer while the body runs it.

    Yield the environment variables that the trainer needs for this. A request for a checkpoint is
    not passed on again if it was made before the body started.
    """
    with scratch_folder("requests") as folder:
        over = threading.Event()
        arguments = (runtime, run.spec.keys, folder, RunRequests.of(run), over)
        thread = threading.Thread(target=_pass_on, args=arguments, name="requests", daemon=True)
        thread.start()
        try:
            yield {FOLDER_VARIABLE: str(folder)}
        finally:
            over.set()
            thread.join(_LOOK_SECONDS)


def _pass_on(
    runtime: Runtime, keys: RunKeys, folder: Path, known: RunRequests, over: threading.Event
) -> None:
    if known.finish_at is not None:
        ask_to_finish(folder)
    while not over.wait(_LOOK_SECONDS):
        try:
            data = runtime.live.read(keys.requests)
            found = RunRequests.model_validate_json(data) if data else known
            if found.save_at is not None and found.save_at != known.save_at:
                ask_to_save(folder)
            if found.finish_at is not None:
                ask_to_finish(folder)
            known = found
        except (OSError, ValidationError) as error:
            # The next pass of the loop tries again.
            logger.warning("run %s: its requests cannot be read: %s", keys.name, error)
