"""The models that users can train, and how to use the trained LoRAs in ComfyUI."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from bot.messages.card import Card, Field
from bot.messages.figures import and_list, rate
from training.catalogue.models import MODELS, Model
from training.catalogue.presets import REFERENCE, PresetValue
from training.runs.hyperparameters import option

_FOLDER = "`ComfyUI/models/loras/`"


def comfyui_advice(model: Model) -> tuple[str, ...]:
    """Return the steps for using a LoRA of this model in ComfyUI."""
    if len(model.experts) > 1:
        loading = _load_pair(model)
    else:
        loading = (
            f"Put the .safetensors file into {_FOLDER}.",
            "Add a LoRA Loader node between the diffusion model and the sampler.",
        )
    return (
        *loading,
        "Try strengths 0.5, 0.75 and 1.0, and keep what looks best.",
        _same_kind(model),
        *_speed_lora(model),
    )


def _load_pair(model: Model) -> tuple[str, ...]:
    names = and_list([expert.name for expert in model.experts])
    each = ", ".join(
        f"the {expert.name} LoRA on the {expert.name}-noise model" for expert in model.experts
    )
    return (
        f"Put both .safetensors files, {names}, into {_FOLDER}.",
        "Load both, each with its own LoRA Loader node between its diffusion model and its "
        f"sampler: {each}.",
    )


def _same_kind(model: Model) -> str:
    bases = and_list([f"`{PurePosixPath(expert.dit.file).name}`" for expert in model.experts])
    other = "T2V" if model.i2v else "I2V"
    return (
        f"Use it with the model it was trained for: {model.family} ({bases}). "
        f"It does not work properly with {other}, the other Wan version or another size."
    )


def _speed_lora(model: Model) -> tuple[str, ...]:
    if model.speed_lora is not None:
        return (
            "Also load the Lightning LoRA, high and low: your LoRA was trained to be used with it.",
        )
    if len(model.experts) > 1:
        return (
            "Sample with 30 to 50 steps and no speed LoRA; for Lightning, train a lightning model.",
        )
    return ()


def models_card(models: Sequence[Model]) -> Card:
    """Return a card that lists the models with the defaults of each."""
    return Card(
        title="Models",
        description="Train the model that you use in ComfyUI.",
        fields=(
            *(Field(model.name, _model(model)) for model in models),
            *(
                Field(f"preset=reference: {setting_text(value)}", reference_text(value))
                for value in REFERENCE
            ),
        ),
        footer="Options of /train override these defaults and those of settings:preset=reference.",
    )


def reference_text(value: PresetValue) -> str:
    """Return the models for which the reference preset has this value, and the reason."""
    return f"{models_text(value)}\n{value.reason}"


def models_text(value: PresetValue) -> str:
    """Return the models that a preset's value is for; a whole family is shown as `wan22-i2v-*`."""
    rest = set(value.models)
    shown: list[str] = []
    for family in ("wan22-", "wan22-t2v-", "wan22-i2v-", "wan21-i2v-"):
        members = {model.name for model in MODELS if model.name.startswith(family)}
        if members <= rest:
            rest -= members
            shown.append(f"{family}*")
    return and_list([*shown, *sorted(rest)])


def setting_text(value: PresetValue) -> str:
    """Return a setting as typed into the option `settings`, such as `high.rank=32`."""
    expert = f"{value.expert}." if value.expert else ""
    return f"{expert}{option(value.setting)}={value.value}"


def _model(model: Model) -> str:
    experts = " · ".join(
        f"{'' if expert.name == 'main' else f'{expert.name}: '}rank {expert.rank}, "
        f"learning rate {rate(expert.learning_rate)}"
        for expert in model.experts
    )
    needs = "needs clips" if model.i2v else "images or clips"
    return f"{model.use_case}\n{experts}\n{needs} · {model.gpu}"
