"""How many examples hypothesis makes up: `make campaign` asks for more."""

from hypothesis import settings

from tests.examples import USUAL

settings.register_profile("campaign", max_examples=20 * USUAL)
