"""Names the cache files of a run; a file's key is a hash of everything that affects its content."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from training import store_keys
from training.dataset.config.cache_names import latent_name, text_name
from training.dataset.config.group import Group, GroupPlan, Item
from training.dataset.config.toml_file import encoding_settings
from training.dataset.manifest import Manifest
from training.dataset.report import Sample
from training.store_keys import CacheKind

# Increase this whenever equal inputs give different cache files than before, for example after a
# change of the cache scripts' flags or of how clips are read (`launcher/cache_hooks.py`).
CACHE_VERSION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """The encoders of images, clips and captions; `vae`, `clip` and `t5` are hashes of weights.

    Models with equal encoders share latents: the T2V models of Wan 2.1 and 2.2 do, and so do both
    experts of a model. The I2V models of 2.1 and 2.2 do not, because 2.2 has no CLIP tokens.

    Attributes:
        clip_reader: The library that decodes clips, with its version; libraries decode the same
            clip to different colours.
        after: The run whose caches were damaged. It is part of every key, so that those caches are
            not reused; None to reuse whatever exists.
    """

    engine: str
    version: str
    vae: str
    clip: str | None
    i2v: bool
    t5: str
    clip_reader: str
    after: str | None = None

    def parts(self, kind: CacheKind) -> dict[str, object]:
        common = {
            "engine": self.engine,
            "version": self.version,
            "format": CACHE_VERSION,
            "after": self.after,
        }
        if kind == "texts":
            return {**common, "t5": self.t5}
        made = {"vae": self.vae, "clip": self.clip, "i2v": self.i2v}
        return {**common, **made, "reader": self.clip_reader}

    def address(self, kind: CacheKind, **content: object) -> str:
        parts = {**self.parts(kind), **content}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFile:
    """One cache file: its input, its key in the store, and the name by which the trainer finds it.

    `media` is the SHA-256 of the sample's bytes.
    """

    kind: CacheKind
    group: Group
    sample: Sample
    media: str
    name: str
    key: str

    @property
    def place(self) -> str:
        return f"{self.group.name}/{self.name}"


def cache_files(
    groups: GroupPlan, manifest: Manifest, encoders: Encoders, guild: str
) -> tuple[CacheFile, ...]:
    """Return every cache file of a run; `manifest` describes the repaired dataset."""
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
        ("texts", text_name(stem), texts),
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
    stem = PurePosixPath(sample.name).stem
    if group.frame_extraction is None:
        return latent_name(stem, (sample.width, sample.height))
    return latent_name(stem, (item.bucket_width, item.bucket_height), (item.start, item.frames))
