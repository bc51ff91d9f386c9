"""The GPUs that a run can use, with memory, speed and list price."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.errors import NotFoundError, RequestError
from training.wording import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A kind of GPU, under Modal's name for it.

    Attributes:
        memory_gib: Usable memory in GiB, as the driver reports it.
        step_factor: Rough duration of a training step, relative to an H100's. The H200's was
            measured; the others are ratios of the bf16 throughputs in the data sheets.
        listed_usd: Dollars per second, from Modal's public price list on `prices.LISTED_ON`.
    """

    name: str
    memory_gib: float
    step_factor: float
    listed_usd: float

    @property
    def with_article(self) -> str:
        return f"{'an' if self.name[0] in 'AHL' else 'a'} {self.name}"


_ALL = (
    Gpu(name="B200", memory_gib=178.0, step_factor=0.5, listed_usd=0.001736),
    Gpu(name="H200", memory_gib=139.0, step_factor=0.9, listed_usd=0.001261),
    Gpu(name="H100", memory_gib=79.0, step_factor=1.0, listed_usd=0.001097),
    Gpu(name="A100-80GB", memory_gib=79.0, step_factor=2.2, listed_usd=0.000694),
    Gpu(name="A100-40GB", memory_gib=39.0, step_factor=2.2, listed_usd=0.000583),
    Gpu(name="L40S", memory_gib=44.0, step_factor=3.5, listed_usd=0.000542),
    Gpu(name="A10", memory_gib=22.0, step_factor=8.0, listed_usd=0.000306),
    Gpu(name="L4", memory_gib=22.0, step_factor=12.0, listed_usd=0.000222),
    # The T4 is left out: it has no bf16, which the 1.3B model needs, and no room for a 14B model.
)
GPUS: Mapping[str, Gpu] = MappingProxyType({gpu.name: gpu for gpu in _ALL})

# If no GPU of a kind is free, Modal may give one of these instead, in this order.
FALLBACKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"H100": ("H200", "A100-80GB"), "A10": ("L4", "L40S")}
)

_DRIVER_NAMES = MappingProxyType({"A10G": "A10"})


def gpu_of_driver(name: str) -> Gpu | None:
    """Return the GPU that the driver calls `name`, such as `NVIDIA A100-SXM4-80GB`, or None."""
    words = {_DRIVER_NAMES.get(word, word) for word in re.split(r"[\s-]+", name)}
    return next((gpu for gpu in _ALL if words >= set(gpu.name.split("-"))), None)


def find_gpu(name: str) -> Gpu:
    """Return the GPU called `name`, ignoring case.

    Raises:
        NotFoundError: There is no such GPU; the fix lists all of them.
    """
    for gpu in GPUS.values():
        if gpu.name.casefold() == name.strip().casefold():
            return gpu
    shown = name if len(name) <= 40 else f"{name[:40]}…"
    choice = f"{did_you_mean(name, GPUS)} Choose one of: {', '.join(GPUS)}."
    raise NotFoundError(f"There is no GPU called {shown!r}.", choice.lstrip())


def require_same_gpu(name: str, only: str) -> None:
    """Raise `RequestError` unless `name` is `only`, the machine's only GPU."""
    asked = find_gpu(name)
    if asked.name != only:
        raise RequestError(
            f"This machine has {GPUS[only].with_article}, so a run cannot use "
            f"{asked.with_article}.",
            f"Leave gpu out, or correct LORABOT_GPU if the machine has {asked.with_article}.",
        )
