"""How many examples a test makes up, by the profile of hypothesis that is loaded."""

from hypothesis import settings

USUAL = 100  # hypothesis' own default


def examples(usual: int) -> int:
    """Return the number for a test that usually takes `usual` examples."""
    return usual * settings().max_examples // USUAL
