"""The forms in which a Lightning file can be named, and the file that each one means."""

import pytest

from training import store_keys
from training.catalogue.models import find_model
from training.catalogue.weights import COMMITS, LIGHTNING, WeightFile
from training.errors import RequestError
from training.runs.lightning_file import find_lightning_file
from training.runs.spec import ExpertSpec, TrainRequest, resolve_experts

OWN = WeightFile(LIGHTNING, "one/high_noise_model.safetensors", COMMITS[LIGHTNING])
HUB = "https://huggingface.co"


def experts(text: str) -> dict[str, ExpertSpec]:
    request = TrainRequest(
        model="wan22-i2v-lightning", dataset="annika", settings={"lightning_file": text}
    )
    found = resolve_experts(request, find_model(request.model))
    return {expert.name: expert for expert in found}


def files(text: str) -> list[str]:
    """Return the file that each expert merges, as repository, path and revision."""
    found = [expert.speed_lora for expert in experts(text).values()]
    return [str(speed_lora.weight_file) for speed_lora in found if speed_lora is not None]


def test_a_path_is_a_file_of_the_models_own_repository_at_its_pinned_commit() -> None:
    found = find_lightning_file("V1.1/high noise.safetensors", OWN)

    assert found == WeightFile(LIGHTNING, "V1.1/high noise.safetensors", COMMITS[LIGHTNING])


@pytest.mark.parametrize(
    ("text", "revision"),
    [
        ("kijai/wan-low:loras/a.safetensors", "main"),
        (f"{HUB}/kijai/wan-low/blob/main/loras/a.safetensors", "main"),
        (f"{HUB}/kijai/wan-low/resolve/main/loras/a.safetensors?download=true", "main"),
        ("https://hf.co/kijai/wan-low/blob/main/loras/a.safetensors#about", "main"),
        (f"{HUB}/kijai/wan-low/blob/v2.0/loras/a.safetensors", "v2.0"),
        (f"{HUB}/kijai/wan-low/resolve/refs%2Fpr%2F3/loras/a.safetensors", "refs/pr/3"),
        (f"{HUB}/kijai/wan-low/blob/{'0a' * 20}/loras/a.safetensors", "0a" * 20),
    ],
)
def test_a_file_of_another_repository_is_named_by_path_or_address(text: str, revision: str) -> None:
    expected = f"kijai/wan-low/loras/a.safetensors@{revision}"

    assert files(text) == [expected, expected]
    assert files(f"low={text}")[1] == expected


def test_an_address_of_the_own_repository_means_the_revision_that_it_names() -> None:
    (high, _low) = files(f"{HUB}/{LIGHTNING}/blob/main/new/high.safetensors")

    assert high == f"{LIGHTNING}/new/high.safetensors@main"


def test_escapes_in_an_address_are_the_characters_of_the_path() -> None:
    found = find_lightning_file(f"{HUB}/a/b/blob/main/my%20loras/a%2Db.safetensors", OWN)

    assert found.file == "my loras/a-b.safetensors"


def test_each_expert_can_have_a_file_of_its_own_in_any_form() -> None:
    found = files(f"high=a/b:c.safetensors low={HUB}/d/e/blob/v2/f.safetensors")

    assert found == ["a/b/c.safetensors@main", "d/e/f.safetensors@v2"]


def test_an_expert_that_is_not_named_keeps_its_own_file() -> None:
    found = files("high=a/b:c.safetensors")

    assert found[0] == "a/b/c.safetensors@main"
    assert found[1].endswith(f"low_noise_model.safetensors@{COMMITS[LIGHTNING]}")


@pytest.mark.parametrize(
    "text",
    [
        "kijai/wan-low",
        "kijai:a.safetensors",
        "kijai/wan-low:a.ckpt",
        "../../etc/passwd",
        "../a.safetensors",
        "/root/a.safetensors",
        "kijai/wan-low:../a.safetensors",
        "/kijai:a.safetensors",
        f"{HUB}/kijai/wan-low",
        f"{HUB}/kijai/wan-low/tree/main/loras",
        f"{HUB}/kijai/wan-low/blob/main/README.md",
        f"{HUB}/kijai/wan-low/blob/main/..%2F..%2Fa.safetensors",
        f"{HUB}/kijai/wan-low/blob/%2E%2E/a.safetensors",
        f"{HUB}/datasets/kijai/wan-low/blob/main/a.safetensors",
        "https://example.com/kijai/wan-low/blob/main/a.safetensors",
        "file:///etc/a.safetensors",
        "x" * 5000,
    ],
)
def test_text_that_names_no_hub_file_is_refused_with_examples(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        experts(f"low={text}")

    assert "lightning-file cannot be" in caught.value.cause
    assert len(caught.value.cause) < 200
    for example in (LIGHTNING, "owner/repo:path/file.safetensors", f"{HUB}/owner/repo/blob/main/"):
        assert example in caught.value.fix


def test_files_of_different_revisions_are_kept_apart() -> None:
    revisions = ("main", "experimental-1", "experimental-2", "refs/pr/31", "refs/pr/3", "0a" * 20)
    places = {store_keys.weight("musubi", WeightFile("a/b", "c.safetensors", r)) for r in revisions}

    assert len(places) == len(revisions)
    assert all(place.endswith("/c.safetensors") for place in places)
    assert all(place.count("/") == 4 for place in places)
