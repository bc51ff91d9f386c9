"""Each front end spells the options of a run in its own way."""

from bot.messages.options import in_chat, on_terminal
from training.vocabulary import ExpertName


def test_an_option_is_spelled_as_it_is_typed() -> None:
    spelled: dict[tuple[str, object, ExpertName | None], tuple[str, str]] = {
        ("gpu", "H100", None): ("gpu:H100", "--gpu H100"),
        ("items", "clips", None): ("settings:items=clips", "--items clips"),
        ("rank", 32, "high"): ("rank:high=32", "--rank high=32"),
        ("flow_shift", 12, "high"): ("settings:high.flow-shift=12", "--flow-shift high=12"),
    }

    for (name, value, expert), (chat, terminal) in spelled.items():
        assert (in_chat(name, value, expert), on_terminal(name, value, expert)) == (chat, terminal)
