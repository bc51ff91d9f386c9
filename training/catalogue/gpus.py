"""The GPUs that a run can ask for, as data: the one list of cards, with memory, speed and price."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.errors import NotFoundError, RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card, under the name that Modal takes.

    Attributes:
        memory_gib: GiB that a program can have of it, as its driver reports them.
        step_factor: Seconds of a training step over an H100's.
        is_measured: Whether that factor was measured; else it is the rough ratio of the cards'
            bf16 throughput by their data sheets.
        listed_usd: Dollars a second on Modal's public list, as copied on `prices.LISTED_ON`.
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
    """Return the card called `name`, in capitals or not.

    Raises:
        NotFoundError: No card has that name; the fix lists all of them.
    """
    for gpu in GPUS.values():
        if gpu.name.casefold() == name.strip().casefold():
            return gpu
    shown = name if len(name) <= 40 else f"{name[:40]}…"
    raise NotFoundError(f"There is no GPU called {shown!r}.", f"Choose one of: {', '.join(GPUS)}.")


def require_there(name: str, only: str) -> None:
    """Refuse a card where stages can have one only.

    Raises:
        NotFoundError: No card has that name.
        RequestError: It is another one.
    """
    asked = find_gpu(name)
    if asked.name != only:
        raise RequestError(
            f"This machine trains on {GPUS[only].with_article}, so a run cannot have "
            f"{asked.with_article} here.",
            f"Leave gpu out, or correct LORABOT_GPU if the machine has {asked.with_article}.",
        )
