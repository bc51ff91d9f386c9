"""What can be said about a user's own dataset TOML, each with cause and fix."""

from difflib import get_close_matches
from typing import Any

from training.dataset.config.user_toml_schema import KEYS, REFUSED, Value
from training.dataset.report import Finding, Severity


class Remarks:
    """Collects the findings about one TOML."""

    def __init__(self, file: str | None = None) -> None:
        self._file = file
        self._found: dict[tuple[str, str], Finding] = {}

    @property
    def found(self) -> tuple[Finding, ...]:
        """Return the findings, errors first, none twice."""
        order: tuple[Severity, ...] = ("error", "warning", "info")
        return tuple(sorted(self._found.values(), key=lambda f: order.index(f.severity)))

    @property
    def has_errors(self) -> bool:
        """Return whether the TOML cannot be used."""
        return any(finding.severity == "error" for finding in self._found.values())

    def error(self, code: str, cause: str, fix: str) -> None:
        """Add what stands against using the TOML."""
        self._add("error", code, cause, fix)

    def warning(self, code: str, cause: str, fix: str) -> None:
        """Add what is probably not meant."""
        self._add("warning", code, cause, fix)

    def changed(self, code: str, cause: str, fix: str) -> None:
        """Add what is set right without asking."""
        self._add("info", code, cause, fix, repaired=True)

    def unknown_key(self, where: str, key: str, known: list[str]) -> None:
        """Add that the trainer does not know a key, and which one may be meant."""
        near = get_close_matches(key, known, n=1, cutoff=0.6)
        meant = f" Is {near[0]} meant?" if near else f" Known here: {', '.join(known)}."
        other_kinds = [name for name in ("image", "video") if key in KEYS[name]]
        if other_kinds:
            meant = f" It belongs to {other_kinds[0]} datasets."
        self.error(
            "toml-unknown-key",
            f"{where} holds the key {key!r}, which the trainer does not know there.{meant}",
            "Correct or remove it.",
        )

    def wrong_value(self, where: str, key: str, given: Any, wanted: Value) -> None:
        """Add that a key has a value of the wrong type or beyond what works."""
        is_type = wanted.has_type(given)
        shown = repr(given) if len(repr(given)) <= 40 else f"{repr(given)[:40]}…"
        hint = ""
        if key == "source_fps" and isinstance(given, int):
            hint = f" Write {given}.0: the trainer refuses {given}."
        self.error(
            "toml-out-of-range" if is_type else "toml-wrong-type",
            f"{where}: {key} cannot be {shown}.{hint}",
            f"Give {wanted.words}.",
        )

    def refused_key(self, where: str, key: str) -> None:
        """Add that a key of the trainer cannot be used here."""
        self.error(
            "toml-refused-key",
            f"{where}: {key} cannot be used here, because {REFUSED[key]}.",
            "Remove it; images and clips come from the dataset's own folders.",
        )

    def _add(
        self, severity: Severity, code: str, cause: str, fix: str, *, repaired: bool = False
    ) -> None:
        self._found[code, cause] = Finding(
            code=code, severity=severity, file=self._file, cause=cause, fix=fix, repaired=repaired
        )
