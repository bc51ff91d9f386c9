"""Recognizes what folders contain by their names, such as `20_ann1ka`, `reg` or `masks`."""

import re
from collections.abc import Collection, Iterator, Sequence

from training.dataset.layouts.reading import Reading
from training.dataset.zip.members import Medium

# A folder name of kohya-ss/sd-scripts, such as `20_ann1ka woman`: 20 repeats, and "ann1ka woman" as
# the caption of files without a caption file. A number such as 01 only counts folders, and four
# digits are a year, so neither is a repeat count.
_REPEATS = re.compile(r"([1-9]\d{0,2})_(\S.*)")
_REGULARIZATION = re.compile(
    r"(?i)(regs?|regulari[sz]ation|priors?)([ _-]?(images?|imgs?|data|preservation))?"
    r"|class[ _-]?(images?|imgs?|data)"
)
# A folder of this name holds regularization images only if a folder with a repeat count follows, as
# in `class/1_woman`.
_CLASS = re.compile(r"(?i)class")
_HELPER = (
    r"(?i)_?(?:{})"
    r"(?:[ _-]?(?:images?|imgs?|maps?|videos?|clips?|frames?|edges?|data|files?|\d\d?))?"
)
_HELPERS = tuple(
    (re.compile(_HELPER.format(words)), kind)
    for words, kind in (
        (r"masks?|masked|masklabels?|alphas?", "masks"),
        (
            r"conditions?|conditionings?|controls?|depths?|canny|openpose|poses?|lineart|normals?"
            r"|hints?|references?|refs?|(?:first|start|last|end)(?=[ _-]?(?:frame|image))",
            "control images",
        ),
        (r"samples?|previews?|thumbnails?|thumbs?", "previews"),
    )
)
_BEFORE = re.compile(r"(?i)(?P<kind>mask|masklabel)[-_.](?P<stem>.+)")
_BEHIND = re.compile(
    r"(?i)(?P<stem>.+)[-_.](?P<kind>mask|masklabel|alpha|matte|seg|segmentation|condlabel|cond|"
    r"conditioning|control|hint|depth|pose|openpose|canny|lineart|normal|edges?|ref|reference)"
)
_MASKS = {"mask", "masklabel", "alpha", "matte", "seg", "segmentation"}
# The end of a stem such as `001.depth`: `001.depth.jpg` is the control image of `001.png`.
_CONTROL_ENDING = re.compile(r"(?i)\.(?:depth|pose|openpose|canny|line|lineart|normal|inpaint)$")


def kohya_folders(media: Sequence[Medium]) -> Reading | None:
    """Recognize folders of kohya-ss/sd-scripts, such as `20_ann1ka`, and regularization images."""
    left_out = {m.member.path: "regularization images" for m in media if _is_regularization(m)}
    named = [(m, found) for m in media if (found := _repeats(m)) is not None]
    subjects = [(m, *found) for m, found in named if m.member.path not in left_out]
    if len(left_out) == len(media) or not (left_out or subjects):
        return None
    return Reading(
        name="kohya folders",
        captions={m.member.path: words for m, _, words in subjects if m.caption is None},
        repeats={m.member.path: times for m, times, _ in subjects},
        left_out=left_out,
    )


def helper_files(media: Sequence[Medium], captioned: Collection[str]) -> Reading | None:
    """Recognize masks, control images and previews, which belong to other images or clips.

    Files in `captioned` are samples in any case, because a table has captions for them.
    """
    stems = {_stem(m) for m in media if _helper(m) is None}
    left_out = {
        m.member.path: kind
        for m in media
        if m.caption is None
        and m.member.path not in captioned
        and (found := _helper(m)) is not None
        for kind, stem in (found,)
        if stem in stems or kind == "previews"
    }
    if not left_out or len(left_out) == len(media):
        return None
    return Reading(name="samples with helper files", left_out=left_out)


def _folders(medium: Medium) -> Iterator[str]:
    """Yield the names of the folders that hold a file, the innermost first."""
    yield from reversed(medium.member.path.split("/")[:-1])


def _is_regularization(medium: Medium) -> bool:
    folders = [*_folders(medium)]
    return any(map(_REGULARIZATION.fullmatch, folders)) or (
        any(map(_CLASS.fullmatch, folders)) and _repeats(medium) is not None
    )


def _repeats(medium: Medium) -> tuple[int, str] | None:
    for folder in _folders(medium):
        if match := _REPEATS.fullmatch(folder):
            return int(match[1]), match[2].strip()
    return None


def _helper(medium: Medium) -> tuple[str, str] | None:
    """Return a helper file's kind, such as "masks", and the stem of the sample it belongs to."""
    stem = medium.member.name.stem
    if match := _BEFORE.fullmatch(stem) or _BEHIND.fullmatch(stem):
        kind = "masks" if match["kind"].lower() in _MASKS else "control images"
        return kind, match["stem"].casefold()
    for folder in _folders(medium):
        for pattern, kind in _HELPERS:
            if pattern.fullmatch(folder):
                return kind, _CONTROL_ENDING.sub("", _stem(medium))
    return None


def _stem(medium: Medium) -> str:
    return medium.member.name.stem.casefold()
