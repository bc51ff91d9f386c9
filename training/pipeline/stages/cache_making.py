"""Makes missing cache files: runs musubi's scripts on a dataset of just these, stores the result.

The working folder lists the key of each file before anything is made, so that a later attempt
keeps what a killed one finished.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import tomli_w

from training.dataset.config.toml_file import GENERAL, render_listed_toml
from training.errors import StageError
from training.files.atomic import sync_file
from training.files.safetensors_header import read_header
from training.pipeline.stages.cache_keys import CacheFile
from training.ports import Store
from training.runs.spec import RunSpec
from training.store_keys import CacheKind

_FILES = "files.json"
_TEXTS = "texts"
_TEXT_BATCH = 16


class CacheMaking:
    """The working folder for one run's missing cache files of one kind."""

    def __init__(self, store: Store, spec: RunSpec, kind: CacheKind) -> None:
        self.kind: CacheKind = kind
        self._store = store
        self._key = spec.keys.caching(kind)
        self._folder = store.staging_path(self._key)
        self._config = store.staging_path(spec.keys.caching_config(kind))

    def missing(self, files: Sequence[CacheFile]) -> list[CacheFile]:
        """Return one file per content that is missing or truncated in the store."""
        by_key = {file.key: file for file in reversed(files) if file.kind == self.kind}
        lacking = {key for key in by_key if not is_complete(self._store.path(key))}
        return [file for file in files if file.key in lacking and by_key.get(file.key) is file]

    def start(self, missing: Sequence[CacheFile], files: Sequence[CacheFile], media: Path) -> None:
        """Write a dataset of the missing files.

        Args:
            missing: The files to make.
            files: Every file of the run.
            media: The folder of the repaired dataset.
        """
        self._folder.mkdir(parents=True)
        if self.kind == "latents":
            made = self._start_latents(missing, files, media)
        else:
            made = self._start_texts(missing)
        (self._folder / _FILES).write_text(json.dumps(made, indent=1), "utf-8")

    def finish(self) -> int:
        """Move every complete file into the store, delete the rest, and return their number.

        Raises:
            StageError: The script made an unexpected file.
        """
        listing = self._folder / _FILES
        made: dict[str, str] = json.loads(listing.read_text("utf-8")) if listing.is_file() else {}
        caches = self._folder / "cache"
        paths = [path for path in caches.glob("*/*.safetensors") if not path.is_symlink()]
        found = {path.relative_to(caches).as_posix(): path for path in paths}
        kept = [
            made[name]
            for name in sorted(found.keys() & made)
            if self._take(found[name], self._store.staging_path(made[name]))
        ]
        self._store.keep(*kept)
        shutil.rmtree(self._folder, ignore_errors=True)
        if foreign := sorted(found.keys() - made):
            raise StageError(
                f"Caching made {foreign[0]}, which is no item of the dataset.",
                "This is a bug in the prediction or the caching; report it with the run's logs.",
            )
        return len(kept)

    def _take(self, path: Path, target: Path) -> bool:
        if not is_complete(path):
            return False
        sync_file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return True

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
        # The script encodes whole samples and skips items whose files exist.
        stored = self._store.path(file.key)
        if is_complete(stored):
            link = self._folder / "cache" / file.place
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(stored)

    def _start_texts(self, missing: Sequence[CacheFile]) -> dict[str, str]:
        listing = self._folder / f"{_TEXTS}.jsonl"
        stems = {PurePosixPath(file.key).stem: file for file in missing}
        # The script reads no pixels; the path only determines the output's name.
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
        return {f"{_TEXTS}/{stem}_wan_te.safetensors": file.key for stem, file in stems.items()}


def is_complete(path: Path) -> bool:
    """Return whether a cache file exists and is complete: size and header agree."""
    try:
        read_header(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _write_lines(path: Path, lines: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
