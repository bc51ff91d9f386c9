"""The version of the deployed code changes with its content."""

from pathlib import Path

import pytest

from training.deployment import code_version
from training.deployment.names import Deployment


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bot/page").mkdir(parents=True)
    (tmp_path / "bot/page/x.js").write_text("x", "utf-8")
    (tmp_path / "bot/a.py").write_text("a", "utf-8")
    monkeypatch.setattr(code_version, "CODE_ROOT", tmp_path)
    code_version.code_version.cache_clear()
    return tmp_path


def name() -> str:
    code_version.code_version.cache_clear()
    return code_version.code_version("bot")


def test_the_same_content_has_the_same_name_and_another_has_another(root: Path) -> None:
    first, again = name(), name()
    (root / "bot/a.py").write_text("b", "utf-8")
    changed = name()
    (root / "bot/a.py").rename(root / "bot/c.py")

    assert first == again
    assert len({first, changed, name()}) == 3


def test_files_that_containers_do_not_get_do_not_count(root: Path) -> None:
    before = name()
    (root / "bot/__pycache__").mkdir()
    (root / "bot/__pycache__/a.pyc").touch()

    assert name() == before


def test_the_pages_that_the_bot_serves_count(root: Path) -> None:
    before = name()
    (root / "bot/page/x.js").write_text("y", "utf-8")

    assert name() != before


def test_a_deployment_is_tagged_with_its_code_and_engine() -> None:
    code_version.code_version.cache_clear()

    labels = code_version.labels(Deployment(engine="rehearsal"), *code_version.STAGES_CODE)

    assert labels[code_version.ENGINE_LABEL] == "rehearsal"
    # Modal takes letters, digits, dashes, dots and underscores, 63 at most.
    assert all(len(text) <= 63 for pair in labels.items() for text in pair)
    assert labels[code_version.CODE_LABEL].isalnum()
