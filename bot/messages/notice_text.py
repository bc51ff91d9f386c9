"""What the bot says by itself about its own house."""

from bot.messages.card import Card, Colour
from bot.messages.figures import count
from training.operations.clean_up import UNUSED_DAYS
from training.operations.notices import CleanUpNotice

_GB = 1_000_000_000
_MB = 1_000_000


def clean_up_card(notice: CleanUpNotice) -> Card:
    """Return what the nightly cleaning freed, and that nothing of value went."""
    lines: list[str] = []
    if notice.cache_files:
        lines.append(
            f"{count(notice.cache_files, 'cache file')} of this server, "
            f"{_size(notice.cache_bytes)}, unused for {UNUSED_DAYS} days"
        )
    if notice.shared_bytes:
        lines.append(
            f"{_size(notice.shared_bytes)} that all servers share: merged bases unused for "
            f"{UNUSED_DAYS} days, files left by interrupted writes"
        )
    freed = "\n".join(f"- {line}" for line in lines)
    rest = "Datasets, training states and checkpoints are never removed; the rest is made again."
    return Card(title="Cleaned up", description=f"{freed}\n\n{rest}", colour=Colour.NEUTRAL)


def _size(size_bytes: int) -> str:
    unit, name = (_GB, "GB") if size_bytes >= _GB else (_MB, "MB")
    return f"{max(size_bytes / unit, 0.1):.1f} {name}"
