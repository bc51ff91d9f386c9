"""The last step of a training, read from musubi-tuner's output."""

import pytest

from tests.unit.training.musubi.failures.logs import read_log
from training.musubi.failures.endings import last_step


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("03_train_t2v", (27, 27)),
        ("93_steps", (12, 12)),
        ("86_workers", (18, 18)),  # lines of data loader workers between the bars
        ("90_sample_t2v", (18, 18)),  # bars of samples
        ("95_diskfull_lora", (9, 18)),
        ("01_cache_latents_t2v", None),
    ],
)
def test_the_last_step_is_read_from_a_real_log(name: str, expected: tuple[int, int] | None) -> None:
    assert last_step(read_log(name).mixed.decode("utf-8", "replace")) == expected


def test_a_cut_off_progress_bar_does_not_count() -> None:
    drawn = "steps:  50%|#####| 2/4 [00:12<00:12, 12.50s/it, avr_loss=1.3]"
    cut = "steps:  75%|#######| 3/4 [00:2"

    assert last_step(f"{drawn}\r{cut}") == (2, 4)


def test_a_training_that_took_no_step_has_no_last_step() -> None:
    assert last_step("loading the model\n") is None
