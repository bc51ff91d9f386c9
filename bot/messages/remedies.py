"""How a remedy is shown: as a slash command, a command line, a button or a sentence."""

from typing import assert_never

from bot.messages.card import DESCRIPTION_LIMIT
from bot.messages.markdown import ELLIPSIS, cut, escape
from bot.messages.options import on_terminal
from training.registry.trash import NOUNS
from training.remedies import (
    AddDataset,
    AddLora,
    CacheAgain,
    ConfirmRun,
    Deploy,
    DownloadRun,
    FewerFrames,
    LeaveOut,
    LeaveOutFiles,
    LowerRate,
    LowerResolution,
    ReadLayout,
    Remedy,
    RemoveDataset,
    RemoveLora,
    RemoveRun,
    Restore,
    ResumeRun,
    ShowRuns,
    StartRun,
    Suggestion,
    SwapBlocks,
    UseFp8,
    WriteCaptions,
)

BUTTON_LABEL_LIMIT = 80  # characters; Discord refuses a message with a longer label


def suggestion_words(suggestion: Suggestion) -> str:
    """Return the suggested change as a phrase that fits after "with"."""
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
        case LowerRate():
            return f"learning rate {suggestion.learning_rate:g}"
        case LeaveOut():
            return f"{suggestion.sample.rpartition('/')[2]} left out"
        case _:
            assert_never(suggestion)


def retry_label(suggestion: Suggestion) -> str:
    """Return the label of the button that applies a suggestion; long file names are shortened."""
    label = f"Try again with {suggestion_words(suggestion)}"
    if not isinstance(suggestion, LeaveOut) or len(label) <= BUTTON_LABEL_LIMIT:
        return label
    # Cut in the middle, because the numbers that distinguish files are at the end.
    name = suggestion.sample.rpartition("/")[2]
    room = BUTTON_LABEL_LIMIT - (len(label) - len(name)) - len(ELLIPSIS)
    end = room // 2
    return label.replace(name, f"{name[: room - end]}{ELLIPSIS}{name[-end:]}")


def chat_command(remedy: Remedy | None) -> str | None:  # noqa: C901, PLR0912  # one case per remedy
    """Return the remedy's slash command; None if it has none, for example because it has a button.

    For `Deploy`, return the command to type on a terminal.
    """
    match remedy:
        case ResumeRun():
            return f"/resume run-name:{remedy.run}" if remedy.run else "/resume"
        case StartRun():
            return "/train"
        case ShowRuns():
            return f"/status run-name:{remedy.run}" if remedy.run else "/runs"
        case DownloadRun():
            return f"/download run-name:{remedy.run}"
        case RemoveRun():
            return f"/run remove run-name:{remedy.run}"
        case AddDataset():
            name = f" name:{remedy.name}" if remedy.name else ""
            return f"/dataset add{name}{' mode:add' if remedy.keeps_files else ''}"
        case WriteCaptions():
            return f"/dataset captions name:{remedy.name}" if remedy.name else "/dataset check"
        case ReadLayout() | LeaveOutFiles():
            return "/dataset check"
        case RemoveDataset():
            return f"/dataset remove name:{remedy.name}"
        case AddLora():
            return "/checkpoint add"
        case RemoveLora():
            return f"/checkpoint remove name:{remedy.name}"
        case Restore():
            option = "run-name" if remedy.what == "runs" else "name"
            return f"/{NOUNS[remedy.what]} restore {option}:{remedy.name}"
        case Deploy():
            return terminal_command(remedy)
        case None | FewerFrames() | LowerResolution() | SwapBlocks() | UseFp8() | CacheAgain():
            return None
        case LowerRate() | LeaveOut() | ConfirmRun():
            return None
        case _:
            assert_never(remedy)


def terminal_command(  # noqa: C901, PLR0912  # one case per remedy
    remedy: Remedy | None, place: str = "", *, run: str = "RUN"
) -> str | None:
    """Return the command to type on a terminal; None if there is none.

    Args:
        remedy: The remedy.
        place: The options that select the installation, with a leading space.
        run: The run to name if the remedy does not name one.
    """
    match remedy:
        case ResumeRun():
            return f"lorabot resume {remedy.run or run}{place}"
        case StartRun():
            return f"lorabot train{place}"
        case ConfirmRun():
            return f"lorabot train ... --yes{place}"
        case ShowRuns():
            return f"lorabot runs{place}"
        case DownloadRun():
            return f"lorabot download {remedy.run} --out FOLDER{place}"
        case RemoveRun():
            return f"lorabot run remove {remedy.run}{place}"
        case AddDataset():
            name = f" --name {remedy.name}" if remedy.name else ""
            return f"lorabot add ZIP{name}{' --mode add' if remedy.keeps_files else ''}{place}"
        case WriteCaptions(name=name) if name:
            return (
                f"lorabot captions {name} --out captions.csv{place}, then "
                f"lorabot captions {name} --file captions.csv{place}"
            )
        case WriteCaptions():
            return (
                f"lorabot check ZIP --table captions.csv{place}, then "
                f"lorabot add ZIP --captions captions.csv{place}, or --leave-out"
            )
        case LeaveOutFiles():
            return f"lorabot add ZIP --leave-out{place}"
        case ReadLayout():
            return f"lorabot add ZIP --read-layout{place}"
        case AddLora():
            return f"lorabot checkpoint add FILE{place}"
        case RemoveLora():
            return f"lorabot checkpoint remove {remedy.name}{place}"
        case Restore():
            return f"lorabot {NOUNS[remedy.what]} restore {remedy.name}{place}"
        case Deploy():
            return f"lorabot deploy{f' --app {remedy.app}' if remedy.app else place}"
        case RemoveDataset():
            return f"lorabot dataset remove {remedy.name}{place}"
        case FewerFrames() | LowerResolution() | SwapBlocks() | UseFp8() | CacheAgain():
            return f"lorabot resume {run} --as-suggested{place}"
        case LowerRate() | LeaveOut():
            return f"lorabot resume {run} --as-suggested{place}"
        case None:
            return None
        case _:
            assert_never(remedy)


def chat_fix(fix: str, remedy: Remedy | None, limit: int = DESCRIPTION_LIMIT) -> str:
    """Return `fix`, cut to `limit` characters, followed by the remedy's slash command."""
    command = chat_command(remedy)
    text = cut(escape(fix), limit)
    return f"{text} `{command}`" if command is not None else text


def suggestion_option(suggestion: Suggestion) -> str | None:
    """Return the command-line option for a suggestion; None if there is none."""
    match suggestion:
        case FewerFrames():
            return on_terminal("max_frames", suggestion.max_frames)
        case LowerResolution():
            return on_terminal("resolution", suggestion.resolution)
        case SwapBlocks():
            return on_terminal("blocks_to_swap", suggestion.blocks)
        case UseFp8():
            return on_terminal("fp8", "yes")
        case LowerRate():
            return on_terminal("learning_rate", f"{suggestion.learning_rate:g}")
        case CacheAgain() | LeaveOut():
            return None
        case _:
            assert_never(suggestion)
