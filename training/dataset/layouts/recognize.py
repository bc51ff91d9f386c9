"""Recognizes whether the files of a zip are laid out for another tool."""

from training.dataset.layouts.caption_files import (
    for_all,
    in_folders,
    in_lists,
    in_names,
    in_tables,
)
from training.dataset.layouts.folders import helper_files, kohya_folders
from training.dataset.layouts.reading import Reading
from training.dataset.zip.archive import Archive
from training.dataset.zip.member_names import Member
from training.dataset.zip.members import CAPTIONS, UNSUPPORTED, Layout


def recognize(archive: Archive, layout: Layout) -> tuple[Reading, ...]:
    """Return a reading for each recognized layout; see `Reading`."""
    bare = [medium for medium in layout.media if medium.caption is None]
    own = {medium.caption.path for medium in layout.media if medium.caption is not None}
    others = [member for member in archive.members if member.path not in own]
    named = {path for one in in_tables(archive, others, bare) for path in one.captions}
    helpers = helper_files(layout.media, named)
    folders = [one for one in (helpers, kohya_folders(layout.media)) if one]
    left_out = {path for one in folders for path in one.left_out}
    media = [m for m in layout.media if m.member.path not in left_out]
    found = in_tables(archive, others, [m for m in media if m.caption is None])
    for recognize_one in (in_lists, in_folders, for_all):
        captioned = {path for one in found for path in one.captions}
        missing = [m for m in media if m.caption is None and m.member.path not in captioned]
        texts = _unused(archive, layout, found)
        if missing and texts and (one := recognize_one(archive, texts, missing)):
            found.append(one)
    captions = any(one.captions for one in (*folders, *found))
    if not own and not captions and (one := in_names(media)) is not None:
        found.append(one)
    # Later readings override earlier ones. Captions from folder names come first, so that they are
    # used only where no other caption is found.
    return (*folders, *found)


def _unused(archive: Archive, layout: Layout, found: list[Reading]) -> list[Member]:
    """Return the caption files that have not been matched to an image or clip."""
    used = {medium.caption.path for medium in layout.media if medium.caption is not None}
    used |= {path for one in found for path in one.sources}
    unsupported = [m.name for m in archive.members if m.name.suffix.lower() in UNSUPPORTED]
    beside = {name.with_suffix("") for name in unsupported}
    texts = [member for member in archive.members if member.name.suffix.lower() in CAPTIONS]
    return [m for m in texts if m.path not in used and m.name.with_suffix("") not in beside]
