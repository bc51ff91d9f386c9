"""Makes a run's missing cache files, and links all its cache files for the trainer.

musubi-tuner's cache scripts get a dataset TOML that lists only the samples with missing files. The
keys of these files are written to the working folder first. So if the stage is killed, the next
attempt can store the files that are already complete.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import tomli_w

from training.dataset.config.cache_names import text_name
from training.dataset.config.toml_file import GENERAL, render_listed_toml
from training.errors import StageError
from training.files.atomic import atomic_directory, make_directory, sync_directory, sync_file
from training.files.safetensors_header import read_header
from training.files.seal import is_as_sealed
from training.pipeline.stages.cache_keys import CacheFile
from training.ports import Store
from training.remedies import ResumeRun
from training.runs.spec import RunSpec
from training.store_keys import CacheKind

logger = logging.getLogger(__name__)
_FILES = "files.json"
_TEXTS = "texts"
_TEXT_BATCH = 16


class CacheMaking:
    """The working folder in which one run's missing cache files of one kind are made."""

    def __init__(self, store: Store, spec: RunSpec, kind: CacheKind) -> None:
        self.kind: CacheKind = kind
        self._store = store
        self._key = spec.keys.caching(kind)
        self._folder = store.staging_path(self._key)
        self._config = store.staging_path(spec.keys.caching_config(kind))
        self._staged: list[str] = []
        self._uploaded = 0

    def missing(self, files: Sequence[CacheFile]) -> list[CacheFile]:
        """Return the files of this kind that are missing or damaged in the store, one per key."""
        by_key = {file.key: file for file in reversed(files) if file.kind == self.kind}
        lacking = {key for key in by_key if not is_complete(self._store.path(key))}
        return [file for file in files if file.key in lacking and by_key.get(file.key) is file]

    def start(self, missing: Sequence[CacheFile], files: Sequence[CacheFile], media: Path) -> None:
        """Write the dataset TOML of the missing files; `media` is the repaired dataset's folder."""
        self._folder.mkdir(parents=True)
        if self.kind == "latents":
            made = self._start_latents(missing, files, media)
        else:
            made = self._start_texts(missing)
        (self._folder / _FILES).write_text(json.dumps(made, indent=1), "utf-8")

    def store_finished(self) -> None:
        """Store the files that are complete, while the script works on the others.

        Each stored file is replaced by a link in the script's folder, because the script skips
        existing files.
        """
        self._staged += self._take_complete()
        self._store.upload(*self._staged)
        self._uploaded += len(self._staged)
        self._staged = []

    def finish(self) -> int:
        """Store the remaining complete files and delete the folder; return how many were stored.

        The number includes files that `store_finished` has stored.

        Raises:
            StageError: The script made an unexpected file.
        """
        kept = [*self._staged, *self._take_complete()]
        self._store.upload(*kept)
        foreign = sorted(self._found().keys() - self._made().keys())
        shutil.rmtree(self._folder, ignore_errors=True)
        if foreign:
            raise StageError(
                f"Caching made {foreign[0]}, which is not an item of the dataset.",
                "This is a bug in the caching; report it with the run's logs.",
            )
        return len(kept) + self._uploaded

    def _found(self) -> dict[str, Path]:
        """Return the files that the script made and that are not stored yet, by name."""
        caches = self._folder / "cache"
        paths = (path for path in caches.glob("*/*.safetensors") if not path.is_symlink())
        return {path.relative_to(caches).as_posix(): path for path in paths}

    def _made(self) -> dict[str, str]:
        """Return the keys of the files that the script should make, by name."""
        listing = self._folder / _FILES
        return json.loads(listing.read_text("utf-8")) if listing.is_file() else {}

    def _take_complete(self) -> list[str]:
        """Move complete files to their staging paths, and return their keys."""
        found, made = self._found(), self._made()
        taken = [
            made[name]
            for name in sorted(found.keys() & made.keys())
            if _take(found[name], self._store.staging_path(made[name]))
        ]
        for folder in {self._store.staging_path(key).parent for key in taken}:
            sync_directory(folder)
        return taken

    def _start_latents(
        self, missing: Sequence[CacheFile], files: Sequence[CacheFile], media: Path
    ) -> dict[str, str]:
        made: dict[str, str] = {}
        samples = {(file.group.name, file.sample.name): file for file in missing}
        for file in files:
            if file.kind == "latents" and (file.group.name, file.sample.name) in samples:
                made[file.place] = file.key
                self._link_existing(file)
        groups = {file.group.name: file.group for file in missing}
        for group in groups.values():
            kind = "image" if group.frame_extraction is None else "video"
            names = [sample for name, sample in samples if name == group.name]
            lines = [{f"{kind}_path": str(media / name), "caption": ""} for name in names]
            _write_lines(self._folder / f"{group.name}.jsonl", lines)
        config = render_listed_toml(
            list(groups.values()),
            listings=PurePosixPath(self._folder),
            caches=PurePosixPath(self._folder / "cache"),
        )
        self._config.write_text(config, "utf-8")
        return made

    def _link_existing(self, file: CacheFile) -> None:
        # The script caches every item of a sample, except those whose files exist.
        stored = self._store.path(file.key)
        if is_complete(stored):
            link = self._folder / "cache" / file.place
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(stored)

    def _start_texts(self, missing: Sequence[CacheFile]) -> dict[str, str]:
        listing = self._folder / f"{_TEXTS}.jsonl"
        stems = {PurePosixPath(file.key).stem: file for file in missing}
        # The text script never opens the image; it only names its output after the image's path.
        _write_lines(
            listing,
            [
                {"image_path": f"{stem}.png", "caption": file.sample.caption.strip()}
                for stem, file in stems.items()
            ],
        )
        dataset = {
            "image_jsonl_file": str(listing),
            "cache_directory": str(self._folder / "cache" / _TEXTS),
            "batch_size": _TEXT_BATCH,
        }
        config = tomli_w.dumps({"general": GENERAL, "datasets": [dataset]})
        self._config.write_text(config, "utf-8")
        return {f"{_TEXTS}/{text_name(stem)}": file.key for stem, file in stems.items()}


def _take(path: Path, target: Path) -> bool:
    """Move a complete file to `target` and leave a link; return False if it is not complete."""
    if not is_complete(path):
        return False
    sync_file(path)
    make_directory(target.parent)
    path.replace(target)
    path.symlink_to(target)
    return True


def is_complete(path: Path) -> bool:
    """Return whether a cache file exists, is not truncated, and matches its checksum.

    Files that were written by earlier versions have no checksum to match.
    """
    try:
        read_header(path)
        return is_as_sealed(path)
    except (FileNotFoundError, ValueError):
        return False


def _write_lines(path: Path, lines: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def link_caches(folder: Path, files: Mapping[str, Path]) -> None:
    """Rebuild the trainer's cache folder: one link per name in `files`, to its stored file.

    Links are symbolic, because network volumes have no hard links. They are relative, so that they
    still work if the whole store is moved.
    """
    # Links that a crash of the machine loses are made again when the stage is repeated.
    with atomic_directory(folder, durable=False) as fresh:
        for place, target in files.items():
            link = fresh / place
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(target, link.parent))


def clean_caches(folder: Path, places: set[str]) -> None:
    """Delete cache files that are not in `places`, because the trainer would train on them.

    Raises:
        StageError: One of `places` is missing or damaged.
    """
    for path in sorted(folder.glob("*/*")):
        if path.relative_to(folder).as_posix() not in places:
            _remove(path)
            logger.warning("removed %s, which is not an item of the dataset", path)
    for place in sorted(places):
        if not is_complete(folder / place):
            raise StageError(
                f"The cache file {place} is missing or damaged.",
                "Resume the run to cache the missing files again.",
                ResumeRun(),
            )


def _remove(path: Path) -> None:
    # The train stages of both experts clean this folder, so the file may be gone already.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
