"""A real checkout for tests that ask for one, or the reason why they are skipped."""

import os
from pathlib import Path

import pytest

from tests.musubi.checkout import Checkout
from training.catalogue.models import find_model


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = os.environ.get("LORABOT_MUSUBI_DIR")
    if not folder:
        pytest.skip("LORABOT_MUSUBI_DIR names no musubi-tuner checkout")
    python = os.environ.get("LORABOT_MUSUBI_PYTHON", f"{folder}/.venv/bin/python")
    made = Checkout(Path(folder), Path(python), tmp_path_factory.mktemp("musubi"))
    made.prepare()
    return made


@pytest.fixture(scope="session")
def caches(checkout: Checkout) -> Path:
    """Latents with first frames and CLIP, and texts: what every model can be trained on."""
    folder = checkout.root / "caches"
    model = find_model("wan21-i2v-720p")
    checkout.run(checkout.cache_latents(model, folder), checkout.root / "latents.log")
    checkout.run(checkout.cache_text(folder), checkout.root / "text.log")
    return folder
