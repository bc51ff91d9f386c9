"""ComfyUI can load a run's workflow: every link, value and file name is checked."""

from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.specs import spec
from training.catalogue.models import MODELS, Model, find_model
from training.comfyui.graph import Graph, node_table
from training.comfyui.sampling import SAMPLING, switch_step
from training.comfyui.workflow import build
from training.pipeline.checkpoint_sets import CheckpointSet
from training.runs.spec import ExpertChoice, RunSpec
from training.runs.state import Checkpoint
from training.vocabulary import ExpertName

ALL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
WIDGETS = {"COMBO", "INT", "FLOAT", "STRING"}
Saved = dict[str, Any]


def files(run: RunSpec, epoch: int = 20) -> CheckpointSet:
    found: dict[ExpertName, Checkpoint] = {
        expert.name: Checkpoint(
            f"checkpoints/{expert.name}/{run.output_name(expert.name)}-{epoch:06d}.safetensors",
            epoch,
            epoch * 10,
            1000,
            is_final=False,
        )
        for expert in run.experts
    }
    return CheckpointSet(epoch, found, is_complete=True)


def workflow(model: str, expert: ExpertChoice = "both", **settings: str) -> Saved:
    run = spec(model, expert=expert, **settings)
    return build(run, files(run))


def by_id(found: Saved) -> dict[int, Saved]:
    return {node["id"]: node for node in found["nodes"]}


def of_type(found: Saved, kind: str) -> list[Saved]:
    return [node for node in found["nodes"] if node["type"] == kind]


def values(node: Saved) -> dict[str, Any]:
    """Return a node's values by the names of its widgets, as ComfyUI assigns them."""
    given = iter(node["widgets_values"])
    named: dict[str, Any] = {}
    for entry in node_table()[node["type"]]["inputs"]:
        if entry["type"] not in WIDGETS or (entry.get("optional") and entry["name"] == "device"):
            continue
        named[entry["name"]] = next(given)
        if entry.get("control_after_generate"):
            assert next(given) in ("fixed", "randomize", "increment", "decrement")
        if entry.get("image_upload"):
            assert next(given) == "image"
    assert list(given) == []
    return named


def source(found: Saved, node: Saved, name: str) -> Saved:
    """Return the node that feeds an input."""
    link = next(entry["link"] for entry in node["inputs"] if entry["name"] == name)
    return by_id(found)[next(line[1] for line in found["links"] if line[0] == link)]


def chain(found: Saved, sampler: Saved) -> list[Saved]:
    """Return the nodes that a sampler's model passes through, from the loader on."""
    nodes = [source(found, sampler, "model")]
    while nodes[0]["type"] != "UNETLoader":
        nodes.insert(0, source(found, nodes[0], "model"))
    return nodes


@ALL
def test_every_link_joins_an_output_to_an_input_of_its_type(model: Model) -> None:
    found = workflow(model.name)
    nodes, table = by_id(found), node_table()

    assert found["last_link_id"] == len(found["links"]) == len({line[0] for line in found["links"]})
    assert found["last_node_id"] == max(nodes) == len(nodes)
    for link, start, out, end, into, kind in found["links"]:
        output = nodes[start]["outputs"][out]
        entry = nodes[end]["inputs"][into]
        assert output["type"] == entry["type"] == kind
        assert link in output["links"]
        assert entry["link"] == link
        assert table[nodes[start]["type"]]["outputs"][out]["type"] == kind
        defined = {e["name"]: e["type"] for e in table[nodes[end]["type"]]["inputs"]}
        assert defined[entry["name"]] == kind


@ALL
def test_every_input_is_set_and_every_value_is_valid_for_comfyui(model: Model) -> None:
    for node in workflow(model.name)["nodes"]:
        inputs = node_table()[node["type"]]["inputs"]
        linked = {entry["name"] for entry in node["inputs"]}
        required = {e["name"] for e in inputs if e["type"] not in WIDGETS and not e.get("optional")}
        assert required <= linked
        given = values(node)
        for entry in inputs:
            value = given.get(entry["name"])
            if value is None:
                continue
            if entry.get("options"):
                assert value in entry["options"]
            if "min" in entry:
                assert entry["min"] <= value <= entry["max"]
            if entry.get("step", 0) >= 4:
                # Frames are 4N+1, sizes multiples of 16.
                assert (value - entry["min"]) % entry["step"] == 0


@ALL
def test_everything_leads_to_the_saved_video(model: Model) -> None:
    found = workflow(model.name)
    (saved,) = of_type(found, "SaveVideo")
    reached, left = {saved["id"]}, [saved["id"]]
    while left:
        end = left.pop()
        feeding = {line[1] for line in found["links"] if line[3] == end} - reached
        reached |= feeding
        left += feeding

    assert {n["type"] for n in found["nodes"] if n["id"] not in reached} == {"MarkdownNote"}


@ALL
def test_base_and_trained_lora_of_each_expert_are_in_one_branch(model: Model) -> None:
    run = spec(model.name)
    found = build(run, files(run))
    samplers = [*of_type(found, "KSampler"), *of_type(found, "KSamplerAdvanced")]

    assert len(samplers) == len(model.experts)
    for sampler, expert in zip(samplers, model.experts, strict=True):
        loader, *loras, shift = chain(found, sampler)
        assert values(loader)["unet_name"] == PurePosixPath(expert.dit.file).name
        names = [values(lora)["lora_name"] for lora in loras]
        assert names[-1] == f"{run.output_name(expert.name)}-000020.safetensors"
        assert len(names) == (1 if model.speed_lora is None else 2)
        if model.speed_lora is not None:
            folder, _, file = model.speed_lora.files[expert.name].file.partition("/")
            assert names[0] == f"{folder}-{file}"
            assert loras[0]["properties"]["models"][0]["url"].endswith(f"{folder}/{file}")
        assert values(shift)["shift"] == SAMPLING[model.name].shift


@ALL
def test_files_to_fetch_are_named_where_comfyui_looks_for_them(model: Model) -> None:
    folders = {
        "UNETLoader": "diffusion_models",
        "CLIPLoader": "text_encoders",
        "VAELoader": "vae",
        "CLIPVisionLoader": "clip_vision",
    }
    found = workflow(model.name)

    assert len(of_type(found, "CLIPVisionLoader")) == int(model.clip)
    for kind, folder in folders.items():
        for node in of_type(found, kind):
            (file,) = node["properties"]["models"]
            assert file["directory"] == folder
            assert file["name"] == node["widgets_values"][0]
            assert file["url"].startswith("https://huggingface.co/Comfy-Org/")
            assert file["url"].endswith(file["name"])


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
@pytest.mark.parametrize("variant", ["vanilla", "lightning"])
def test_the_high_expert_hands_its_noisy_latent_to_the_low_one(kind: str, variant: str) -> None:
    found = workflow(f"wan22-{kind}-{variant}")
    first, second = of_type(found, "KSamplerAdvanced")

    assert "high_noise" in chain(found, first)[0]["widgets_values"][0]
    assert "low_noise" in chain(found, second)[0]["widgets_values"][0]
    assert source(found, second, "latent_image") is first
    high, low = values(first), values(second)
    assert (high["start_at_step"], low["end_at_step"]) == (0, low["steps"])
    assert high["end_at_step"] == low["start_at_step"]
    assert (high["add_noise"], low["add_noise"]) == ("enable", "disable")
    assert high["return_with_leftover_noise"] == "enable"
    assert low["return_with_leftover_noise"] == "disable"
    expected = (4, 1.0) if variant == "lightning" else (30, 3.5)
    assert (high["steps"], high["cfg"]) == expected


@pytest.mark.parametrize(
    ("model", "step"),
    [
        ("wan22-t2v-lightning", 2),
        ("wan22-i2v-lightning", 2),
        ("wan22-t2v-vanilla", 19),
        ("wan22-i2v-vanilla", 11),
    ],
)
def test_the_expert_changes_where_the_noise_passes_its_boundary(model: str, step: int) -> None:
    boundary = (find_model(model).expert("high").timesteps or (0, 0))[0] / 1000
    sampling = SAMPLING[model]

    def level(n: int) -> float:
        t = 1 - n / sampling.steps
        return sampling.shift * t / (1 + (sampling.shift - 1) * t)

    assert switch_step(sampling, boundary) == step
    assert level(step - 1) >= boundary > level(step)


@pytest.mark.parametrize("model", ["wan22-i2v-lightning", "wan22-t2v-vanilla"])
def test_an_expert_that_was_not_trained_is_sampled_without_a_trained_lora(model: str) -> None:
    found = workflow(model, expert="high")
    (note,) = of_type(found, "MarkdownNote")
    first, second = of_type(found, "KSamplerAdvanced")

    assert "no LoRA for the low expert" in note["widgets_values"][0]
    high, low = (
        [values(n)["lora_name"] for n in chain(found, s) if n["type"] == "LoraLoaderModelOnly"]
        for s in (first, second)
    )
    assert high[-1].endswith("-high-000020.safetensors")
    lightning = "lightning" in model
    assert len(low) == int(lightning)
    assert not lightning or low[0].endswith("low_noise_model.safetensors")


def test_the_workflow_has_the_runs_lightning_settings() -> None:
    address = "https://huggingface.co/some/one/resolve/refs%2Fpr%2F3/a%20b.safetensors"
    found = workflow("wan22-i2v-lightning", lightning_strength="0.5", lightning_file=address)
    lora = of_type(found, "LoraLoaderModelOnly")[0]

    assert values(lora)["strength_model"] == 0.5
    assert lora["properties"]["models"][0]["url"] == address


def test_a_rehearsals_workflow_says_that_its_lora_cannot_be_used() -> None:
    (note,) = of_type(workflow("wan21-t2v-14b"), "MarkdownNote")

    assert "rehearsal" in note["widgets_values"][0]


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("KSamplerNew", {}, "KSamplerNew"),
        ("VAELoader", {"vae_name": "a", "colour": "red"}, "no input"),
        ("VAELoader", {}, "missing"),
        ("UNETLoader", {"unet_name": "a", "weight_dtype": "fp4"}, "takes one of"),
        ("CLIPTextEncode", {"text": "a", "clip": "b"}, "takes a link"),
        (
            "EmptyHunyuanLatentVideo",
            {"width": 8, "height": 16, "length": 1, "batch_size": 1},
            "cannot be 8",
        ),
        (
            "EmptyHunyuanLatentVideo",
            {"width": "16", "height": 16, "length": 1, "batch_size": 1},
            "takes INT",
        ),
    ],
)
def test_a_node_that_comfyui_would_reject_is_not_built(
    kind: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValueError, TypeError, KeyError), match=said):
        Graph().add(kind, given, column=0)


def test_a_link_of_another_type_is_not_built() -> None:
    graph = Graph()
    vae = graph.add("VAELoader", {"vae_name": "a"}, column=0).output("VAE")

    with pytest.raises(ValueError, match="takes CLIP, not VAE"):
        graph.add("CLIPTextEncode", {"text": "a", "clip": vae}, column=1)
