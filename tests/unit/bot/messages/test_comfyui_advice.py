"""The guide's advice for ComfyUI, for all eight models."""

import pytest

from bot.messages.models import comfyui_advice
from training.catalogue.models import MODELS, Model

ids = [model.name for model in MODELS]


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_advice_names_folder_loader_strengths_and_matching_models(model: Model) -> None:
    text = "\n".join(comfyui_advice(model))

    assert "`ComfyUI/models/loras/`" in text
    assert "LoRA Loader" in text
    assert "0.5, 0.75 and 1.0" in text
    assert model.family in text
    assert ("Wan 2.2" if model.name.startswith("wan22") else "Wan 2.1") in text
    assert f"with {'T2V' if model.i2v else 'I2V'}," in text
    for expert in model.experts:
        assert expert.dit.file.rpartition("/")[2] in text


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_only_wan22_advice_says_to_load_both_experts(model: Model) -> None:
    text = "\n".join(comfyui_advice(model))

    is_pair = model.name.startswith("wan22")

    assert ("Load both" in text) is is_pair
    assert ("the high LoRA on the high-noise model" in text) is is_pair
    assert ("the low LoRA on the low-noise model" in text) is is_pair
    assert ("between the diffusion model and the sampler" in text) is not is_pair


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_only_lightning_advice_says_to_load_lightning(model: Model) -> None:
    text = "\n".join(comfyui_advice(model))

    assert ("Also load the Lightning LoRA" in text) is model.name.endswith("lightning")
    assert ("30 to 50 steps" in text) is model.name.endswith("vanilla")
