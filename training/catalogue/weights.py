"""The weight files of the models: repositories, pinned commits and known hashes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

WAN_21 = "Comfy-Org/Wan_2.1_ComfyUI_repackaged"
WAN_22 = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
WAN_AI_T2V = "Wan-AI/Wan2.1-T2V-14B"
WAN_AI_480P = "Wan-AI/Wan2.1-I2V-14B-480P"
WAN_AI_720P = "Wan-AI/Wan2.1-I2V-14B-720P"
LIGHTNING = "lightx2v/Wan2.2-Lightning"

# For each of these repositories, the newest commit that public projects pin. Other repositories are
# read at `main`; the fetch receipt records the commit.
COMMITS: Mapping[str, str] = MappingProxyType(
    {
        WAN_21: "06e001fc51048fb03433a6fb25334de7836704a5",
        WAN_22: "fb1388adc906ab39ffc26ee40e96b22886b56bc4",
        WAN_AI_T2V: "a064a6c71f5be440641209c07bf2a5ce7a2ff5e4",
        WAN_AI_480P: "6b73f84e66371cdfe870c72acd6826e1d61cf279",
        WAN_AI_720P: "8823af45fcc58a8aa999a54b04be9abc7d2aac98",
        LIGHTNING: "18bccf8884ec0a078eed79785eb4ef13ea16ce1e",
    }
)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a Hugging Face repository; its receipt records the commit that was fetched.

    A fetched file is checked against `sha256`, or against the Hub's hash if `sha256` is None.
    """

    repo: str
    file: str
    revision: str = "main"
    sha256: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.repo}/{self.file}@{self.revision}"


def pinned(repo: str, file: str, sha256: str | None = None) -> WeightFile:
    return WeightFile(repo, file, COMMITS[repo], sha256)


def dit_21(stem: str) -> WeightFile:
    """Return the base model file of Wan 2.1 with a stem such as `t2v_14B`."""
    return pinned(WAN_21, f"split_files/diffusion_models/wan2.1_{stem}_bf16.safetensors")


def dit_22(stem: str) -> WeightFile:
    """Return the base model file of one Wan 2.2 expert, with a stem such as `i2v_high_noise`."""
    return pinned(WAN_22, f"split_files/diffusion_models/wan2.2_{stem}_14B_fp16.safetensors")


def lightning(kind: Literal["I2V", "T2V"], expert: str) -> WeightFile:
    folder = f"Wan2.2-{kind}-A14B-4steps-lora-rank64-Seko-V1"
    return pinned(LIGHTNING, f"{folder}/{expert}_noise_model.safetensors")


VAE = pinned(
    WAN_21,
    "split_files/vae/wan_2.1_vae.safetensors",
    "2fc39d31359a4b0a64f55876d8ff7fa8d780956ae2cb13463b0223e15148976b",
)


def t5(repo: str = WAN_AI_720P) -> WeightFile:
    """Return the text encoder; every Wan-AI repository has the same file."""
    return pinned(
        repo,
        "models_t5_umt5-xxl-enc-bf16.pth",
        "7cace0da2b446bbbbc57d031ab6cf163a3d59b366da94e5afe36745b746fd81d",
    )


def clip(repo: str = WAN_AI_720P) -> WeightFile:
    return pinned(
        repo,
        "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
        "628c9998b613391f193eb67ff68da9667d75f492911e4eb3decf23460a158c38",
    )


def _tokenizer(repo: str, folder: str, files: Mapping[str, str | None]) -> tuple[WeightFile, ...]:
    return tuple(pinned(repo, f"{folder}/{name}", sha256) for name, sha256 in files.items())


# musubi-tuner hard-codes these two repositories for every model and would otherwise fetch their
# tokenizers at run time.
T5_TOKENIZER = _tokenizer(
    WAN_AI_T2V,
    "google/umt5-xxl",
    {
        "special_tokens_map.json": (
            "7b8a9f5040adb67b5805abdfd42c1f8d0f3d0e711f10726580eb3789cd0ad61d"
        ),
        "spiece.model": "e3909a67b780650b35cf529ac782ad2b6b26e6d1f849d3fbb6a872905f452458",
        "tokenizer.json": "6e197b4d3dbd71da14b4eb255f4fa91c9c1f2068b20a2de2472967ca3d22602b",
        "tokenizer_config.json": "ed9a3a8b0faa71a70a32847e0435fe036e6e112d4df4edb7bb48a921e344dc05",
    },
)
CLIP_TOKENIZER = _tokenizer(
    WAN_AI_720P,
    "xlm-roberta-large",
    {
        "sentencepiece.bpe.model": (
            "cfc8146abe2a0488e9e2a0c56de7952f7c11ab059eca145a0a727afce0db2865"
        ),
        "special_tokens_map.json": None,
        "tokenizer.json": "62c24cdc13d4c9952d63718d6c9fa4c287974249e16b7ade6d5a85e7bbb75626",
        "tokenizer_config.json": None,
    },
)
