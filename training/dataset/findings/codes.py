"""Every code a finding can have, with its words."""

from collections.abc import Mapping

from training.dataset.findings.file_codes import CAPTIONS, FILES
from training.dataset.findings.media_codes import CLIPS, IMAGES, LOOKS
from training.dataset.findings.rule import Rule

RULES: Mapping[str, Rule] = {**CAPTIONS, **FILES, **IMAGES, **CLIPS, **LOOKS}
