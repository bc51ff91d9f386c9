"""Results of importing datasets and LoRA files from the Volumes of the guide (see README.md)."""

from dataclasses import dataclass
from typing import Literal

from bot.messages.datasets.report import media_counts
from training.errors import TrainingError
from training.registry.datasets import DatasetVersion
from training.registry.loras import StoredLora
from training.wording import count


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedItem:
    """One item after its import.

    Attributes:
        result: The stored item, or the error that prevented the import.
        is_new: Whether this import stored the item.
        findings: Findings about a new dataset.
        is_model_named: Whether the user named the model of a new LoRA file.
    """

    kind: Literal["dataset", "checkpoint"]
    name: str
    result: DatasetVersion | StoredLora | TrainingError | OSError
    is_new: bool = True
    findings: int = 0
    is_model_named: bool = False


def import_record(item: ImportedItem) -> dict[str, str]:
    """Return the texts that users see about an item; `fix` is empty if the import succeeded."""
    status, text, fix = "imported" if item.is_new else "already there", "", ""
    match item.result:
        case DatasetVersion() as version:
            text = f"as {version.ref}"
            if item.is_new:
                text = f"{version.ref}: {media_counts(version.images, version.clips)}"
                text += f"; {count(item.findings, 'finding')}" if item.findings else ""
        case StoredLora() as record:
            text = f"for {record.model}, {record.expert}"
            if item.is_new:
                source = "as you said" if item.is_model_named else "as its header says"
                text = f"for {record.model} {source}, {record.expert}, rank {record.rank}"
                text += "".join(f"; its header does not say {it}" for it in record.unproven)
        case TrainingError() as error:
            status, text, fix = "not imported", error.cause, error.fix
        case OSError() as error:
            status, text, fix = "not imported", f"{error}.", "Fix the cause, then import it again."
    return {"kind": item.kind, "name": item.name, "status": status, "text": text, "fix": fix}
