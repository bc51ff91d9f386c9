"""Zips that are read in the layouts of other tools, without decoding what is in them."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests import media
from training.dataset.layouts.reading import Reading, apply
from training.dataset.layouts.recognize import recognize
from training.dataset.limits import Limits
from training.dataset.zip.archive import open_archive
from training.dataset.zip.members import lay_out

Files = Mapping[str, bytes | str]


def read(folder: Path, files: Files) -> tuple[tuple[Reading, ...], dict[str, str | None]]:
    """Return the layouts of a zip, and by image or clip the caption that they give it.

    None stands for no caption, and `file` for one in a file of its own.
    """
    with open_archive(media.write_zip(folder / "a.zip", files), Limits()) as archive:
        layout = lay_out(archive.members, archive.junk)
        readings = recognize(archive, layout)
        meant = apply(readings, layout)
    return readings, {
        m.member.path: m.text if m.text is not None else ("file" if m.caption else None)
        for m in meant.media
    }


def lines(*entries: object) -> str:
    return "\n".join(json.dumps(entry) for entry in entries)
