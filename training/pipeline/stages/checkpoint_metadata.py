"""Makes the metadata of published checkpoints."""

from training.catalogue.models import Expert, Model
from training.lora.origin import PREFIX
from training.runs.spec import ExpertSpec, RunSpec

_EVERYTHING = (0, 1000)


def completed_metadata(
    spec: RunSpec,
    expert: ExpertSpec,
    model: Model,
    *,
    engine_version: str,
    merge_receipt: str | None = None,
) -> dict[str, str]:
    """Return the entries that publishing adds to the trainer's metadata.

    They depend only on the run's name and settings, so that repeating a run with its seed gives a
    checkpoint with the same bytes. `merge_receipt` is the hash of the merge receipt, if a speed
    LoRA was merged.
    """
    trained = model.expert(expert.name)
    entries: dict[str, str | None] = {
        "run": spec.name,
        "model": model.name,
        "family": model.family,
        "task": model.task,
        "expert": expert.name,
        "timesteps": _timesteps(trained),
        "dataset": str(spec.dataset),
        "dataset_version": spec.dataset.version,
        "base": str(trained.dit),
        "variant": "vanilla" if expert.speed_lora is None else "lightning",
        "engine": spec.engine,
        "engine_version": engine_version,
        "merge_receipt": merge_receipt,
        "settings": expert.settings.model_dump_json(exclude={"expert"}),
    }
    if expert.speed_lora is not None:
        entries["speed_lora"] = expert.speed_lora.model_dump_json()
    if expert.start is not None:
        entries["started_from"] = expert.start.sha256
    return {f"{PREFIX}{name}": text for name, text in entries.items() if text is not None}


def _timesteps(expert: Expert) -> str:
    lowest, highest = expert.timesteps or _EVERYTHING
    return f"{lowest},{highest}"
