"""Chooses what each block keeps for the backward pass, depending on the free memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from training.musubi.launcher.fast.graph import Kept

GIB = 2**30

# Bytes that a block of a 14B model keeps, per token and unit of width: `_ATTENTION` for the block's
# input and two attention outputs, `_EACH_MORE` for each further attention output, `_EVERYTHING` for
# a block that keeps everything, with products in 16 bit, and `_EVERYTHING_FP8` with products in
# fp8. Measured on an H200 with torch 2.11: 6.06 for attention, at 21,600 tokens; 36.5 (16 bit) and
# 52.6 (fp8) for everything, at 3,600 tokens. Copies of weights are not included.
_ATTENTION, _EACH_MORE = 6.2, 2.0
_EVERYTHING, _EVERYTHING_FP8 = 40.0, 55.0
_BYTES = 2
# A step's working memory, on top of what the blocks keep. The unit is what one block holds when it
# keeps everything: a block's backward pass needs `_KEEPING` units, or `_RECOMPUTING` units if its
# forward pass must be recomputed. `_REST_BYTES` is for layers outside the blocks
# and the optimizer. The measured total was 5.6 GiB at 21,600 tokens with 10 blocks that are
# recomputed, and 0.5 GiB at 3,600 tokens with 20 blocks that are not.
_RECOMPUTING, _KEEPING, _REST_BYTES = 1.5, 0.8, 2 * GIB
# How much of the free memory a plan may use; the rest is lost in gaps between allocations.
_USABLE = 0.93


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSizes:
    """The sizes that decide a step's memory.

    `attentions` is the number of attention operations per block. `weights_bytes` is the size of
    16-bit copies of the frozen weights, or 0 if products do not use such copies.
    """

    tokens: int
    width: int
    ffn_width: int
    blocks: int
    attentions: int = 2
    is_fp8: bool = False
    weights_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The memory that steps of one size took when they were measured.

    Attributes:
        kept: Bytes that one block held for the backward pass, for each `Kept` level measured.
        working_bytes: The step's peak memory minus the bytes that all blocks held; None if not
            measured.
    """

    kept: Mapping[Kept, int] = field(default_factory=dict[Kept, int])
    working_bytes: int | None = None


NOTHING_SEEN = Seen()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan for a step's memory: the last `more` blocks keep `most`, the others keep `least`.

    There are never more than two kinds of blocks, and so at most two graphs. The backward pass
    begins with the last blocks, while the memory of all others is still in use. The more a block
    keeps, the less additional memory its backward pass needs, so the last blocks keep `most`.

    If `is_wide` (only where memory allows), 16-bit copies of the frozen weights are kept from step
    to step, so that no pass has to convert them.
    """

    least: Kept
    most: Kept
    more: int
    blocks: int
    kept_bytes: int
    is_wide: bool = False

    def kept(self, index: int) -> Kept:
        """Return what a block keeps."""
        return self.most if index >= self.blocks - self.more else self.least

    def __str__(self) -> str:
        if self.more in (0, self.blocks):
            kept = f"all {self.blocks} blocks keep {self.kept(0)}"
        else:
            rest = self.blocks - self.more
            kept = f"{rest} blocks keep {self.least}, {self.more} keep {self.most}"
        wide = ", with 16-bit copies of the weights" if self.is_wide else ""
        return f"{kept} ({self.kept_bytes / GIB:.1f} GiB){wide}"


def usable(free_bytes: int) -> int:
    """Return how many bytes a plan may use if `free_bytes` are free or reserved by torch."""
    return int(free_bytes * _USABLE)


def bytes_kept(kept: Kept, sizes: StepSizes, seen: Seen = NOTHING_SEEN) -> int:
    """Return how many bytes one block keeps: as measured, or else an upper estimate."""
    if kept in seen.kept:
        return seen.kept[kept]
    further = _EACH_MORE * (sizes.attentions - 2)
    attention = (_ATTENTION + further) * sizes.tokens * sizes.width
    match kept:
        case "attention":
            return int(attention)
        case "ffn":
            return int(attention + _BYTES * sizes.tokens * sizes.ffn_width)
        case "everything":
            most = _EVERYTHING_FP8 if sizes.is_fp8 else _EVERYTHING
            return int((most + 2 * further) * sizes.tokens * sizes.width)


def choose(sizes: StepSizes, usable_bytes: int, seen: Seen = NOTHING_SEEN) -> Plan | None:
    """Return the plan that fits in `usable_bytes` and recomputes least; None if no plan fits.

    Per byte, keeping the first FFN product saves about twice as much time as keeping the rest of
    a block, so all blocks keep that product before any block keeps everything.

    Args:
        sizes: The sizes of the step.
        usable_bytes: How much memory the step may take in addition to the weights.
        seen: The measured memory of earlier steps of these sizes.
    """
    everywhere = _between("ffn", "everything", sizes, usable_bytes, seen)
    if everywhere is not None and everywhere.more == sizes.blocks and sizes.weights_bytes:
        fits = _peak(everywhere, sizes, seen) + sizes.weights_bytes <= usable_bytes
        return replace(everywhere, is_wide=fits)
    return everywhere or _between("attention", "ffn", sizes, usable_bytes, seen)


def less(plan: Plan, sizes: StepSizes, seen: Seen = NOTHING_SEEN) -> Plan | None:
    """Return a plan that keeps clearly less than `plan`, which did not fit; None if none exists."""
    if plan.is_wide:
        return replace(plan, is_wide=False)
    if plan.more:
        return _plan(plan.least, plan.most, plan.more // 2, sizes, seen)
    if plan.least == "ffn":
        return _plan("attention", "ffn", sizes.blocks // 2, sizes, seen)
    return None


def _between(
    least: Kept, most: Kept, sizes: StepSizes, usable_bytes: int, seen: Seen
) -> Plan | None:
    """Return the fitting plan in which the most blocks keep `most`; None if no plan fits."""
    for more in range(sizes.blocks, -1, -1):
        plan = _plan(least, most, more, sizes, seen)
        if _peak(plan, sizes, seen) <= usable_bytes:
            return plan
    return None


def _plan(least: Kept, most: Kept, more: int, sizes: StepSizes, seen: Seen) -> Plan:
    kept = (sizes.blocks - more) * bytes_kept(least, sizes, seen)
    kept += more * bytes_kept(most, sizes, seen)
    return Plan(least=least, most=most, more=more, blocks=sizes.blocks, kept_bytes=kept)


def _peak(plan: Plan, sizes: StepSizes, seen: Seen) -> int:
    """Return the peak number of bytes in use during a step, not counting the weights."""
    if seen.working_bytes is not None:
        return plan.kept_bytes + seen.working_bytes
    block = bytes_kept("everything", sizes, seen)
    # The backward pass begins with the last block. When it reaches the blocks that keep `least`,
    # the memory of all blocks that keep `most` is free again.
    first = _KEEPING if plan.kept(plan.blocks - 1) == "everything" else _RECOMPUTING
    at_first = plan.kept_bytes + first * block
    recomputing = (plan.blocks - plan.more) * bytes_kept(plan.least, sizes, seen)
    at_later = recomputing + _RECOMPUTING * block if recomputing else 0
    return int(max(at_first, at_later) + _REST_BYTES)
