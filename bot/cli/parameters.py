"""Parameters that several commands take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter, Token

from training.wording import spelled


def read_name(_type: type[str], tokens: Sequence[Token]) -> str:
    """Return a name that was typed, in its stored form."""
    return spelled(tokens[0].value)


Json = Annotated[bool, Parameter(help="Print JSON with stable field names.", negative=())]
ModelName = Annotated[str, Parameter(help="A model listed by `lorabot models`.")]
DatasetName = Annotated[str, Parameter(help="A zip file, or the name of a stored dataset.")]
StoredName = Annotated[str, Parameter(help="A stored dataset: name, or name@version.")]
RunName = Annotated[str, Parameter(help="A run listed by `lorabot runs`.", converter=read_name)]
Trigger = Annotated[
    str | None, Parameter(help="Trigger word that every caption should contain, such as ann1ka.")
]
ReadLayout = Annotated[
    bool,
    Parameter(
        help="Read the layout of another tool, such as kohya folders or metadata.jsonl.",
        negative=(),
    ),
]
IgnoreLayout = Annotated[
    bool,
    Parameter(
        help="Ignore another tool's layout that was found in the zip, and add only the files.",
        negative=(),
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ZipOptions:
    """Options for reading a zip."""

    trigger: Trigger = None
    read_layout: ReadLayout = False
