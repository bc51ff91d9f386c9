"""The cached dataset that all tests of the rehearsal read."""

import pytest

from tests.ml.rehearsal.workspace import Workspace, prepare


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("rehearsal"))
