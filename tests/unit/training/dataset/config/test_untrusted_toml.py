"""TOML texts that would keep the parser busy are refused before it sees them."""

import tomllib

import pytest

from training.dataset.config.untrusted_toml import TomlError, parse_toml

KIB = 1024


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (".".join(["a"] * 32 * KIB) + " = 1", "Line 1 of this TOML has more than 128 dots."),
        ("\n[" + ".".join(["a"] * 32 * KIB) + "]", "Line 2 of this TOML has more than 128 dots."),
        ("\n".join(f"k{n} = 1" for n in range(1_001)), "more than 1,000 keys."),
        ("\n".join(f"[t{n}]" for n in range(1_001)), "more than 1,000 keys."),
        ("a = {" + ", ".join(f"k{n} = 1" for n in range(1_001)) + "}", "more than 1,000 keys."),
    ],
    ids=["a dotted key", "a dotted table", "keys", "tables", "an inline table"],
)
def test_a_text_that_takes_long_is_not_parsed(
    text: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = list[str]()
    monkeypatch.setattr(tomllib, "loads", parsed.append)

    with pytest.raises(TomlError) as refused:
        parse_toml(text)

    assert refused.value.cause.endswith(cause)
    assert parsed == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a = " + "[" * 20_000, "nested too deeply"),
        ("a = " + "1" * 5_000, "a number that is too long"),
        ("a = ", "not valid TOML"),
    ],
    ids=["nested", "a long number", "no value"],
)
def test_what_the_parser_cannot_take_is_refused(text: str, cause: str) -> None:
    with pytest.raises(TomlError) as refused:
        parse_toml(text)

    assert cause in refused.value.cause
    assert refused.value.fix
