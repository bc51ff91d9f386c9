"""Hooks into musubi-tuner's two cache scripts: progress, atomic files, and correct colours."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.files.atomic import atomic_path
from training.files.seal import seal
from training.musubi.launcher.clip_colours import TaggedAv
from training.musubi.launcher.hooks import Function, HookPoint
from training.musubi.progress import EXIT_STOPPED, ProgressWriter
from training.runs.training_events import CacheProgress

ENCODE_MEDIA = HookPoint("musubi_tuner.cache_latents", "encode_datasets", ("datasets",))
ENCODE_TEXT = HookPoint(
    "musubi_tuner.cache_text_encoder_outputs", "process_text_encoder_batches", ("datasets",)
)
READ_CLIPS = HookPoint("musubi_tuner.dataset.media_utils", "av")
SAVE_LATENTS = HookPoint("musubi_tuner.dataset.cache_io", "save_file")
SAVE_TEXT = HookPoint("musubi_tuner.utils.safetensors_utils", "mem_eff_save_file")

# musubi-tuner names a clip's window by its first frame and its length: `clip_00000-021.mp4`.
_WINDOW = re.compile(r"_\d{5}-\d{3}(?=\.[^.]*$)")


class CacheHooks:
    """Counts cached samples, reads clips by their colour tags and writes cache files atomically."""

    def __init__(self, progress: ProgressWriter) -> None:
        self._progress = progress
        self._done, self._total = 0, 0

    def install(self) -> None:
        """Install every hook.

        Raises:
            HookError: musubi-tuner's code is not as expected; nothing has been replaced.
        """
        for point in (ENCODE_MEDIA, ENCODE_TEXT, READ_CLIPS, SAVE_LATENTS, SAVE_TEXT):
            point.check()
        ENCODE_MEDIA.replace(lambda original: self._encode(original, 0, "latent"))
        ENCODE_TEXT.replace(lambda original: self._encode(original, 3, "text_encoder_output"))
        READ_CLIPS.replace(TaggedAv)
        SAVE_LATENTS.replace(_atomic)
        SAVE_TEXT.replace(_atomic)

    def stop(self) -> int:
        """Return the exit code. There is nothing to save: cache files appear atomically."""
        return EXIT_STOPPED

    def _encode(self, original: Function, position: int, kind: str) -> Function:
        def encode(*positional: Any, **named: Any) -> None:
            datasets = named.get("datasets") or positional[position]
            self._total = sum(len(dataset.datasource) for dataset in datasets)
            self._report()
            for dataset in datasets:
                self._follow(dataset, kind)
            original(*positional, **named)

        return encode

    def _follow(self, dataset: Any, kind: str) -> None:
        method = f"retrieve_{kind}_cache_batches"
        original: Callable[[int], Iterator[Any]] = getattr(dataset, method)

        def followed(num_workers: int) -> Iterator[Any]:
            finished: set[str] = set()
            for batch in original(num_workers):
                yield batch
                # musubi-tuner asks for the next batch after it has written this batch's files.
                items: list[Any] = batch[-1] if kind == "latent" else batch
                new = {_sample(item) for item in items} - finished
                finished |= new
                if new:
                    self._done += len(new)
                    self._report()

        setattr(dataset, method, followed)

    def _report(self) -> None:
        self._progress.write(CacheProgress(done=self._done, total=self._total))


def _sample(item: Any) -> str:
    return _WINDOW.sub("", item.item_key) if item.frame_count is not None else item.item_key


def _atomic(original: Function) -> Function:
    def save(tensors: Any, path: Any, *positional: Any, **named: Any) -> None:
        with atomic_path(Path(path)) as partial:
            original(tensors, str(partial), *positional, **named)
            seal(partial)

    return save
