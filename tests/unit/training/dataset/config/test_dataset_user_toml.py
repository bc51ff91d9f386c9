"""A user's own dataset TOML: each key checked, paths replaced, items as musubi-tuner counts."""

import json
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.training.dataset.samples import GUIDE, clip, image, report
from training.dataset.config.guide_groups import plan_groups
from training.dataset.config.toml_file import render_toml
from training.dataset.config.toml_schema import KEYS
from training.dataset.config.user_toml import UserTomlPlan, plan_user_toml
from training.dataset.config.user_toml_tables import looks_like_config
from training.dataset.report import Report

ANSWERS = json.loads(Path(__file__).with_name("musubi_windows.json").read_bytes())
SET = report(image("a"), image("b", 640, 480), clip(81, "c"), clip(17, "d"))
CLIPS: dict[str, Any] = {"video_directory": "/data/v", "enable_bucket": True}


def plan(*datasets: dict[str, Any], of: Report = SET, **general: object) -> UserTomlPlan:
    general = {"caption_extension": ".txt", **general}
    return plan_user_toml(tomli_w.dumps({"general": general, "datasets": list(datasets)}), of)


def codes(own: UserTomlPlan) -> list[str]:
    return [finding.code for finding in own.findings]


def test_the_keys_are_those_of_musubis_schema() -> None:
    for section, keys in ANSWERS["schema"].items():
        ours = {key for key in KEYS[section] if "flux" not in key and "qwen" not in key}
        assert ours == set(keys)


def test_the_guides_toml_gives_the_guides_groups_with_other_paths_and_rates() -> None:
    guide_shaped = report(image(), clip(81))

    own = plan_user_toml(GUIDE, guide_shaped)

    assert [g.items for g in own.plan.groups] == [g.items for g in plan_groups(guide_shaped).groups]
    assert set(codes(own)) == {"toml-cache-directory", "toml-source-fps"}
    assert all(finding.repaired and finding.severity == "info" for finding in own.findings)
    written = render_toml(own.plan, media=PurePosixPath("/m"), caches=PurePosixPath("/c"))
    ours, guides = tomllib.loads(written)["datasets"], tomllib.loads(GUIDE)["datasets"]
    assert [entry.pop("source_fps", None) for entry in ours] == [None, 16.0, 16.0]
    assert len({entry["cache_directory"] for entry in ours}) == 3
    for entry in (*ours, *guides):
        for key in ("image_directory", "video_directory", "cache_directory"):
            entry.pop(key, None)
    assert ours == guides


@pytest.mark.parametrize(
    ("keys", "code", "says"),
    [
        ({"target_frame": [21]}, "toml-unknown-key", "Did you mean target_frames?"),
        ({"image_directory": "x"}, "toml-unknown-key", "belongs to image datasets"),
        ({"debug": 1}, "toml-unknown-key", "Valid keys: batch_size"),
        ({"source_fps": 30}, "toml-wrong-type", "Write 30.0"),
        ({"target_frames": 21}, "toml-wrong-type", "list of whole numbers"),
        ({"batch_size": True}, "toml-wrong-type", "whole number"),
        ({"resolution": [960]}, "toml-wrong-type", "[960, 544]"),
        ({"batch_size": 0}, "toml-out-of-range", "from 1"),
        ({"resolution": [960, 0]}, "toml-out-of-range", "from 64"),
        ({"frame_extraction": "heads"}, "toml-out-of-range", "head, chunk, slide, uniform, full"),
        ({"video_jsonl_file": "a.jsonl"}, "toml-refused-key", "paths on your own machine"),
        ({"control_directory": "/c"}, "toml-refused-key", "pairs of pictures"),
        ({"target_frames": [129]}, "toml-nothing-left", "the longest has 81"),
        ({"frame_extraction": "slide", "target_frames": [1] * 33}, "toml-out-of-range", "1, 21"),
    ],
)
def test_unusable_keys_are_named_with_a_fix(keys: dict[str, Any], code: str, says: str) -> None:
    own = plan({**CLIPS, **keys})

    error = own.errors[0]
    assert error.code == code
    assert says in f"{error.cause} {error.fix}"
    assert own.plan.groups == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[[datasets]", "toml-syntax"),
        ("a = " + "[" * 20_000 + "]" * 20_000, "toml-syntax"),
        ("[general]", "toml-no-datasets"),
        ("datasets = [1]", "toml-no-datasets"),
        ("general = 1\n[[datasets]]", "toml-no-datasets"),
        ("[[datasets]]\nresolution = 720", "toml-no-directory"),
        ("[other]\n[[datasets]]\nvideo_directory = 'v'", "toml-unknown-key"),
        ("[general]\nmax_frames = 9\n[[datasets]]\nvideo_directory = 'v'", "toml-unknown-key"),
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(text: str, code: str) -> None:
    assert [finding.code for finding in plan_user_toml(text, SET).errors] == [code]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a." * 30_000 + "a = 1", "more than 128 dots"),
        ("[" + "a." * 30_000 + "a]", "more than 128 dots"),
        ("x = {" + "a." * 30_000 + "a = 1}", "more than 128 dots"),
        ("".join(f"k{number} = 1\n" for number in range(5_000)), "more than 1,000 keys"),
        ("[[datasets]]\n" * 5_000, "more than 1,000 keys"),
        ("x = " + "[" * 60_000, "nested too deeply"),
        ("x = " + "1" * 60_000, "a number that is too long"),
    ],
)
@pytest.mark.parametrize("start", ["", "[[datasets]]\n"])
def test_what_would_take_the_parser_minutes_is_refused_unread(
    text: str, words: str, start: str
) -> None:
    (finding,) = plan_user_toml(start + text, SET).errors

    assert finding.code == "toml-syntax"
    assert words in finding.cause
    assert looks_like_config(start + text) is ("[[datasets]]" in start + text)


def test_two_folders_of_one_kind_are_refused() -> None:
    own = plan({**CLIPS}, {**CLIPS, "video_directory": "/data/other"})

    assert [finding.code for finding in own.errors] == ["toml-two-folders"]
    assert "/data/other, /data/v" in own.errors[0].cause


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({}, "toml-source-fps"),
        ({"source_fps": 30.0}, "toml-source-fps"),
        ({"source_fps": 16.0, "cache_directory": "/c"}, "toml-cache-directory"),
        ({"source_fps": 16.0, "caption_extension": ".caption"}, "toml-caption-extension"),
        ({"source_fps": 16.0, "target_frames": [1, 18]}, "toml-frames-not-4n1"),
        ({"source_fps": 16.0, "frame_extraction": "uniform"}, "toml-uniform-of-one"),
        ({"source_fps": 16.0, "fp_latent_window_size": 9}, "toml-no-effect"),
    ],
)
def test_automatic_corrections_are_reported(keys: dict[str, Any], code: str) -> None:
    own = plan({**CLIPS, **keys}, {"image_directory": "i", "enable_bucket": True,
                                   "bucket_no_upscale": True})  # fmt: skip

    assert codes(own) == [code]
    assert all(group.source_fps == 16.0 for group in own.plan.groups)


def test_images_without_buckets_or_with_enlarging_are_warned_about() -> None:
    images = {"image_directory": "i"}

    assert "toml-no-buckets" in codes(plan(images, resolution=[960, 544]))
    assert "toml-upscales" in codes(plan(images, enable_bucket=True))
    assert "toml-size-not-16" in codes(plan(images, resolution=[1000, 544]))


def test_mixed_formats_in_a_batch_without_buckets_are_refused() -> None:
    mixed = report(clip(81, "a"), clip(81, "b", 720, 1280))
    keys = {"video_directory": "v", "source_fps": 16.0, "batch_size": 2, "target_frames": [21]}

    assert codes(plan(keys, of=mixed)) == ["toml-mixed-batch"]
    assert codes(plan({**keys, "enable_bucket": True}, of=mixed)) == []
    assert codes(plan({**keys, "batch_size": 1}, of=mixed)) == []
    assert codes(plan(keys, of=report(clip(81, "a"), clip(81, "b")))) == []


def test_samples_that_a_target_length_drops_are_named() -> None:
    own = plan({**CLIPS, "source_fps": 16.0, "target_frames": [45]})

    (dropped,) = [f for f in own.findings if f.code == "toml-samples-dropped"]
    assert "3 of 4 samples" in dropped.cause
    assert "videos/d.mp4" in dropped.cause


def test_batches_and_repeats_decide_the_steps() -> None:
    keys = {**CLIPS, "source_fps": 16.0, "frame_extraction": "chunk", "target_frames": [9]}

    alone, batched = plan(keys).plan, plan({**keys, "batch_size": 4, "num_repeats": 3}).plan

    # 9 pieces of 81 frames and 1 of 17.
    assert (len(alone.items), alone.steps_per_epoch) == (10, 10)
    assert (len(batched.items), batched.steps_per_epoch) == (10, 8)


def test_a_plan_of_absurd_size_is_refused_early() -> None:
    many = report(*(clip(4801, str(n)) for n in range(30)))

    own = plan({**CLIPS, "frame_extraction": "slide"}, of=many)

    assert [finding.code for finding in own.errors] == ["toml-too-many-items"]


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**7), st.floats(), st.text(max_size=8),
    st.lists(st.integers(-2, 300), max_size=3),
)  # fmt: skip
_KEYS = st.sampled_from(sorted({key for keys in KEYS.values() for key in keys}))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_KEYS, _VALUES, max_size=6), st.dictionaries(_KEYS, _VALUES, max_size=3))
def test_no_toml_breaks_the_check(table: dict[str, Any], general: dict[str, Any]) -> None:
    given_keys = {key: value for key, value in table.items() if value is not None}
    shared = {key: value for key, value in general.items() if value is not None}

    own = plan_user_toml(tomli_w.dumps({"general": shared, "datasets": [given_keys]}), SET)

    assert bool(own.plan.groups) != bool(own.errors)
