"""Records which run took over from which.

Each run can be resumed only once; after that, users resume its successor.
"""

from collections.abc import Callable
from contextlib import suppress

from training import store_keys
from training.errors import NotFoundError, RequestError
from training.pipeline.runtime import Runtime
from training.remedies import DownloadRun, Remedy, ResumeRun, ShowRuns
from training.runs.spec import RunSpec
from training.runs.state import Run, RunStatus


def successor_record(spec: RunSpec) -> dict[str, bytes]:
    """Return the successor record of the run that this run follows, by store key; {} if none."""
    if spec.follows is None:
        return {}
    return {store_keys.successor(spec.guild, spec.follows): spec.name.encode()}


def require_newest(runtime: Runtime, spec: RunSpec, find: Callable[[str, str], Run]) -> None:
    """Raise `RequestError` if another run took over from this one; removed runs do not count.

    Args:
        runtime: Gives access to the stored runs.
        spec: The run that is to be continued.
        find: Returns a run of a guild; raises `NotFoundError` if it was removed.
    """
    newest, name = None, spec.name
    while (successor := _successor(runtime, spec.guild, name)) is not None:
        name = successor
        with suppress(NotFoundError):
            newest = find(spec.guild, name)
    if newest is not None:
        raise _refusal(spec.name, newest)


def _successor(runtime: Runtime, guild: str, name: str) -> str | None:
    try:
        successor = runtime.store.read(store_keys.successor(guild, name)).decode()
    except FileNotFoundError:
        return None
    try:
        # The record is stored just before the run itself, so another run may have taken the name in
        # between.
        is_right = runtime.log(guild, successor).spec().follows == name
    except NotFoundError:
        is_right = True  # the successor was deleted
    return successor if is_right else None


def _refusal(old: str, newest: Run) -> RequestError:
    name = newest.spec.name
    does = "continues" if newest.spec.continues is not None else "repeats"
    remedy: Remedy
    match newest.status:
        case RunStatus.QUEUED | RunStatus.RUNNING:
            ended, fix, remedy = "", f"Wait until {name} has ended.", ShowRuns(run=name)
        case RunStatus.SUCCEEDED:
            ended, remedy = " and has succeeded", DownloadRun(run=name)
            fix = f"Download what {name} saved, or start another run."
        case RunStatus.FAILED | RunStatus.CANCELLED:
            how = "has failed" if newest.status is RunStatus.FAILED else "was cancelled"
            ended, remedy = f" and {how}", ResumeRun(run=name)
            fix = f"Resume {name}. To resume {old} itself again, remove {name} first."
    return RequestError(f"{name} already {does} {old}{ended}.", fix, remedy)
