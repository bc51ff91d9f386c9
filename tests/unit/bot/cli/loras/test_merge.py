"""`lorabot merge`."""

import hashlib
from pathlib import Path

from tests.lorabot import Lorabot
from training.rehearsal.model.weights import write_weights


def test_the_command_line_merges_and_verifies(here: Lorabot, tmp_path: Path) -> None:
    base, lora, out, receipt = (tmp_path / name for name in ("base", "lora", "out", "receipt"))
    write_weights(base, role="dit", seed="base", dtype="fp16")
    write_weights(lora, role="speed_lora", seed="lora")
    files = ("--base", str(base), "--lora", str(lora), "--out", str(out))

    made = here.json("merge", *files, "--receipt", str(receipt), "--expect", "20")
    verified = here.run("merge", "--verify", str(out), "--receipt", str(receipt))

    assert (made["layers_merged"], made["layers_expected"]) == (20, 20)
    assert made["base_sha256"] == hashlib.sha256(base.read_bytes()).hexdigest()
    assert {"lora_sha256", "output_digest", "strength", "keys_skipped"} <= set(made)
    assert verified.returncode == 0
    assert "20/20 layers" in verified.stdout
    assert hashlib.sha256(receipt.read_bytes()).hexdigest() in verified.stdout
    data = bytearray(out.read_bytes())
    data[-1] ^= 1
    out.write_bytes(data)
    assert here.refused("merge", "--verify", str(out), "--receipt", str(receipt))


def test_a_merge_that_does_not_fit_leaves_no_output(here: Lorabot, tmp_path: Path) -> None:
    base, lora, out = (tmp_path / name for name in ("base", "lora", "out"))
    write_weights(base, role="dit", seed="base", dtype="fp16")
    write_weights(lora, role="speed_lora", seed="lora")
    files = ("--base", str(base), "--lora", str(lora), "--out", str(out))

    assert "400" in here.refused("merge", *files, "--expect", "400")
    assert not out.exists()
    assert here.refused("merge", "--base", str(base), code=2)


def test_a_receipt_never_overwrites_another_file(here: Lorabot, tmp_path: Path) -> None:
    base, lora, out = (tmp_path / name for name in ("base", "lora", "out"))
    write_weights(base, role="dit", seed="base", dtype="fp16")
    write_weights(lora, role="speed_lora", seed="lora")
    before = base.read_bytes(), lora.read_bytes()
    files = ("--base", str(base), "--lora", str(lora), "--out", str(out))

    for receipt in (base, lora, out, tmp_path, tmp_path / "absent" / "receipt"):
        assert "receipt" in here.refused("merge", *files, "--receipt", str(receipt))

    assert (base.read_bytes(), lora.read_bytes()) == before
    assert sorted(tmp_path.glob("[!h]*")) == [base, lora]


def test_verify_refuses_options_that_it_would_ignore(here: Lorabot, tmp_path: Path) -> None:
    said = here.refused("merge", "--verify", str(tmp_path), "--base", str(tmp_path), code=2)

    assert "--verify" in said
