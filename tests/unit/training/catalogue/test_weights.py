"""The files of every model, compared with a list written by hand."""

import re

import pytest

from training.catalogue.models import MODELS, Model, find_model
from training.catalogue.weights import CLIP_TOKENIZER, COMMITS, T5_TOKENIZER, WeightFile

VAE = "Comfy-Org/Wan_2.1_ComfyUI_repackaged/split_files/vae/wan_2.1_vae.safetensors"
T5 = "Wan-AI/Wan2.1-I2V-14B-720P/models_t5_umt5-xxl-enc-bf16.pth"
CLIP = "Wan-AI/Wan2.1-I2V-14B-720P/models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
DIT_21 = "Comfy-Org/Wan_2.1_ComfyUI_repackaged/split_files/diffusion_models/wan2.1_"
DIT_22 = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged/split_files/diffusion_models/wan2.2_"
T2V_22 = [f"{DIT_22}t2v_{name}_noise_14B_fp16.safetensors" for name in ("high", "low")]
I2V_22 = [f"{DIT_22}i2v_{name}_noise_14B_fp16.safetensors" for name in ("high", "low")]
LIGHTNING_T2V = "lightx2v/Wan2.2-Lightning/Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1"
LIGHTNING_I2V = "lightx2v/Wan2.2-Lightning/Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1"

# Source: the guide's templates and musubi-tuner's docs/wan.md.
FILES: dict[str, list[str]] = {
    "wan21-t2v-14b": [VAE, T5, f"{DIT_21}t2v_14B_bf16.safetensors"],
    "wan21-t2v-1-3b": [VAE, T5, f"{DIT_21}t2v_1.3B_bf16.safetensors"],
    "wan21-i2v-480p": [
        VAE,
        T5.replace("720P", "480P"),
        CLIP.replace("720P", "480P"),
        f"{DIT_21}i2v_480p_14B_bf16.safetensors",
    ],
    "wan21-i2v-720p": [VAE, T5, CLIP, f"{DIT_21}i2v_720p_14B_bf16.safetensors"],
    "wan22-t2v-vanilla": [VAE, T5, *T2V_22],
    "wan22-t2v-lightning": [
        *(VAE, T5, *T2V_22),
        *(f"{LIGHTNING_T2V}/{name}_noise_model.safetensors" for name in ("high", "low")),
    ],
    "wan22-i2v-vanilla": [VAE, T5, *I2V_22],
    "wan22-i2v-lightning": [
        *(VAE, T5, *I2V_22),
        *(f"{LIGHTNING_I2V}/{name}_noise_model.safetensors" for name in ("high", "low")),
    ],
}
ALL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def files(model: Model) -> list[WeightFile]:
    speed_lora = model.speed_lora.files.values() if model.speed_lora else ()
    clip = [model.clip_weights] if model.clip_weights else []
    return [model.vae, model.t5, *clip, *(e.dit for e in model.experts), *speed_lora]


@ALL
def test_a_model_has_exactly_the_listed_files(model: Model) -> None:
    assert sorted(f"{weight.repo}/{weight.file}" for weight in files(model)) == sorted(
        FILES[model.name]
    )


@ALL
def test_every_file_is_pinned_to_a_commit(model: Model) -> None:
    for weight in (*files(model), *model.tokenizers):
        assert weight.revision == COMMITS[weight.repo]
        assert re.fullmatch(r"[0-9a-f]{40}", weight.revision)
        assert weight.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", weight.sha256)


@ALL
def test_the_tokenizers_are_those_that_musubi_loads(model: Model) -> None:
    wanted = T5_TOKENIZER + (CLIP_TOKENIZER if model.task == "i2v-14B" else ())

    assert model.tokenizers == wanted


def test_the_tokenizers_lie_where_musubi_looks_for_them() -> None:
    places = {(w.repo, w.file.rpartition("/")[0]) for w in find_model("wan21-i2v-480p").tokenizers}

    assert places == {
        ("Wan-AI/Wan2.1-T2V-14B", "google/umt5-xxl"),
        ("Wan-AI/Wan2.1-I2V-14B-720P", "xlm-roberta-large"),
    }
