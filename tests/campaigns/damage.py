"""Damaged files in a furnished home: what people are told, and whether anything is lost.

`python -m tests.campaigns.damage --seed 1 --files 60`
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.damages import Hit, hits
from tests.campaigns.furnished import Furnished, furnish
from tests.campaigns.visit import Answer, Visit, visit


@dataclass(frozen=True)
class Outcome:
    """What came of a damaged file.

    Attributes:
        word: "unnoticed", "made again", "named", "put back" (the record of a removal is gone, so
            what was removed is there again), or "LOST" or "BROKEN", which must not be.
        details: What people were told.
    """

    word: str
    details: tuple[str, ...] = ()


async def try_out(scene: Furnished, folder: Path, hit: Hit | None, seed: int) -> Visit:
    """Damage a file of a copy of the home, and visit it."""
    scene.copy(folder)
    if hit is not None:
        hit.strike(folder / "home", seed)
    return await visit(scene, folder)


def judge(plain: Visit, found: Visit, before: bytes | None, path: Path) -> Outcome:
    """Compare a visit with one of the undamaged home."""
    if found.troubles:
        return Outcome("BROKEN", tuple(found.troubles))
    told = list[str]()
    lost = list[str]()
    is_put_back = "/trash/" in path.as_posix()
    for name, answer in found.answers.items():
        expected = plain.answers.get(name)
        if answer.is_broken:
            return Outcome("BROKEN", (f"{name}: {answer.text or answer.facts}",))
        if expected is not None and answer.facts == expected.facts:
            continue
        # A link or a zip names a damaged file, too.
        names_it = "damaged" in answer.text or "damaged" in answer.facts
        says = answer.is_refused or "failed" in name or names_it
        is_new = expected is None and not answer.is_refused
        (told if says or is_new else lost).append(f"{name}: {answer.text}\n{answer.facts}")
        is_put_back = is_put_back and (says or _lacks_only_trash(expected, answer))
    missed = [name for name in plain.answers if name not in found.answers]
    if lost and is_put_back:
        return Outcome("put back", (*told, *lost))
    if lost or (missed and not told):
        return Outcome("LOST", (*lost, f"missed: {missed}"))
    if told:
        return Outcome("named", tuple(told))
    is_back = path.is_file() and before is not None and path.read_bytes() == before
    return Outcome("made again" if is_back else "unnoticed")


def _lacks_only_trash(expected: Answer | None, answer: Answer) -> bool:
    """Return whether an answer has all lines that were expected, but those about the trash."""
    wanted = expected.facts.splitlines() if expected is not None else []
    missing = set(wanted) - set(answer.facts.splitlines())
    return all("restore" in line or ", until " in line for line in missing)


async def play(seed: int, count: int, folder: Path, only: str = "") -> list[tuple[Hit, Outcome]]:
    """Furnish a home, damage one file after the other, and return the outcomes.

    Raises:
        RuntimeError: Something went wrong although nothing was damaged, so nothing can be compared.
    """
    scene = await furnish(folder / "scene")
    plain = await try_out(scene, folder / "plain", None, seed)
    _say(f"undamaged: {len(plain.answers)} answers, {len(plain.troubles)} troubles")
    unanswered = [f"{name}: {one.facts}" for name, one in plain.answers.items() if one.is_broken]
    if plain.troubles or unanswered:
        raise RuntimeError(f"the undamaged home went wrong: {plain.troubles + unanswered}")
    outcomes = list[tuple[Hit, Outcome]]()
    elsewhere = next(scene.home.glob("guilds/*/runs/control")).parents[1].name
    spared = (f"/{elsewhere}", "control")
    for number, hit in enumerate(hits(scene.home, count, seed, spared=spared)):
        if only not in hit.kind:
            continue
        copy = folder / f"damaged-{number}"
        original = scene.home / hit.file
        before = original.read_bytes() if original.is_file() else None
        found = await try_out(scene, copy, hit, seed)
        outcome = judge(plain, found, before, copy / "home" / hit.file)
        outcomes.append((hit, outcome))
        _say(f"{outcome.word:10} {hit.damage:16} {hit.file}")
        for detail in outcome.details:
            _say("    " + detail.replace("\n", "\n    "))
        await asyncio.to_thread(shutil.rmtree, copy)
    return outcomes


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Play the campaign; return 0 if nothing was lost or broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--only", default="", help="only files whose kind contains this")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lorabot-damage-") as folder:
        outcomes = asyncio.run(play(asked.seed, asked.files, Path(folder), asked.only))
    counted = Counter(outcome.word for _, outcome in outcomes)
    _say(", ".join(f"{count} {word}" for word, count in sorted(counted.items())))
    return 1 if counted["LOST"] or counted["BROKEN"] else 0


if __name__ == "__main__":
    sys.exit(main())
