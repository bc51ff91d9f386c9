"""The JSON bodies of the caption page: what its scripts send, and what they get."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from bot.service.captions.looking import ShownSample, ShownVersion
from bot.web.bodies import Body
from training.dataset.captions.caption import LONGEST_TOKENS
from training.dataset.sample_remarks import JudgedCaption, Remark, about_all
from training.registry.caption_sessions import CaptionSession
from training.registry.dataset_edits import CaptionChange
from training.registry.proposals import Proposal

LONGEST_CAPTION = 20_000  # characters
_MOST_CHANGES, _MOST_JUDGED = 10_000, 1_000
_Text = Annotated[str, Field(max_length=LONGEST_CAPTION)]
_Name = Annotated[str, Field(max_length=500)]


class JudgeBody(Body):
    """Texts to judge as captions."""

    texts: Annotated[tuple[_Text, ...], Field(max_length=_MOST_JUDGED)]


class ChangeBody(Body):
    """A changed caption; see `CaptionChange`. `before` may be longer than a new caption."""

    name: _Name
    before: str
    text: _Text
    is_accepted: bool = False


class SaveBody(Body):
    """Captions to save."""

    changes: Annotated[tuple[ChangeBody, ...], Field(min_length=1, max_length=_MOST_CHANGES)]

    def of_domain(self) -> list[CaptionChange]:
        return [
            CaptionChange(one.name, one.before, one.text, one.is_accepted) for one in self.changes
        ]


class RefuseBody(Body):
    """Samples whose proposals the person does not want."""

    names: Annotated[tuple[_Name, ...], Field(min_length=1, max_length=_MOST_CHANGES)]


def describe(
    session: CaptionSession, shown: ShownVersion, proposals: Mapping[str, Proposal]
) -> dict[str, Any]:
    """Return everything that the page shows."""
    version = shown.version
    return {
        "dataset": version.name,
        "number": version.number,
        "reference": str(version.ref),
        "trigger": version.trigger,
        "asUploaded": version.media == "original",
        "expires": session.expires_at.isoformat(),
        "limits": {"tokens": LONGEST_TOKENS, "characters": LONGEST_CAPTION},
        "remarks": [_remark(one) for one in about_all(shown.draft.report)],
        "samples": [_sample(session, one, proposals) for one in shown.samples.values()],
    }


def describe_judged(judged: JudgedCaption, text: str) -> dict[str, Any]:
    """Return a judged caption; positions count as JavaScript does, in UTF-16 units."""

    def place(index: int) -> int:
        return len(text[:index].encode("utf-16-le", "surrogatepass")) // 2

    return {
        "tokens": judged.tokens,
        "trigger": [[place(start), place(end)] for start, end in judged.trigger],
        "prefixed": judged.prefixed,
        "isUsable": judged.is_usable,
        "remarks": [_remark(one) for one in judged.remarks],
    }


def _sample(
    session: CaptionSession, shown: ShownSample, proposals: Mapping[str, Proposal]
) -> dict[str, Any]:
    sample, proposal = shown.sample, proposals.get(shown.sample.name)
    # The hash makes an address stand for one content, so that browsers may keep it.
    tail = f"{session.guild}/{sample.sha256[:16]}/{quote(sample.name)}"
    return {
        "name": sample.name,
        "source": sample.source,
        "kind": sample.kind,
        "width": sample.width,
        "height": sample.height,
        "seconds": sample.seconds,
        "caption": sample.caption,
        "origin": shown.origin,
        "judged": describe_judged(shown.judged, sample.caption),
        "remarks": [_remark(one) for one in shown.on_file],
        "proposal": proposal and {"text": proposal.text, "captioner": proposal.captioner},
        "thumbnail": f"/captions/{session.id}/thumbnails/{tail}",
        "media": f"/captions/{session.id}/media/{tail}",
    }


def _remark(remark: Remark) -> dict[str, str]:
    return {"severity": remark.severity, "text": remark.text}
