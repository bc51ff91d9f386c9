"""Options that decide what happens to bad files and to samples without a caption."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bot.cli.datasets.zips import require_file
from training.dataset.captions.table import TABLE_LIMIT_BYTES
from training.files.given_files import read_given


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """What to do with files that cannot be used, and with samples without a caption."""

    captions: Annotated[
        Path | None, Parameter(help="A caption table with the missing captions.")
    ] = None
    leave_out: Annotated[
        bool,
        Parameter(
            help="Leave out files that cannot be used, and samples without a caption.", negative=()
        ),
    ] = False
    trigger_only: Annotated[
        bool,
        Parameter(
            help="Use the trigger word alone where a caption is missing. The LoRA then ties "
            "everything in these pictures to that word.",
            negative=(),
        ),
    ] = False

    def check(self) -> None:
        """Raise `TrainingError` if the given caption table does not exist."""
        if self.captions is not None:
            require_file(self.captions)

    def table(self) -> bytes | None:
        """Return the content of the caption table; None if no table is given."""
        return read_given(self.captions, TABLE_LIMIT_BYTES) if self.captions is not None else None
