"""Finds the checked-out commit by reading the files in `.git`; git may not be installed."""

from pathlib import Path

_REFERENCE = "ref: "


def commit_of(checkout: Path) -> str | None:
    """Return the commit that is checked out; None if it is unknown, as in a copy without `.git`.

    An unknown commit does no harm: the launcher checks musubi-tuner's code before running it.
    """
    git = _git_folder(checkout)
    try:
        head = (git / "HEAD").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not head.startswith(_REFERENCE):
        return head
    return _resolve(git, head.removeprefix(_REFERENCE))


def _git_folder(checkout: Path) -> Path:
    """Return the folder of git's files: `.git`, or the folder that a file called `.git` names.

    Worktrees and submodules have such a file.
    """
    git = checkout / ".git"
    if not git.is_file():
        return git
    return checkout / git.read_text("utf-8").strip().removeprefix("gitdir: ")


def _resolve(git: Path, reference: str) -> str | None:
    common = git / "commondir"
    shared = git / common.read_text("utf-8").strip() if common.is_file() else git
    for place in (git, shared):
        if (place / reference).is_file():
            return (place / reference).read_text("utf-8").strip()
    packed = shared / "packed-refs"
    lines = packed.read_text("utf-8").splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {reference}")), None)
