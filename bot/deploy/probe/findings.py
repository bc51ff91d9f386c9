"""Makes the lines of `lorabot doctor --probe`: what was measured on Modal, and what it means."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import assert_never

from bot.deploy.probe import facts
from bot.deploy.probe.facts import FACT, Fact
from bot.doctor.finding import CheckResult, failed, fine, unchecked
from bot.doctor.machine import WEIGHTS_BYTES
from training.deployment.image_pins import BUILDER_VARIABLE, IMAGE_BUILDER
from training.deployment.image_recipes import images_of
from training.deployment.names import DISCORD_KEYS, Deployment
from training.files.code_path import python_path
from training.files.sizes import size
from training.pipeline.settings import DEFAULT_WRITE_SECONDS

START = "probe: containers"
_MODULE = "bot.deploy.probe"
# A stage stores its new events every DEFAULT_WRITE_SECONDS, with one write.
_STAGE_WRITES = round(60 / DEFAULT_WRITE_SECONDS)
_REPORT = "Do not train yet: report this line as an issue."
_AGAIN = "Try again in a few minutes; see status.modal.com."
_REBUILD = "Run lorabot deploy with this version. If the deploy fails too, report this line."


def probe_findings(deployment: Deployment) -> Iterator[CheckResult]:
    """Start the probe's containers, and yield a line for each check as soon as it ends."""
    waiting = _checks(deployment)
    cause = "the probe ended before this check"
    with subprocess.Popen(
        (sys.executable, "-m", _MODULE),
        env=_environment(deployment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as running:
        assert running.stdout is not None  # stdout is a pipe
        for line in running.stdout:
            result = finding_of(FACT.validate_json(line))
            yield result
            waiting = [check for check in waiting if check != result.check]
            if result.check == START:
                cause = "no container could be started"
    yield from (unchecked(check, cause) for check in waiting)


def _checks(deployment: Deployment) -> list[str]:
    images = [facts.image_check(name) for name in images_of(deployment.engine)]
    on_volumes = (facts.RENAME, facts.COMMIT, facts.LISTING)
    return [*on_volumes, facts.PUT, facts.DISK, *images, facts.WRITES]


def _environment(deployment: Deployment) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != DISCORD_KEYS[0]}
    named = {name: value for name, value in deployment.variables().items() if value is not None}
    pinned = {BUILDER_VARIABLE: IMAGE_BUILDER, "PYTHONPATH": python_path(), "PYTHONUTF8": "1"}
    return {**own, **named, **pinned}


def finding_of(fact: Fact) -> CheckResult:
    """Return the line for one measurement."""
    match fact:
        case facts.FolderRename() | facts.CommitWhileReading() | facts.MountAndListing():
            return _on_volume(fact)
        case facts.PutsAndRemoves():
            return _writes(fact)
        case facts.PutIfAbsent():
            return _put(fact)
        case facts.DiskUsage():
            return _disk(fact)
        case facts.ImageImports():
            return _image(fact)
        case facts.Refused():
            return failed(fact.check or START, fact.cause, fact.fix or _AGAIN)
        case _:
            assert_never(fact)


def _on_volume(
    fact: facts.FolderRename | facts.CommitWhileReading | facts.MountAndListing,
) -> CheckResult:
    match fact:
        case facts.FolderRename():
            return _rename(fact)
        case facts.CommitWhileReading():
            return _commit(fact)
        case facts.MountAndListing():
            return _listing(fact)


def _rename(fact: facts.FolderRename) -> CheckResult:
    if fact.fsync_error:
        text = f"fsync on a Volume fails: {fact.fsync_error}. Files are lost if a container dies."
        return failed(facts.RENAME, text, _REPORT)
    if fact.files_seen != fact.files:
        text = f"After the commit, {fact.files_seen} of the {fact.files} files are visible."
        return failed(facts.RENAME, text, _REPORT)
    synced = f"a folder of {fact.files} synced files was committed"
    if fact.rename_error:
        refused = fact.rename_error.rstrip(".")
        return fine(
            facts.RENAME, f"{synced}; renaming it is refused ({refused}), but no stage needs that"
        )
    return fine(facts.RENAME, f"{synced} and renamed")


def _writes(fact: facts.PutsAndRemoves) -> CheckResult:
    done = f"{fact.puts} puts and {fact.removes} removals in {fact.seconds:.0f} s"
    if not fact.refusal:
        return fine(
            facts.WRITES, f"{done}, none refused; a stage makes about {_STAGE_WRITES} a minute"
        )
    refused = f"refused after {done}: {fact.refusal.rstrip('.')}"
    if fact.puts + fact.removes < _STAGE_WRITES:
        return failed(facts.WRITES, f"{refused}. A stage makes {_STAGE_WRITES} a minute.", _AGAIN)
    return fine(
        facts.WRITES,
        f"{refused}. A stage makes about {_STAGE_WRITES} a minute; if one is refused, it waits and "
        "tries again",
    )


def _commit(fact: facts.CommitWhileReading) -> CheckResult:
    if fact.commit_error:
        text = f"A commit fails while another container reads: {fact.commit_error.rstrip('.')}."
        return failed(facts.COMMIT, text, _REPORT)
    if not fact.is_seen:
        text = "After a reload, another container does not see what was committed."
        return failed(facts.COMMIT, text, _REPORT)
    reload = "works" if not fact.open_reload_error else "is refused, as documented"
    return fine(
        facts.COMMIT,
        f"took {fact.commit_seconds:.1f} s while another container held a file open; after a "
        f"reload, the commit is visible there; a reload with an open file {reload}",
    )


def _listing(fact: facts.MountAndListing) -> CheckResult:
    if not fact.files or fact.other_sizes:
        text = (
            f"A mount shows {fact.other_sizes} of {fact.files} files with sizes that differ from "
            "the Volume's listing: the bot would refuse downloads."
        )
        return failed(facts.LISTING, text, _REPORT)
    same = f"{fact.files} files have the same size in a mount and in the Volume's listing"
    if fact.other_times:
        return fine(
            facts.LISTING,
            f"{same}, but {fact.other_times} have different times; the bot reloads its mount once "
            "for each file that is downloaded",
        )
    return fine(facts.LISTING, f"{same}, and the same time; a mount is only reloaded for new files")


def _put(fact: facts.PutIfAbsent) -> CheckResult:
    if fact.taken_twice or fact.taken_by_none:
        text = (
            f"Of {fact.keys} keys, two clients both took {fact.taken_twice} and neither took "
            f"{fact.taken_by_none}: two containers could run the same stage at the same time."
        )
        return failed(facts.PUT, text, _REPORT)
    return fine(facts.PUT, f"each of {fact.keys} keys was taken by one of two clients: leases work")


def _disk(fact: facts.DiskUsage) -> CheckResult:
    figures = (
        f"{size(fact.volume_free_bytes)} free on a Volume, "
        f"{size(fact.own_free_bytes)} on the container's own disk"
    )
    if fact.volume_free_bytes < WEIGHTS_BYTES:
        text = f"{figures}; fetching the weights of a 14B model needs {size(WEIGHTS_BYTES)}."
        return failed(facts.DISK, text, _REPORT)
    return fine(facts.DISK, f"{figures}; enough for the weights of a 14B model")


def _image(fact: facts.ImageImports) -> CheckResult:
    check = facts.image_check(fact.image)
    if fact.error:
        return failed(check, f"Its imports fail: {fact.error}", _REBUILD)
    return fine(check, "its imports work in a container")
