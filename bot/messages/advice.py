"""What to do with a trained LoRA in ComfyUI, for each model."""

from pathlib import PurePosixPath

from training.catalogue.models import Expert, Model

_FOLDER = "`ComfyUI/models/loras/`"


def comfyui_advice(model: Model) -> tuple[str, ...]:
    """Return what somebody does with the files of a run of this model, step by step."""
    if len(model.experts) > 1:
        loading = _load_pair(model)
    else:
        loading = (
            f"Put the .safetensors file into {_FOLDER}.",
            "Add a LoRA Loader node between the diffusion model and the sampler.",
        )
    return (
        *loading,
        "Try the strengths 0.5, 0.75 and 1.0, and keep what looks best.",
        _same_kind(model),
        *_speed_lora(model),
    )


def _load_pair(model: Model) -> tuple[str, ...]:
    names = " and ".join(expert.name for expert in model.experts)
    each = ", ".join(
        f"the {expert.name} LoRA on the {expert.name}-noise model" for expert in model.experts
    )
    return (
        f"Put both .safetensors files, {names}, into {_FOLDER}.",
        "Load both: each with a LoRA Loader node of its own between its diffusion model and its "
        f"sampler, {each}.",
    )


def _same_kind(model: Model) -> str:
    bases = " and ".join(f"`{_file_name(expert)}`" for expert in model.experts)
    other = "T2V" if model.i2v else "I2V"
    return (
        f"Use the same kind of model as it was trained on: {model.family} ({bases}). "
        f"With {other}, the other Wan version or another size it does not work properly."
    )


def _speed_lora(model: Model) -> tuple[str, ...]:
    if model.speed_lora is not None:
        return (
            "Load the Lightning LoRA alongside, high and low each: this LoRA was trained for the "
            "Lightning path and needs it.",
        )
    if len(model.experts) > 1:
        return (
            "Sample with 30 to 50 steps and without a speed LoRA; for Lightning, train a "
            "lightning model.",
        )
    return ()


def _file_name(expert: Expert) -> str:
    return PurePosixPath(expert.dit.file).name
