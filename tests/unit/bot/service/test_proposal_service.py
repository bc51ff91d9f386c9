"""Captions of a dataset are proposed by one captioner at a time."""

from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.service.proposals import make_proposals, plan_proposals
from bot.settings import Settings
from tests.media import png, write_zip
from training.captioning.captioner import CaptionerError, CaptionRequest
from training.dataset.report import no_progress
from training.errors import RequestError
from training.registry.dataset_draft import Upload

GUILD = "g"


class ScriptedCaptioner:
    """Asks for the same proposals again while it makes its first; fails at its second, if told."""

    label, remark, asks_first = "scripted", "", True

    def __init__(self, local: LocalInstallation, *, is_failing: bool = False) -> None:
        self.refused: list[str] = []
        self._local, self._is_failing = local, is_failing
        self._count = 0

    def propose(self, request: CaptionRequest) -> str:
        self._count += 1
        if self._is_failing and self._count == 2:
            raise CaptionerError("The captioner is gone.", "Start it.")
        try:
            propose(self._local, self)
        except RequestError as error:
            self.refused.append(error.cause)
        return f"a caption, number {self._count}"


def propose(local: LocalInstallation, captioner: ScriptedCaptioner) -> int:
    plan = plan_proposals(local, GUILD, "annika", "all", "style", captioner)
    return make_proposals(local, GUILD, plan, no_progress).made


@pytest.fixture
def local(tmp_path: Path) -> LocalInstallation:
    made = LocalInstallation(Settings(home=tmp_path / "home"))
    files = {"a.png": png(512, 480), "a.txt": "one", "b.png": png(512, 480, seed=2), "b.txt": "two"}
    archive = write_zip(tmp_path / "annika.zip", files)
    made.datasets.add(GUILD, "annika", Upload(archive=archive, by="7", file_name="annika.zip"))
    return made


def test_a_second_request_meanwhile_is_refused_and_a_later_one_is_not(
    local: LocalInstallation,
) -> None:
    captioner = ScriptedCaptioner(local)

    assert propose(local, captioner) == 2
    assert captioner.refused == ["Captions are being proposed for annika already."] * 2
    assert propose(local, captioner) == 2


def test_proposals_made_before_a_captioner_fails_are_kept(local: LocalInstallation) -> None:
    with pytest.raises(CaptionerError):
        propose(local, ScriptedCaptioner(local, is_failing=True))

    assert [one.text for one in local.proposals.read(GUILD, "annika").values()] == [
        "a caption, number 1"
    ]
    assert propose(local, ScriptedCaptioner(local)) == 2
