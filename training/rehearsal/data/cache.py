"""The rehearsal's versions of the two cache scripts, which encode samples and captions to files."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from training.dataset.config.cache_names import LATENT_SUFFIX, TEXT_SUFFIX, latent_name, text_name
from training.dataset.config.toml_schema import DatasetKeys, ImageKeys
from training.files.atomic import atomic_path
from training.files.seal import seal
from training.musubi.progress import ProgressWriter
from training.rehearsal import console, tensor_file
from training.rehearsal.data.datasets import cache_directory, media_path, read_datasets
from training.rehearsal.data.encoders import Encoder, encode_caption
from training.rehearsal.data.media import Clip, MediaSample, find_samples, load_clips
from training.rehearsal.hold import Hold
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import Raw
from training.runs.training_events import CacheProgress

logger = logging.getLogger(__name__)

_FORMAT = {"architecture": "wan", "format_version": "1.0.1"}

# Caches one sample; yields the paths of its cache files, including those that already exist.
_CacheSample = Callable[[DatasetKeys, Path, MediaSample], Iterator[Path]]


def cache_latents(args: argparse.Namespace, progress: ProgressWriter, hold: Hold) -> None:
    """Do what `wan_cache_latents.py` does: cache the latents of all samples."""
    datasets = _open_datasets(args)
    with_clip = args.clip is not None
    if with_clip:
        _require_file(args.clip)
    logger.info("Loading VAE model from %s", args.vae)
    encoder = Encoder(Path(args.vae), is_image_to_video=args.i2v or with_clip, with_clip=with_clip)

    def cache_sample(dataset: DatasetKeys, directory: Path, sample: MediaSample) -> Iterator[Path]:
        # The caption is not needed here, but musubi's script fails if it is missing.
        sample.read_caption()
        for clip in load_clips(dataset, sample):
            path = directory / latent_name(clip.stem, clip.size, clip.window)
            if not (args.skip_existing and path.exists()):
                _write(path, encoder.encode(clip.frames), _latent_metadata(clip))
            yield path

    _cache_all(datasets, cache_sample, LATENT_SUFFIX, progress, hold)


def cache_text(args: argparse.Namespace, progress: ProgressWriter, hold: Hold) -> None:
    """Do what `wan_cache_text_encoder_outputs.py` does: cache the encoded captions."""
    datasets = _open_datasets(args)
    logger.info("Loading T5: %s", args.t5)
    _require_file(args.t5)
    logger.info("Encoding with T5")

    def cache_sample(dataset: DatasetKeys, directory: Path, sample: MediaSample) -> Iterator[Path]:
        del dataset
        path = directory / text_name(sample.path.stem)
        caption = sample.read_caption()
        if not (args.skip_existing and path.exists()):
            _write(path, encode_caption(caption), {"caption1": caption, **_FORMAT})
        yield path

    _cache_all(datasets, cache_sample, TEXT_SUFFIX, progress, hold)


def _write(path: Path, tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> None:
    with atomic_path(path) as partial:
        tensor_file.write(partial, tensors, metadata)
        seal(partial)


def _latent_metadata(clip: Clip) -> dict[str, str]:
    width, height = clip.size
    metadata = {"width": str(width), "height": str(height), **_FORMAT}
    if clip.window is not None:
        metadata["frame_count"] = str(clip.window[1])
    return metadata


def _open_datasets(args: argparse.Namespace) -> list[DatasetKeys]:
    logger.info("Load dataset config from %s", args.dataset_config)
    return read_datasets(Path(args.dataset_config))


def _require_file(path: str) -> None:
    if not Path(path).is_file():
        raise MusubiError(
            f"FileNotFoundError: [Errno 2] No such file or directory: '{path}'",
            "Download the weights first.",
        )


def _cache_all(
    datasets: list[DatasetKeys],
    cache_sample: _CacheSample,
    suffix: str,
    progress: ProgressWriter,
    hold: Hold,
) -> None:
    found = [_find(dataset) for dataset in datasets]
    total, done = sum(map(len, found)), 0
    progress.write(CacheProgress(done=0, total=total))
    for index, (dataset, samples) in enumerate(zip(datasets, found, strict=True)):
        logger.info("Encoding dataset [%d]", index)
        directory = cache_directory(dataset)
        before = set(directory.glob(f"*{suffix}"))
        written: set[Path] = set()
        for sample in samples:
            directory.mkdir(parents=True, exist_ok=True)
            written.update(cache_sample(dataset, directory, sample))
            done += 1
            console.show_items(done)
            progress.write(CacheProgress(done=done, total=total))
            hold.wait()
        sys.stderr.write("\n")
        for path in sorted(before - written):
            path.unlink()
            logger.info("Removed old cache file: %s", path)


def _find(dataset: DatasetKeys) -> list[MediaSample]:
    kind = "images" if isinstance(dataset, ImageKeys) else "videos"
    logger.info("glob %s in %s", kind, media_path(dataset)[0])
    samples = find_samples(dataset)
    logger.info("found %d %s", len(samples), kind)
    return samples
