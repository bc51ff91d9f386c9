"""A cache file's key depends on everything that determines its content, and nothing else."""

import ast
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.specs import groups, report
from training.dataset.config.frame_windows import Extract
from training.dataset.config.group import GroupPlan
from training.dataset.manifest import Manifest, ManifestFile
from training.pipeline.stages.cache_keys import CACHE_VERSION, CacheFile, Encoders, cache_files

ENCODERS = Encoders(
    engine="musubi", version="c1", vae="v1", clip="p1", i2v=True, t5="t1", clip_reader="PyAV 1"
)
PLAN = groups()
ROOT = Path(__file__).parents[5]
# The code by which clips are read for a latent cache, and the version that it was last checked for.
READERS = (
    "training/dataset/decoding/colours.py",
    "training/musubi/launcher/cache_hooks.py",
    "training/musubi/launcher/clip_colours.py",
)
CHECKED = (4, "97d0e303a55376ea")


def manifest(media: str = "m", caption: str = "c") -> Manifest:
    samples = tuple(s.model_copy(update={"caption": caption}) for s in report().samples)
    files = [ManifestFile(name=s.name, sha256=f"{media} {s.name}", size_bytes=1) for s in samples]
    return Manifest(version="v", samples=samples, files=tuple(files))


def files(
    encoders: Encoders = ENCODERS, found: Manifest | None = None, plan: GroupPlan = PLAN
) -> tuple[CacheFile, ...]:
    return cache_files(plan, found or manifest(), encoders, "1")


def keys(kind: str, found: tuple[CacheFile, ...]) -> dict[str, str]:
    return {file.place: file.key for file in found if file.kind == kind}


LATENTS, TEXTS = keys("latents", files()), keys("texts", files())


def resized() -> GroupPlan:
    """Return the plan with other resolutions, though some buckets stay the same."""
    width, height = 704, 1280
    return GroupPlan(tuple(replace(g, resolution=(width, height)) for g in PLAN.groups), ())


def retaken(extract: Extract) -> dict[str, str]:
    """Return the latents of a plan whose long windows are chosen differently."""
    taken = [
        replace(group, extract=extract).filled(report().samples)
        for group in PLAN.groups
        if group.name == "clips-uniform"
    ]
    return keys("latents", files(plan=GroupPlan(tuple(taken), ())))


@pytest.mark.parametrize(
    ("changed", "are_latents_other", "are_texts_other"),
    [
        (files(replace(ENCODERS, engine="rehearsal")), True, True),
        (files(replace(ENCODERS, version="c2")), True, True),
        (files(replace(ENCODERS, after="annika-1")), True, True),  # whose caches were damaged
        (files(replace(ENCODERS, vae="v2")), True, False),
        (files(replace(ENCODERS, clip_reader="PyAV 2")), True, False),
        (files(replace(ENCODERS, clip=None)), True, False),
        (files(replace(ENCODERS, i2v=False)), True, False),
        (files(replace(ENCODERS, t5="t2")), False, True),
        (files(found=manifest(media="n")), True, False),
        (files(found=manifest(caption="d")), False, True),
        (files(plan=resized()), True, False),
        (files(found=manifest(caption=" c\n")), False, False),  # the trainer strips captions
    ],
)
def test_keys_change_with_everything_that_determines_the_content(
    changed: tuple[CacheFile, ...], are_latents_other: bool, are_texts_other: bool
) -> None:
    latents, texts = keys("latents", changed), keys("texts", changed)

    assert latents.keys() == LATENTS.keys()
    assert texts.keys() == TEXTS.keys()
    assert all((key != LATENTS[place]) == are_latents_other for place, key in latents.items())
    assert all((key != TEXTS[place]) == are_texts_other for place, key in texts.items())


def test_every_item_has_a_latent_of_its_own_and_every_sample_a_text() -> None:
    items = [item for group in PLAN.groups for item in group.items]

    assert len(set(LATENTS.values())) == len(LATENTS) == len(items)
    assert len(set(TEXTS.values())) == 1  # for a single caption
    assert len(TEXTS) == len({(g.name, item.sample_name) for g in PLAN.groups for item in g.items})


@pytest.mark.parametrize(
    "extract",
    [
        Extract(target_frames=(45,)),
        Extract(mode="chunk", target_frames=(45,)),
        Extract(mode="slide", target_frames=(45,), stride=4),
        Extract(mode="uniform", target_frames=(45,), sample=5),
        Extract(mode="full", max_frames=45),
    ],
    ids=lambda extract: extract.mode,
)
def test_equal_frames_share_a_latent_in_any_mode(extract: Extract) -> None:
    assert retaken(extract).keys() & LATENTS.keys()
    for place, key in retaken(extract).items():
        assert LATENTS.get(place, key) == key


def test_whoever_changes_how_clips_are_read_decides_on_the_version_of_caches() -> None:
    """If colours change, raise CACHE_VERSION; in any case store the new hash in CHECKED."""
    code = "".join(statements(ROOT / reader) for reader in READERS)

    assert (CACHE_VERSION, hashlib.sha256(code.encode()).hexdigest()[:16]) == CHECKED


def statements(path: Path) -> str:
    """Return the code of a module without comments and docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        has_body = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if has_body and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
