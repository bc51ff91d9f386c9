"""The probe, which `lorabot doctor --probe` starts as a separate process.

Run it with `python -m bot.deploy.probe`. As in a deploy, environment variables name the deployment
and the version of Modal's image builder. Measurements go to stdout as JSON lines, and Modal's own
output goes to stderr.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import TextIO

import modal

from bot.deploy.probe import facts
from bot.deploy.probe.app import (
    IMAGES,
    IMPORTS,
    KEYS,
    NAME,
    app,
    commit_during_read,
    disk_usage,
    entries,
    mounted_files,
    read_during_commit,
    rename,
    take_keys,
    volume,
)
from bot.deploy.probe.mount_checks import FILES, NEW, OLD, OPEN
from training.backends.modal.errors import ANY_FAILURE, RAISE_SPEND_LIMIT, start_delayed
from training.deployment.image_recipes import ImageName

_PAIRS, _MINUTE_SECONDS = 60, 60.0
_FAILURES = (*ANY_FAILURE, OSError, RuntimeError)


def main() -> None:
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            with modal.enable_output(), app.run():
                for name, measure in _checks():
                    _send(answers, _measured(name, measure))
        except _FAILURES as error:
            _send(answers, _refused("", error))
        finally:
            _clean_up()


def _checks() -> Iterator[tuple[str, Callable[[], facts.Fact]]]:
    yield facts.RENAME, _rename
    yield facts.COMMIT, _commit_while_reading
    # This check compares the files that the checks above wrote, so it follows them.
    yield facts.LISTING, _mount_and_listing
    yield facts.PUT, _put_if_absent
    yield facts.DISK, _disk
    for name in IMAGES:
        yield facts.image_check(name), partial(_import, name)
    # This check comes last: after so many writes, Modal may refuse further writes for a while.
    yield facts.WRITES, _put_and_remove


def _measured(name: str, measure: Callable[[], facts.Fact]) -> facts.Fact:
    try:
        return measure()
    except _FAILURES as error:
        return _refused(name, error)


def _refused(check: str, error: BaseException) -> facts.Refused:
    if (delayed := start_delayed(error)) is not None:
        return facts.Refused(check=check, cause=delayed.cause, fix=RAISE_SPEND_LIMIT)
    return facts.Refused(check=check, cause=f"It fails on Modal: {str(error) or repr(error)}")


def _send(answers: TextIO, fact: facts.Fact) -> None:
    answers.write(f"{fact.model_dump_json()}\n")
    answers.flush()


def _clean_up() -> None:
    # A Volume or Dict that cannot be deleted costs nothing, and the next probe reuses it.
    with suppress(*_FAILURES):
        modal.Volume.objects.delete(NAME, allow_missing=True)
    with suppress(*_FAILURES):
        modal.Dict.objects.delete(NAME, allow_missing=True)


def _rename() -> facts.Fact:
    entries.clear()
    fsync_error, rename_error = rename.remote()
    there = NEW if not rename_error else OLD
    return facts.FolderRename(
        files=FILES,
        fsync_error=fsync_error,
        rename_error=rename_error,
        files_seen=len(volume.listdir(there, recursive=True)),
    )


def _put_and_remove() -> facts.Fact:
    started, puts, removes, refusal = time.monotonic(), 0, 0, ""
    try:
        for number in range(_PAIRS):
            with volume.batch_upload(force=True) as batch:
                batch.put_file(BytesIO(b"probe"), f"puts/{number}")
            puts += 1
            volume.remove_file(f"puts/{number}")
            removes += 1
            if time.monotonic() - started >= _MINUTE_SECONDS:
                break
    except modal.exception.Error as error:
        refusal = str(error)
    seconds = time.monotonic() - started
    return facts.PutsAndRemoves(puts=puts, removes=removes, seconds=seconds, refusal=refusal)


def _commit_while_reading() -> facts.Fact:
    with volume.batch_upload(force=True) as batch:
        batch.put_file(BytesIO(b"a file that a container holds open"), OPEN)
    reader = read_during_commit.spawn()
    commit_seconds, commit_error = commit_during_read.remote()
    open_reload_error, is_seen = reader.get()
    return facts.CommitWhileReading(
        commit_seconds=commit_seconds,
        commit_error=commit_error,
        open_reload_error=open_reload_error,
        is_seen=is_seen,
    )


def _mount_and_listing() -> facts.Fact:
    listed = {
        entry.path.strip("/"): (entry.size, entry.mtime)
        for entry in volume.listdir("/", recursive=True)
        if entry.type.name == "FILE"
    }
    mounted = mounted_files.remote()
    pairs = [(mounted.get(path, (-1, -1)), listed[path]) for path in listed]
    return facts.MountAndListing(
        files=len(pairs),
        other_sizes=sum(here[0] != there[0] for here, there in pairs),
        other_times=sum(here[1] != there[1] for here, there in pairs),
    )


def _put_if_absent() -> facts.Fact:
    calls = [take_keys.spawn(1, 2), take_keys.spawn(2, 1)]
    taken = [key for call in calls for key in call.get()]
    return facts.PutIfAbsent(
        keys=KEYS,
        taken_twice=len(taken) - len(set(taken)),
        taken_by_none=KEYS - len(set(taken)),
    )


def _disk() -> facts.Fact:
    volume_free_bytes, own_free_bytes = disk_usage.remote()
    return facts.DiskUsage(volume_free_bytes=volume_free_bytes, own_free_bytes=own_free_bytes)


def _import(name: ImageName) -> facts.Fact:
    return facts.ImageImports(image=name, error=IMPORTS[name].remote())


if __name__ == "__main__":
    main()
