"""The cache files of a run, each addressed by everything that determines its content."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from training import store_keys
from training.dataset.config.group import Group, GroupPlan, Item
from training.dataset.config.toml_file import encoding_settings
from training.dataset.manifest import Manifest
from training.dataset.report import Sample
from training.store_keys import CacheKind

# Increase whenever a changed flag of the cache scripts changes their output.
CACHE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """The encoders of media and captions; weights are identified by SHA-256.

    Models with equal encoders share latents: T2V of Wan 2.1 and 2.2 do, and both experts of a model
    always do; I2V of 2.2 lacks the CLIP tokens of 2.1.

    Attributes:
        after: The run whose caches were damaged; they are not reused.
    """

    engine: str
    version: str
    vae: str
    clip: str | None
    i2v: bool
    t5: str
    after: str | None = None

    def parts(self, kind: CacheKind) -> dict[str, object]:
        """Return the parts that determine one kind of cache."""
        common = {
            "engine": self.engine,
            "version": self.version,
            "format": CACHE_VERSION,
            "after": self.after,
        }
        if kind == "texts":
            return {**common, "t5": self.t5}
        return {**common, "vae": self.vae, "clip": self.clip, "i2v": self.i2v}

    def address(self, kind: CacheKind, **content: object) -> str:
        """Return the hash of the encoders and their input."""
        parts = {**self.parts(kind), **content}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFile:
    """One cache file: its name for the trainer, its input, and its key.

    Attributes:
        kind: Whether it holds latents or a text embedding.
        group: The group whose cache directory it belongs to.
        sample: The image or clip.
        media: SHA-256 of the sample's bytes.
        name: The name that the trainer looks for.
        key: The content-addressed key in the store.
    """

    kind: CacheKind
    group: Group
    sample: Sample
    media: str
    name: str
    key: str

    @property
    def place(self) -> str:
        """The file's path in the run's cache folder."""
        return f"{self.group.name}/{self.name}"


def cache_files(
    groups: GroupPlan, manifest: Manifest, encoders: Encoders, guild: str
) -> tuple[CacheFile, ...]:
    """Return every cache file that a run on the repaired dataset reads."""
    samples = {sample.name: sample for sample in manifest.samples}
    media = {file.name: file.sha256 for file in manifest.files}
    found: dict[str, CacheFile] = {}
    for group in groups.groups:
        for item in group.items:
            sample = samples[item.sample_name]
            for file in _files_of(group, item, sample, media[sample.name], encoders, guild):
                found[file.place] = file
    return tuple(found.values())


def _files_of(
    group: Group, item: Item, sample: Sample, media: str, encoders: Encoders, guild: str
) -> Iterator[CacheFile]:
    latents = encoders.address(
        "latents",
        media=media,
        settings=encoding_settings(group),
        window=[item.start, item.frames],
        bucket=[item.bucket_width, item.bucket_height],
    )
    texts = encoders.address("texts", caption=sample.caption.strip())
    stem = PurePosixPath(sample.name).stem
    names: tuple[tuple[CacheKind, str, str], ...] = (
        ("latents", _latent_name(group, item, sample), latents),
        ("texts", f"{stem}_wan_te.safetensors", texts),
    )
    for kind, name, address in names:
        yield CacheFile(
            kind=kind,
            group=group,
            sample=sample,
            media=media,
            name=name,
            key=store_keys.cached(guild, kind, address),
        )


def _latent_name(group: Group, item: Item, sample: Sample) -> str:
    """Return musubi's name of a latent file: with an image's own size, or a clip's bucket size."""
    stem = PurePosixPath(sample.name).stem
    if group.frame_extraction is None:
        return f"{stem}_{sample.width:04d}x{sample.height:04d}_wan.safetensors"
    window = f"{item.start:05d}-{item.frames:03d}"
    return f"{stem}_{window}_{item.bucket_width:04d}x{item.bucket_height:04d}_wan.safetensors"
