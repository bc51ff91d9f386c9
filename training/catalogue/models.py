"""The eight trainable Wan models, as data: names, weights, flags and defaults.

`SOURCES` says where each kind of value comes from. A run takes its weights, task and flags from
one entry, so that they fit together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from training.catalogue import weights
from training.catalogue.weights import WeightFile
from training.errors import NotFoundError
from training.vocabulary import ExpertName, Resolution
from training.wording import did_you_mean, spelled

Dtype = Literal["bf16", "fp16"]
ModelSize = Literal["1.3B", "14B"]  # parameters of one expert
Gpu = Literal["H100", "A10"]

_GUIDE = "the public Wan LoRA guide (Modal + musubi-tuner) and its eight templates"
_MUSUBI = "musubi-tuner v0.3.4, commit 30c658c4f4b0bf05038b3346eff9670259b10fc7"

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "name": "this project",
        "use_case": _GUIDE,
        "task": f"{_MUSUBI}, docs/wan.md",
        "size": "the models' own names",
        "dtype": f"the files' own dtype; {_MUSUBI} asserts that mixed precision equals it",
        "i2v": f"{_MUSUBI}, docs/wan.md",
        "clip": f"{_MUSUBI}, docs/wan.md: CLIP for Wan 2.1 I2V only",
        "fp8": _GUIDE,
        "flow_shift": _GUIDE,
        "resolution": "the models' own names; for 1.3B, 480p as in Wan-Video/Wan2.1's README",
        "gpu": "this project's choice: by list price and bf16 throughput, a step on an H100 costs "
        "less than on the A100-80GB of the guide; this project's measurements were made on an H100",
        "vae": f"{_MUSUBI}, docs/wan.md",
        "t5": f"{_MUSUBI}, docs/wan.md",
        "clip_weights": f"{_MUSUBI}, docs/wan.md",
        "modules": "linear layers of attention and feed-forward: 10 per block, 12 with image keys",
        "experts": _GUIDE,
        "speed_lora": "huggingface.co/lightx2v/Wan2.2-Lightning",
        "dit": "Comfy-Org's repackaged repositories on Hugging Face",
        "timesteps": f"{_MUSUBI}, docs/wan.md: boundary 875 for T2V, 900 for I2V",
        "rank": _GUIDE,
        "learning_rate": _GUIDE,
    }
)


@dataclass(frozen=True, slots=True)
class SpeedLora:
    """A speed LoRA that is merged into each expert before training."""

    files: Mapping[ExpertName, WeightFile]
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Expert:
    """One denoiser with its default training settings.

    `timesteps` are the lowest and the highest noise level that it trains on, from 0 to 1000; None
    means the whole range. Alpha defaults to the rank, which makes the adapter's scale 1.
    """

    name: ExpertName
    dit: WeightFile
    timesteps: tuple[int, int] | None
    rank: int
    learning_rate: float

    @property
    def alpha(self) -> int:
        return self.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trainable model: base weights, musubi's task and flags, and default settings."""

    name: str
    use_case: str
    task: str
    size: ModelSize = "14B"
    dtype: Dtype
    i2v: bool
    clip: bool
    fp8: tuple[str, ...]
    flow_shift: float
    resolution: Resolution
    gpu: Gpu
    modules: int
    experts: tuple[Expert, ...]
    vae: WeightFile
    t5: WeightFile
    clip_weights: WeightFile | None = None
    speed_lora: SpeedLora | None = None

    def expert(self, name: ExpertName) -> Expert:
        """Return the expert called `name`.

        Raises:
            NotFoundError: This model has no such expert.
        """
        for expert in self.experts:
            if expert.name == name:
                return expert
        have = ", ".join(expert.name for expert in self.experts)
        raise NotFoundError(
            f"{self.name} has no expert called {name}.", f"Choose one or both of: {have}."
        )

    @property
    def swappable(self) -> int:
        """How many blocks can be swapped to main memory: all but one."""
        return self.modules // (12 if self.clip else 10) - 1

    @property
    def tokenizers(self) -> tuple[WeightFile, ...]:
        return weights.T5_TOKENIZER + (weights.CLIP_TOKENIZER if self.clip else ())

    @property
    def weight_files(self) -> frozenset[WeightFile]:
        """All files that the catalogue names for this model."""
        files = {*self.tokenizers, self.vae, self.t5, *(expert.dit for expert in self.experts)}
        if self.clip_weights is not None:
            files.add(self.clip_weights)
        return frozenset(files | set(self.speed_lora.files.values() if self.speed_lora else ()))

    @property
    def family(self) -> str:
        """The family, such as `Wan 2.2 I2V 14B`; models of a family can load the same LoRAs."""
        version = "Wan 2.2" if len(self.experts) > 1 else "Wan 2.1"
        return f"{version} {'I2V' if self.i2v else 'T2V'} {self.size}"


_FP8 = ("--fp8_base",)
_FP8_SCALED = ("--fp8_base", "--fp8_scaled")


def _lightning(kind: Literal["I2V", "T2V"]) -> SpeedLora:
    names: tuple[ExpertName, ...] = ("high", "low")
    return SpeedLora(MappingProxyType({name: weights.lightning(kind, name) for name in names}))


def _pair(kind: Literal["i2v", "t2v"], boundary: int) -> tuple[Expert, ...]:
    return (
        Expert("high", weights.dit_22(f"{kind}_high_noise"), (boundary, 1000), 8, 1e-4),
        Expert("low", weights.dit_22(f"{kind}_low_noise"), (0, boundary), 42, 8e-5),
    )


def _wan21(
    name: str,
    *,
    use_case: str,
    i2v: bool,
    size: ModelSize = "14B",
    resolution: Resolution = "720p",
) -> Model:
    is_large = size == "14B"
    dit = f"i2v_{resolution}_{size}" if i2v else f"t2v_{size}"
    encoders = weights.WAN_AI_480P if i2v and resolution == "480p" else weights.WAN_AI_720P
    return Model(
        name=name,
        use_case=use_case,
        task=f"{'i2v' if i2v else 't2v'}-{size}",
        size=size,
        dtype="bf16",
        i2v=i2v,
        clip=i2v,
        fp8=_FP8 if is_large else (),
        flow_shift=5.0 if i2v else 3.0,
        resolution=resolution,
        gpu="H100" if is_large else "A10",
        modules=(480 if i2v else 400) if is_large else 300,
        experts=(Expert("main", weights.dit_21(dit), None, 24 if is_large else 16, 8e-5),),
        vae=weights.VAE,
        t5=weights.t5(encoders),
        clip_weights=weights.clip(encoders) if i2v else None,
    )


def _wan22(name: str, *, use_case: str, i2v: bool, speed_lora: SpeedLora | None = None) -> Model:
    return Model(
        name=name,
        use_case=use_case,
        task="i2v-A14B" if i2v else "t2v-A14B",
        dtype="fp16",
        i2v=i2v,
        clip=False,
        fp8=_FP8_SCALED,
        flow_shift=5.0 if i2v else 3.0,
        resolution="720p",
        gpu="H100",
        modules=400,
        experts=_pair("i2v", 900) if i2v else _pair("t2v", 875),
        vae=weights.VAE,
        t5=weights.t5(),
        speed_lora=speed_lora,
    )


_VANILLA = "for 30-50 step workflows without a speed LoRA"
_TUNED = "for 4-step workflows that load Lightning and the trained LoRA"

MODELS: tuple[Model, ...] = (
    _wan21("wan21-t2v-14b", use_case="text to video, full quality", i2v=False),
    _wan21(
        "wan21-t2v-1-3b",
        use_case="text to video, small model for cheap tests",
        i2v=False,
        size="1.3B",
        resolution="480p",
    ),
    _wan21(
        "wan21-i2v-480p",
        use_case="image to video, lower resolution",
        i2v=True,
        resolution="480p",
    ),
    _wan21("wan21-i2v-720p", use_case="image to video, full quality", i2v=True),
    _wan22("wan22-t2v-vanilla", use_case=f"text to video, {_VANILLA}", i2v=False),
    _wan22(
        "wan22-t2v-lightning",
        use_case=f"text to video, {_TUNED}",
        i2v=False,
        speed_lora=_lightning("T2V"),
    ),
    _wan22("wan22-i2v-vanilla", use_case=f"image to video, {_VANILLA}", i2v=True),
    _wan22(
        "wan22-i2v-lightning",
        use_case=f"image to video, {_TUNED}",
        i2v=True,
        speed_lora=_lightning("I2V"),
    ),
)


def find_model(name: str) -> Model:
    """Return the model called `name`, ignoring case.

    Raises:
        NotFoundError: No model has that name; the fix lists all of them.
    """
    for model in MODELS:
        if model.name == spelled(name):
            return model
    names = [model.name for model in MODELS]
    choice = f"{did_you_mean(name, names)} Choose one of: {', '.join(names)}."
    raise NotFoundError(f"There is no model called {name!r}.", choice.lstrip())


def is_in_catalogue(weight: WeightFile) -> bool:
    """Return whether a weight file is in the catalogue, rather than chosen by a user."""
    return any(weight in model.weight_files for model in MODELS)
