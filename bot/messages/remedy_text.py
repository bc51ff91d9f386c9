"""Remedies in words: a slash command, a command line, a button, a sentence."""

from typing import TYPE_CHECKING, assert_never

from bot.messages.card import DESCRIPTION_LIMIT
from bot.messages.markdown import cut, escape
from training.remedies import (
    AddDataset,
    AddLora,
    CacheAgain,
    Deploy,
    DownloadRun,
    FewerFrames,
    LowerResolution,
    Remedy,
    RemoveDataset,
    RemoveLora,
    ResumeRun,
    ShowRuns,
    StartRun,
    Suggestion,
    SwapBlocks,
    UseFp8,
    keeps_items,
)

if TYPE_CHECKING:
    from training.runs.spec import RunSpec


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


def chat_command(remedy: Remedy | None) -> str | None:  # noqa: C901  # one case per remedy
    """Return what to type in chat; None where nothing is typed, as for a button's change."""
    match remedy:
        case ResumeRun():
            return f"/resume run-name:{remedy.run}" if remedy.run else "/resume"
        case StartRun():
            return "/train"
        case ShowRuns():
            return f"/status run-name:{remedy.run}" if remedy.run else "/runs"
        case DownloadRun():
            return f"/download run-name:{remedy.run}"
        case AddDataset():
            return f"/dataset add name:{remedy.name}" if remedy.name else "/dataset add"
        case RemoveDataset():
            return f"/dataset remove name:{remedy.name}"
        case AddLora():
            return "/checkpoint add"
        case RemoveLora():
            return f"/checkpoint remove name:{remedy.name}"
        case Deploy():
            return terminal_command(remedy)
        case None | FewerFrames() | LowerResolution() | SwapBlocks() | UseFp8() | CacheAgain():
            return None
        case _:
            assert_never(remedy)


def terminal_command(  # noqa: C901  # one case per remedy
    remedy: Remedy | None, place: str = ""
) -> str | None:
    """Return what to type on a terminal; None where the command line has no command for it.

    Args:
        remedy: What helps.
        place: The options that name the installation, with a space before them.
    """
    match remedy:
        case ResumeRun():
            return f"lorabot resume {remedy.run or 'RUN'}{place}"
        case StartRun():
            return f"lorabot train{place}"
        case ShowRuns():
            return f"lorabot runs{place}"
        case DownloadRun():
            return f"lorabot download {remedy.run} --out FOLDER{place}"
        case AddDataset():
            return f"lorabot add ZIP{f' --name {remedy.name}' if remedy.name else ''}{place}"
        case AddLora():
            return f"lorabot checkpoint add FILE{place}"
        case RemoveLora():
            return f"lorabot checkpoint remove {remedy.name}{place}"
        case Deploy():
            return f"lorabot deploy{f' --app {remedy.app}' if remedy.app else place}"
        case RemoveDataset() | CacheAgain() | None:
            return None
        case FewerFrames() | LowerResolution() | SwapBlocks() | UseFp8():
            return f"lorabot train ... {suggestion_option(remedy)}{place}"
        case _:
            assert_never(remedy)


def chat_fix(fix: str, remedy: Remedy | None, limit: int = DESCRIPTION_LIMIT) -> str:
    """Return what to do, followed by what to type; `limit` is in characters of `fix`."""
    command = chat_command(remedy)
    text = cut(escape(fix), limit)
    return f"{text} `{command}`" if command is not None else text


def suggestion_option(suggestion: Suggestion) -> str | None:
    """Return a suggested change as an option of the command line; None where there is none."""
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


def items_text(spec: "RunSpec") -> str:
    """Return what the training items of a run are cut to, an empty text where to nothing."""
    frames = f"{spec.items.max_frames} frames of a clip at once" if spec.items.max_frames else ""
    limits = [limit for limit in (frames, spec.items.resolution) if limit]
    return f"Trains on at most {' and '.join(limits)}." if limits else ""
