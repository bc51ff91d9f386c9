"""How many examples hypothesis generates for a test, by the loaded profile."""

from hypothesis import settings

USUAL = 100  # hypothesis' own default


def examples(usual: int) -> int:
    """Return the number for a test that usually generates `usual` examples."""
    return usual * settings().max_examples // USUAL
