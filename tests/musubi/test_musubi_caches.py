"""The real musubi-tuner reads the folders and datasets of the cache stage as they are meant."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.films import LIMIT, off, write_films
from tests.media import guide_files, write_zip
from tests.pipeline.stages import Stages
from training.catalogue.weights import T5_TOKENIZER
from training.dataset.inspect import inspect_zip
from training.dataset.manifest import read_manifest
from training.dataset.repair import repair
from training.musubi.hub_cache import link_file
from training.pipeline.stages.cache_keys import Encoders, cache_files
from training.pipeline.stages.cache_making import CacheMaking
from training.runs.spec import RunSpec
from training.store_keys import CacheKind

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = os.environ.get("LORABOT_MUSUBI_DIR")
pytestmark = [
    pytest.mark.musubi,
    pytest.mark.skipif(CHECKOUT is None, reason="LORABOT_MUSUBI_DIR names no checkout"),
]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    found = Stages(tmp_path_factory.mktemp("musubi"))
    found.upload(guide_files(images=2, clips=2))
    return found


@pytest.fixture(scope="module")
def spec(stages: Stages) -> RunSpec:
    """Return a run whose caches the rehearsal made."""
    spec = stages.start()
    stages.cache(spec)
    return spec


def musubi(script: str, *arguments: str, **environment: str) -> Any:
    """Return what a script says that runs in musubi's environment."""
    python = os.environ.get("LORABOT_MUSUBI_PYTHON", f"{CHECKOUT}/.venv/bin/python")
    result = subprocess.run(
        [python, str(Path(__file__).with_name(script)), *arguments],
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}/src", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_all_items_are_found_through_links(stages: Stages, spec: RunSpec) -> None:
    assert all(path.is_symlink() for path in stages.folder(spec).glob("*/*"))

    config = stages.local.runtime.planner(spec).dataset_config
    assert musubi("find_items.py", "train", str(config)) == [spec.steps_per_epoch]


@pytest.mark.parametrize("kind", ["latents", "texts"])
def test_caching_writes_the_files_that_are_expected(
    kind: CacheKind, stages: Stages, spec: RunSpec
) -> None:
    store, planner = stages.local.runtime.store, stages.local.runtime.planner(spec)
    media = store.path(planner.prepared_key)
    unknown = Encoders(
        engine="x", version="x", vae="x", clip=None, i2v=False, t5="x", clip_reader="x"
    )
    files = cache_files(planner.groups, read_manifest(media), unknown, spec.guild)
    making = CacheMaking(store, spec, kind)
    making.start(making.missing(files), files, media)
    folder = store.path(spec.keys.caching(kind))
    expected = json.loads((folder / "files.json").read_text("utf-8"))

    config = store.path(spec.keys.caching_config(kind))
    found = musubi("find_items.py", kind, str(config))

    making.finish()
    assert found == sorted(expected)


def test_a_fetched_tokenizer_is_found_offline(tmp_path: Path) -> None:
    made = musubi("tokenizer.py", "make", str(tmp_path / "stored"))
    for weight in T5_TOKENIZER:
        stored = tmp_path / "stored" / Path(weight.file).name
        if stored.exists():
            link_file(tmp_path / "hub", weight, weight.revision, stored)
    repo, folder = T5_TOKENIZER[0].repo, T5_TOKENIZER[0].file.rpartition("/")[0]
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    assert musubi("tokenizer.py", "find", repo, folder, **offline) == made


def test_the_chart_is_read_as_it_was_filmed_before_and_after_a_repair(tmp_path: Path) -> None:
    films = write_films(tmp_path)
    files = {path.name: path.read_bytes() for path in films.values()}
    captions = {f"{path.stem}.txt": b"ann1ka" for path in films.values()}
    archive = write_zip(tmp_path / "set.zip", files | captions)
    repair(archive, inspect_zip(archive), tmp_path / "set")
    repaired = [tmp_path / "set/videos" / f"{path.stem}.mp4" for path in films.values()]

    found = musubi(
        "read_clips.py",
        *map(str, [*films.values(), *repaired]),
        PYTHONPATH=f"{CHECKOUT}/src:{ROOT}",
    )

    worst = [
        off(np.array(patches, np.uint8), name)
        for name, patches in zip([*films, *films], found, strict=True)
    ]
    assert max(worst) <= LIMIT, dict(zip([*films, *films], worst, strict=True))
