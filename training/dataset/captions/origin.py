"""Who or what wrote a caption."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from training.dataset.captions.caption import tidy

# "written" by a person, in the upload or where there was no caption; "edited" by a person, who
# changed an earlier caption; "accepted" by a person, unchanged, from a captioner's proposals.
CaptionOrigin = Literal["written", "edited", "accepted"]


class EditedCaption(BaseModel):
    """A caption that differs from the one in the zip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    origin: CaptionOrigin

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_version(cls, value: Any) -> Any:
        # Earlier versions stored the text alone.
        return {"text": value, "origin": "edited"} if isinstance(value, str) else value


def after_edit(before: str, text: str, *, is_accepted: bool) -> EditedCaption:
    """Return a new caption with its origin; `before` is "" if the sample had no caption."""
    if is_accepted:
        return EditedCaption(text=tidy(text), origin="accepted")
    return EditedCaption(text=tidy(text), origin="edited" if before else "written")
