"""Parameters that several commands take."""

from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter(help="Print JSON with stable field names.", negative=())]
ModelName = Annotated[str, Parameter(help="A model listed by `lorabot models`.")]
DatasetName = Annotated[str, Parameter(help="A zip file, or the name of a stored dataset.")]
StoredName = Annotated[str, Parameter(help="A stored dataset: name, or name@version.")]
RunName = Annotated[str, Parameter(help="A run listed by `lorabot runs`.")]
Trigger = Annotated[
    str | None, Parameter(help="Trigger word that every caption should contain, such as ann1ka.")
]
