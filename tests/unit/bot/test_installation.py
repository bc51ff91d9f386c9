"""What an installation keeps, so that links work after a restart."""

from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.settings import Settings


@pytest.mark.parametrize("record", [None, b"", b"cut \xff", b"74565"], ids=str)
def test_links_keep_their_port_without_its_record(tmp_path: Path, record: bytes | None) -> None:
    before = LocalInstallation(Settings(home=tmp_path)).wanted_web_port()
    if record is not None:
        (tmp_path / "bot" / "web-port").write_bytes(record)

    after = LocalInstallation(Settings(home=tmp_path)).wanted_web_port()

    assert after == before
    assert 1024 < before < 32_768


def test_old_links_are_still_refused_in_words_when_their_secret_is_lost(tmp_path: Path) -> None:
    before = LocalInstallation(Settings(home=tmp_path))
    port = before.wanted_web_port()
    before.remember_web_port(port)
    (tmp_path / "bot" / "link-secret").unlink()

    assert LocalInstallation(Settings(home=tmp_path)).wanted_web_port() == port


def test_a_port_that_was_taken_instead_is_kept(tmp_path: Path) -> None:
    local = LocalInstallation(Settings(home=tmp_path))

    local.remember_web_port(40_001)

    assert LocalInstallation(Settings(home=tmp_path)).wanted_web_port() == 40_001
