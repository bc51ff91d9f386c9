"""A suggested change of settings in words: on a button, in a sentence, as an option."""

from typing import assert_never

from training.runs.spec import RunSpec
from training.suggestions import (
    CacheAgain,
    FewerFrames,
    LowerResolution,
    Suggestion,
    SwapBlocks,
    UseFp8,
    keeps_items,
)


def suggestion_words(suggestion: Suggestion) -> str:
    """Return what would be changed, after the word "with"."""
    match suggestion:
        case FewerFrames():
            return f"at most {suggestion.max_frames} frames"
        case LowerResolution():
            return f"at most {suggestion.resolution}"
        case SwapBlocks():
            return f"{suggestion.blocks} blocks in main memory"
        case UseFp8():
            return "8-bit base weights"
        case CacheAgain():
            return "new caches"
        case _:
            assert_never(suggestion)


def retry_label(suggestion: Suggestion) -> str:
    """Return what the button says that applies a suggestion."""
    return f"Try again with {suggestion_words(suggestion)}"


def suggestion_option(suggestion: Suggestion) -> str | None:
    """Return the same as an option of the command line; None where there is none."""
    match suggestion:
        case FewerFrames():
            return f"--max-frames {suggestion.max_frames}"
        case LowerResolution():
            return f"--resolution {suggestion.resolution}"
        case SwapBlocks():
            return f"--blocks-to-swap {suggestion.blocks}"
        case UseFp8():
            return "--fp8 yes"
        case CacheAgain():
            return None
        case _:
            assert_never(suggestion)


def fix_with_option(fix: str, suggestion: Suggestion | None) -> str:
    """Return what to do, with the option of the command line that is suggested."""
    how = suggestion_option(suggestion) if suggestion is not None else None
    return f"{fix} Suggested: {how}." if how is not None else fix


def changed_text(suggestion: Suggestion, old: str) -> str:
    """Return what a run does that was started with a suggestion after the run `old`."""
    words = suggestion_words(suggestion)
    if keeps_items(suggestion):
        return (
            f"Goes on where **{old}** stopped, with {words}: from the newest training state, or "
            "from the start if none was saved. Earlier checkpoints stay with the earlier run."
        )
    return (
        f"Does again what **{old}** could not, with {words}: from the start, since it trains on "
        "other items. Earlier checkpoints stay with the earlier run."
    )


def items_text(spec: RunSpec) -> str:
    """Return what the training items of a run are cut to, an empty text where to nothing."""
    frames = f"{spec.items.max_frames} frames of a clip at once" if spec.items.max_frames else ""
    limits = [limit for limit in (frames, spec.items.resolution) if limit]
    return f"Trains on at most {' and '.join(limits)}." if limits else ""
