"""The eight trainable Wan models, as data: names, weights, flags and defaults.

`SOURCES` names the origin of each kind of value. A run takes its weights, task and flags from one
entry, so that they always belong together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from training.catalogue import weights
from training.catalogue.weights import WeightFile
from training.errors import NotFoundError
from training.vocabulary import ExpertName, Resolution

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
        "resolution": "the models' own names; 480p for 1.3B by Wan-Video/Wan2.1's README",
        "gpu": "this project: by prices and bf16 throughput an H100 costs less a step than the "
        "guide's A100-80GB, and it is the GPU that was measured",
        "vae": f"{_MUSUBI}, docs/wan.md",
        "t5": f"{_MUSUBI}, docs/wan.md",
        "clip_weights": f"{_MUSUBI}, docs/wan.md",
        "modules": "attention and feed-forward linears: 10 a block, 12 with image keys",
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
    known_unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expert:
    """One denoiser with its default training settings.

    `timesteps` is the (lowest, highest) noise level from 0 to 1000, None for the whole range. Alpha
    defaults to the rank, which makes the adapter's scale 1.
    """

    name: ExpertName
    dit: WeightFile
    timesteps: tuple[int, int] | None
    rank: int
    learning_rate: float

    @property
    def alpha(self) -> int:
        """Return the default alpha."""
        return self.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trainable model: base weights, musubi's task and flags, and the guide's defaults."""

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
            f"{self.name} has no expert called {name}.", f"Choose one of: {have}, or both."
        )

    @property
    def swappable(self) -> int:
        """Blocks that can be swapped to main memory: all but one."""
        return self.modules // (12 if self.clip else 10) - 1

    @property
    def tokenizers(self) -> tuple[WeightFile, ...]:
        """Tokenizer files of the text encoder and, if there is one, of CLIP."""
        return weights.T5_TOKENIZER + (weights.CLIP_TOKENIZER if self.clip else ())

    @property
    def family(self) -> str:
        """Models that share LoRAs with this one, such as `Wan 2.2 I2V 14B`."""
        version = "Wan 2.2" if len(self.experts) > 1 else "Wan 2.1"
        return f"{version} {'I2V' if self.i2v else 'T2V'} {self.size}"


_FP8 = ("--fp8_base",)
_FP8_SCALED = ("--fp8_base", "--fp8_scaled")


def _lightning(kind: Literal["I2V", "T2V"]) -> SpeedLora:
    names: tuple[ExpertName, ...] = ("high", "low")
    return SpeedLora(MappingProxyType({name: weights.lightning(kind, name) for name in names}))


def _main(dit: str, *, rank: int = 24) -> tuple[Expert, ...]:
    return (Expert("main", weights.dit_21(dit), None, rank, 8e-5),)


def _pair(kind: Literal["i2v", "t2v"], boundary: int) -> tuple[Expert, ...]:
    return (
        Expert("high", weights.dit_22(f"{kind}_high_noise"), (boundary, 1000), 8, 1e-4),
        Expert("low", weights.dit_22(f"{kind}_low_noise"), (0, boundary), 42, 8e-5),
    )


def _wan21(
    name: str,
    *,
    use_case: str,
    dit: str,
    i2v: bool,
    resolution: Resolution = "720p",
    encoders: str = weights.WAN_AI_720P,
) -> Model:
    return Model(
        name=name,
        use_case=use_case,
        task="i2v-14B" if i2v else "t2v-14B",
        dtype="bf16",
        i2v=i2v,
        clip=i2v,
        fp8=_FP8,
        flow_shift=5.0 if i2v else 3.0,
        resolution=resolution,
        gpu="H100",
        modules=480 if i2v else 400,
        experts=_main(dit),
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
_TUNED = "tuned for the Lightning path; load Lightning and the trained LoRA together"

MODELS: tuple[Model, ...] = (
    _wan21("wan21-t2v-14b", use_case="text to video, full quality", dit="t2v_14B", i2v=False),
    Model(
        name="wan21-t2v-1-3b",
        use_case="text to video, light, cheap prototyping",
        task="t2v-1.3B",
        size="1.3B",
        dtype="bf16",
        i2v=False,
        clip=False,
        fp8=(),
        flow_shift=3.0,
        resolution="480p",
        gpu="A10",
        modules=300,
        experts=_main("t2v_1.3B", rank=16),
        vae=weights.VAE,
        t5=weights.t5(),
    ),
    _wan21(
        "wan21-i2v-480p",
        use_case="image to video, lower resolution",
        dit="i2v_480p_14B",
        i2v=True,
        resolution="480p",
        encoders=weights.WAN_AI_480P,
    ),
    _wan21("wan21-i2v-720p", use_case="image to video, full quality", dit="i2v_720p_14B", i2v=True),
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
    """Return the model called `name`.

    Raises:
        NotFoundError: No model has that name; the fix lists all of them.
    """
    for model in MODELS:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in MODELS)
    raise NotFoundError(f"There is no model called {name!r}.", f"Choose one of: {names}.")
