"""The GPUs that a run can use, with memory, speed and list price."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.errors import NotFoundError, RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, under Modal's name for it.

    Attributes:
        memory_gib: Usable memory in GiB, as the driver reports it.
        step_factor: Duration of a training step relative to an H100.
        is_measured: Whether `step_factor` was measured; otherwise it is the rough ratio of bf16
            throughput from the data sheets.
        listed_usd: Dollars a second on Modal's public price list of `prices.LISTED_ON`.
    """

    name: str
    memory_gib: float
    step_factor: float
    is_measured: bool = False
    listed_usd: float

    @property
    def with_article(self) -> str:
        """Return `an H100`, `an A10`, `an L4`, but `a B200`."""
        return f"{'an' if self.name[0] in 'AHL' else 'a'} {self.name}"


_ALL = (
    Gpu(name="B200", memory_gib=178.0, step_factor=0.5, listed_usd=0.001736),
    Gpu(name="H200", memory_gib=139.0, step_factor=1.0, listed_usd=0.001261),
    Gpu(name="H100", memory_gib=79.0, step_factor=1.0, is_measured=True, listed_usd=0.001097),
    Gpu(name="A100-80GB", memory_gib=79.0, step_factor=2.2, listed_usd=0.000694),
    Gpu(name="A100-40GB", memory_gib=39.0, step_factor=2.2, listed_usd=0.000583),
    Gpu(name="L40S", memory_gib=44.0, step_factor=3.5, listed_usd=0.000542),
    Gpu(name="A10", memory_gib=22.0, step_factor=8.0, listed_usd=0.000306),
    Gpu(name="L4", memory_gib=22.0, step_factor=12.0, listed_usd=0.000222),
    # No T4: it has no bf16, which the 1.3B model trains in, and no room for a 14B model.
)
GPUS: Mapping[str, Gpu] = MappingProxyType({gpu.name: gpu for gpu in _ALL})


def find_gpu(name: str) -> Gpu:
    """Return the GPU called `name`, in any case.

    Raises:
        NotFoundError: There is no such GPU; the fix lists all of them.
    """
    for gpu in GPUS.values():
        if gpu.name.casefold() == name.strip().casefold():
            return gpu
    shown = name if len(name) <= 40 else f"{name[:40]}…"
    raise NotFoundError(f"There is no GPU called {shown!r}.", f"Choose one of: {', '.join(GPUS)}.")


def require_same_gpu(name: str, only: str) -> None:
    """Raise unless `name` is the GPU `only`, the one that this machine has.

    Raises:
        NotFoundError: There is no such GPU.
        RequestError: It is a different one.
    """
    asked = find_gpu(name)
    if asked.name != only:
        raise RequestError(
            f"This machine trains on {GPUS[only].with_article}, so a run cannot have "
            f"{asked.with_article} here.",
            f"Leave gpu out, or correct LORABOT_GPU if the machine has {asked.with_article}.",
        )
