"""The GPU that an attempt got, read from the driver and named as a run can choose it."""

from pathlib import Path

import pytest

from training.pipeline.found_gpu import found_gpu


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    """Make a program the only `nvidia-smi`."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA B200", "B200"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA GH200 480GB", "GH200 480GB"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
    ],
)
def test_a_driver_names_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, name: str
) -> None:
    install(tmp_path, monkeypatch, f'echo "{driver}"; echo "another one"')

    assert found_gpu() == name


@pytest.mark.parametrize("lines", ["exit 9", "exit 0"])
def test_a_silent_driver_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    install(tmp_path, monkeypatch, lines)

    assert found_gpu() is None


def test_a_machine_without_a_driver_has_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert found_gpu() is None
