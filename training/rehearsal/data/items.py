"""Training items: the cache files of all datasets, in shuffled batches of equal shape."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.dataset.config.buckets import Size, bucket_of
from training.dataset.config.cache_names import LATENT_SUFFIX, TEXT_SUFFIX
from training.dataset.config.toml_schema import DatasetKeys, ImageKeys
from training.files.safetensors_header import TensorEntry
from training.rehearsal.data.datasets import cache_directory
from training.rehearsal.data.encoders import TEXT_KEY
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import read_header

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RehearsalItem:
    """A training item: its cache files, and the header entries of its latent tensors."""

    latent_path: Path
    text_path: Path
    latents: TensorEntry
    image: TensorEntry | None
    clip_key: str | None

    @property
    def tokens(self) -> int:
        """How many tokens Wan would make of the item."""
        _, frames, height, width = self.latents.shape
        return frames * (height // 2) * (width // 2)


_Bucket = tuple[int, ...]


class TrainingItems:
    """All items of a run; as in musubi, a batch has items of one dataset and one bucket.

    With `image`, every item needs a first frame; with `clip`, every item needs CLIP tokens.

    Raises:
        MusubiError: There are no items, or an item lacks a tensor that the task needs.
    """

    def __init__(
        self, datasets: Sequence[DatasetKeys], *, seed: int, image: bool, clip: bool
    ) -> None:
        self._seed = seed
        self._groups: list[tuple[list[RehearsalItem], int]] = []
        for dataset in datasets:
            grouped = _group(dataset)
            for bucket, items in sorted(grouped.items()):
                logger.info("bucket: %s, count: %d", bucket, len(items))
                self._groups.append((items, dataset.batch_size))
        self.count = sum(len(items) for items, _ in self._groups)
        if not self.count:
            raise MusubiError(
                "ValueError: No training items found in the dataset. Please ensure that the "
                "latent/Text Encoder cache has been created beforehand.",
                "Run both cache scripts with the same dataset config first.",
            )
        for items, _ in self._groups:
            _require(items, image=image, clip=clip)
        self.batches_per_epoch = len(self.batches(0))
        logger.info("total batches: %d", self.batches_per_epoch)

    def batches(self, epoch: int) -> list[list[RehearsalItem]]:
        """Return the batches of an epoch, in an order that depends only on seed and epoch."""
        random = np.random.default_rng([self._seed, epoch])
        batches: list[list[RehearsalItem]] = []
        for items, size in self._groups:
            order = [items[int(index)] for index in random.permutation(len(items))]
            batches += [order[start : start + size] for start in range(0, len(order), size)]
        return [batches[int(index)] for index in random.permutation(len(batches))]


def _group(dataset: DatasetKeys) -> dict[_Bucket, list[RehearsalItem]]:
    is_image = isinstance(dataset, ImageKeys)
    grouped: dict[_Bucket, list[RehearsalItem]] = {}
    for path in sorted(cache_directory(dataset).glob(f"*{LATENT_SUFFIX}")):
        stem, size, frames = _parse_name(path, is_image=is_image)
        text_path = path.with_name(f"{stem}{TEXT_SUFFIX}")
        if not text_path.exists():
            logger.warning("Text encoder output cache file not found: %s", text_path)
            continue
        chosen = bucket_of(
            size,
            dataset.size,
            enabled=dataset.enable_bucket,
            no_upscale=dataset.bucket_no_upscale,
        )
        grouped.setdefault((*chosen, *frames), []).extend(
            [_open(path, text_path)] * dataset.num_repeats
        )
    return grouped


def _parse_name(path: Path, *, is_image: bool) -> tuple[str, Size, tuple[int, ...]]:
    """Parse `a_00000-021_0960x0544_wan...`: stem `a`, size (960, 544), frames (21,).

    The name of an image has no frames: `a_0960x0544_wan...`.
    """
    parts = path.name.split("_")
    try:
        width, height = map(int, parts[-2].split("x"))
        if is_image:
            return "_".join(parts[:-2]), (width, height), ()
        _, frames = map(int, parts[-3].split("-"))
    except ValueError as error:
        raise MusubiError(
            f"ValueError: {error}", f"{path} is not a latent cache of this kind of dataset."
        ) from error
    return "_".join(parts[:-3]), (width, height), (frames,)


def _open(latent_path: Path, text_path: Path) -> RehearsalItem:
    stored = read_header(latent_path).tensors
    names = {_short(name): name for name in stored}
    if "latents" not in names:
        raise _missing("latents", "wan_cache_latents.py")
    if TEXT_KEY not in read_header(text_path).tensors:
        raise _missing("t5", "wan_cache_text_encoder_outputs.py")
    latents = stored[names["latents"]]
    image = stored[names["latents_image"]] if "latents_image" in names else None
    return RehearsalItem(latent_path, text_path, latents, image, names.get("clip"))


def _short(name: str) -> str:
    """Return a cached tensor's name without size and type, such as `latents` or `clip`."""
    return name.rsplit("_", 2 if name.startswith("latents_") else 1)[0]


def _require(items: Sequence[RehearsalItem], *, image: bool, clip: bool) -> None:
    for item in items:
        if image and item.image is None:
            raise _missing("latents_image", "wan_cache_latents.py with --i2v")
        if clip and item.clip_key is None:
            raise _missing("clip", "wan_cache_latents.py with --clip")


def _missing(key: str, script: str) -> MusubiError:
    return MusubiError(f"KeyError: '{key}'", f"Run {script} again.")


def check_equal_shapes(batch: Sequence[RehearsalItem]) -> None:
    """Refuse a batch whose latents differ in shape, which can happen only without buckets.

    Raises:
        MusubiError: Two shapes differ; the message is torch's.
    """
    first = batch[0].latents.shape
    for index, item in enumerate(batch):
        if item.latents.shape != first:
            raise MusubiError(
                "RuntimeError: stack expects each tensor to be equal size, but got "
                f"{list(first)} at entry 0 and {list(item.latents.shape)} at entry {index}",
                "Set enable_bucket = true.",
            )
