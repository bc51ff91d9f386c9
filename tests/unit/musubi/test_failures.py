"""From the end of a log to cause and fix: on real logs, and on the words of exceptions."""

import re

import pytest

from tests.unit.musubi.logs import EXIT_CODES, read_log
from training.memory import MemoryUse, Shape
from training.musubi.failures import ENTRIES, Failure, explain
from training.musubi.known_failures.entry import Entry
from training.suggestion import CacheAgain, FewerFrames, LowerResolution, SwapBlocks

GOOD = [name for name, code in EXIT_CODES.items() if code == 0]
REAL = {
    "07_network_weights_wrong_dim": "rank-mismatch",
    "08_dim_from_weights": "options",
    "16_merge_lora_py_on_wan": "wrong-weights",
    "24_train_t2v22_low_bf16on16": "weights-precision",
    "27_timestep_boundary_float": "options",
    "29_fp8_dit_scaled": "fp8-file",
    "31_fp8scaled_nobase": "fp8-scaled-alone",
    "32_i2v21_noclip_cache": "caches-without-clip",
    "33_i2v_task_t2v_cache": "caches-without-first-frame",
    "34_i2v_task_t2v_weights": "weights-of-other-task",
    "36_t2v_task_i2v_weights": "weights-of-other-task",
    "37_i2v21_weights_a14b_task": "weights-of-other-version",
    "40_sigTERM": "stopped",
    "41_acc_sigTERM": "stopped",
    "42_acc_SIGINT_group": "stopped",
    "42_acc_SIGTERM_group": "stopped",
    "42_acc_SIGTERM_one": "stopped",
    "42_plain_SIGINT_one": "stopped",
    "42_plain_SIGTERM_one": "stopped",
    "43_acc_fail": "nothing-to-train-on",
    "44_acc_argparse": "options",
    "45_nogpu_import": "no-gpu",
    "46_acc_child_sigkill": "killed",
    "47_nogpu_latents": "no-gpu",
    "50_cl_badextr": "dataset-file",
    "50_cl_badtoml": "dataset-file",
    "50_cl_corruptimg": "damaged-image",
    "50_cl_corruptvid": "damaged-clip",
    "50_cl_nocapext": "caption-extension",
    "50_cl_nocapvid": "caption-missing",
    "50_cl_srcfpsint": "dataset-file",
    "50_cl_unknownkey": "dataset-file",
    "60_tr_adamw8bit": "bitsandbytes-missing",
    "60_tr_badresume": "resume-state-missing",
    "60_tr_badtask": "options",
    "60_tr_dsmissing": "dataset-file",
    "60_tr_empty": "nothing-to-train-on",
    "60_tr_flash": "attention",
    "60_tr_missing_dit": "weights-missing",
    "60_tr_mixprec_none": "weights-precision",
    "60_tr_no_attn": "attention",
    "60_tr_no_netmod": "network-module",
    "60_tr_no_opt": "options",
    "60_tr_no_outdir": "options",
    "60_tr_no_outname": "options",
    "60_tr_nocache_shortvid": "nothing-to-train-on",
    "60_tr_nocache_te": "nothing-to-train-on",
    "60_tr_persist0": "options",
    "60_tr_sage": "attention",
    "60_tr_swap1": "no-gpu",
    "60_tr_swap_toomany": "too-many-blocks",
    "60_tr_tb_nodir": "options",
    "60_tr_truncdit": "weights-missing",
    "60_tr_wrong_netmod": "network-module",
    "60_tr_xformers": "attention",
    "78_tr_mixed": "mixed-sizes",
    "79_samecache": "dataset-file",
    "80_tr_vid_on_imgcache": "caches-of-images",
    "82_jsonl_nocache": "dataset-file",
    "83_nodir": "dataset-file",
    "84_truncdit": "damaged-weights",
    "85_tr_trunccache": "damaged-cache",
    "89_bad_image_webp_none": "damaged-clip",
    "94_diskfull": "disk-full",
    "95_diskfull_lora": "disk-full",
    "96_diskfull_cache": "disk-full",
    "97_comfy_fp8_scaled": "fp8-scaled-file",
    "98_t5_wrongfile": "wrong-weights",
    "98b_tokenizer_offline": "offline",
    "99_vae_wrongfile": "wrong-vae",
}
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.43 GiB. GPU 0 has a total "
    "capacity of 79.11 GiB of which 1.02 GiB is free. Including non-PyTorch memory, this process "
    "has 78.08 GiB memory in use."
)
# What no log is there for, in the exception's own words.
TOLD = {
    OOM: "gpu-memory",
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB": "gpu-memory",
    "RuntimeError: CUDA error: out of memory": "gpu-memory",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": (
        "gpu-memory"
    ),
    "MemoryError": "host-memory",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't "
    "allocate memory: you tried to allocate 283115520 bytes. Error code 12": "host-memory",
    "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed. ": "host-memory",
    "OSError: [Errno 28] No space left on device": "disk-full",
    "OSError: [Errno 122] Disk quota exceeded": "disk-full",
    "RuntimeError: [enforce fail at inline_container.cc:659] . unexpected pos 704 vs 598": (
        "disk-full"
    ),
    "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA "
    "GPU and installed a driver": "no-gpu",
    "RuntimeError: No CUDA GPUs are available": "no-gpu",
    "ValueError: Could not find the dtype in the model weights": "unknown-weights",
    "_pickle.UnpicklingError: invalid load key, '<'.": "damaged-weights",
    "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central "
    "directory": "damaged-weights",
    "ModuleNotFoundError: No module named 'voluptuous'": "package-missing",
    "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: 0)": "gated",
}


def traceback(exception: str) -> str:
    return (
        "INFO:musubi_tuner.training.trainer_base:running training\n"
        "steps:   0%|          | 0/27 [00:00<?, ?it/s]\rTraceback (most recent call last):\n"
        '  File "/opt/musubi-tuner/src/musubi_tuner/wan_train_network.py", line 772, in <module>\n'
        f"    main()\n    ^^^^^^\n{exception}\n"
        "steps:   0%|          | 0/27 [00:09<?, ?it/s]\n"
    )


def of_log(name: str, *, is_code_known: bool = True) -> Failure | None:
    log = read_log(name)
    return explain(log.mixed.decode(), log.exit_code if is_code_known else None)


def found(log: str, exit_code: int | None = 1, use: MemoryUse | None = None) -> Failure:
    failure = explain(log, exit_code, use)
    assert failure is not None
    return failure


def test_every_real_log_of_a_failure_is_in_the_table_here() -> None:
    assert sorted(REAL) == sorted(name for name, code in EXIT_CODES.items() if code != 0)


@pytest.mark.parametrize("name", REAL)
def test_a_real_failure_has_its_cause_and_fix(name: str) -> None:
    failure = of_log(name)

    assert failure is not None
    assert failure.code == REAL[name]
    assert failure.cause.strip()
    assert failure.fix.strip()


@pytest.mark.parametrize("name", [n for n, c in REAL.items() if "TERM" not in n and c != "killed"])
def test_a_real_failure_is_seen_without_its_exit_code(name: str) -> None:
    assert of_log(name, is_code_known=False) == of_log(name)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("is_code_known", [True, False])
def test_a_good_log_raises_no_alarm(name: str, is_code_known: bool) -> None:
    assert of_log(name, is_code_known=is_code_known) is None


@pytest.mark.parametrize("exception", TOLD)
def test_a_failure_told_in_the_exceptions_own_words_is_known(exception: str) -> None:
    assert found(traceback(exception)).code == TOLD[exception]


def test_every_entry_of_the_catalogue_is_met_by_a_test() -> None:
    codes = [entry.code for entry in ENTRIES]

    assert len(set(codes)) == len(codes)
    assert set(codes) == {*REAL.values(), *TOLD.values()}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_what_a_cause_names_is_caught_by_every_branch_of_the_pattern(entry: Entry) -> None:
    named = set(re.findall(r"\{(\w+)\}", entry.cause)) - {"line"}
    branches = re.sub(r"\([^?][^()]*\)", "", entry.pattern).split("|")

    for branch in branches if named else ():
        assert named <= set(re.findall(r"\?P<(\w+)>", branch)) or "(" in branch


def test_the_exception_of_the_trainer_counts_not_that_of_its_launcher() -> None:
    failure = of_log("43_acc_fail")

    assert failure is not None
    assert "CalledProcessError" not in failure.cause
    assert failure.code == "nothing-to-train-on"


def test_a_dead_child_of_the_launcher_is_told_as_killed() -> None:
    failure = of_log("46_acc_child_sigkill")

    assert failure is not None
    assert (failure.code, failure.resumable) == ("killed", True)


@pytest.mark.parametrize("exit_code", [-9, 137])
def test_a_killed_program_is_told_whatever_it_had_printed(exit_code: int) -> None:
    for log in ("", traceback("KeyError: 'clip'"), read_log("03_train_t2v").stderr.decode()):
        assert found(log, exit_code).code == "killed"


def test_memory_suggests_what_the_run_has_not_given_up_yet() -> None:
    log = traceback(OOM)
    caching = MemoryUse(shapes=(Shape((1280, 720), 9),), swappable=0)

    assert found(log).suggestion == FewerFrames(max_frames=13)
    assert found(log, use=caching).suggestion == LowerResolution(resolution="480p")
    small = MemoryUse(shapes=(Shape((832, 480), 9),), swappable=39)
    assert found(log, use=small).suggestion == SwapBlocks(blocks=20)
    spent = MemoryUse(shapes=(Shape((832, 480), 9),), swapped=39, swappable=39)
    assert found(log, use=spent).suggestion is None
    assert "2.43 GiB" in found(log).cause


def test_memory_reads_frames_and_sizes_from_the_log_where_nobody_knows_them() -> None:
    begin = read_log("03_train_t2v").stderr.decode().partition("steps:")[0]

    # 17 frames of 96 x 96 in the largest dataset: five latent frames.
    assert found(begin + traceback(OOM)).suggestion == FewerFrames(max_frames=9)


@pytest.mark.parametrize("name", ["32_i2v21_noclip_cache", "85_tr_trunccache"])
def test_bad_caches_are_made_again(name: str) -> None:
    failure = of_log(name)

    assert failure is not None
    assert (failure.suggestion, failure.resumable) == (CacheAgain(), True)


def test_the_same_exception_over_a_weight_file_is_no_matter_of_caches() -> None:
    broken = "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"

    assert found(traceback(broken)).code == "damaged-weights"


def test_an_unknown_failure_says_so_and_shows_the_exception() -> None:
    failure = found(traceback("IndexError: list index out of range"))

    assert failure.code == "unknown"
    assert "not known" in failure.cause
    assert "IndexError: list index out of range" in failure.cause
    assert failure.suggestion is None


def test_a_failure_without_an_exception_shows_the_last_line() -> None:
    failure = found("INFO:root:loading\nSegmentation fault\n", -11)

    assert failure.code == "unknown"
    assert "-11" in failure.cause
    assert "Segmentation fault" in failure.cause
    assert "printed nothing" in found("", 1).cause


def test_what_is_raised_while_everything_ends_does_not_hide_the_failure() -> None:
    aftermath = (
        "Exception ignored in: <function _Iter.__del__ at 0x7f>\n"
        'Traceback (most recent call last):\n  File "x.py", line 1\n'
        "AttributeError: 'NoneType' object has no attribute 'is_alive'\n"
    )

    assert found(traceback(OOM) + aftermath).code == "gpu-memory"


def test_the_exception_of_a_data_loader_worker_is_found_within_its_wrapping() -> None:
    wrapped = (
        "KeyError: Caught KeyError in DataLoader worker process 0.\n"
        "Original Traceback (most recent call last):\n"
        '  File "/opt/musubi-tuner/src/musubi_tuner/x.py", line 3, in f\n    g()\n'
        "KeyError: 'clip'"
    )

    assert found(traceback(wrapped)).code == "caches-without-clip"


def test_an_exception_that_training_coped_with_is_no_failure() -> None:
    went_on = (
        "\rsteps:   7%|x| 2/27 [00:01<00:02, 2.0s/it, avr_loss=1.1]"
        "\rsteps:  11%|x| 3/27 [00:01<00:02, 2.0s/it, avr_loss=1.1]"
    )

    assert explain(traceback("OSError: sample failed") + went_on) is None
    assert explain(traceback("OSError: sample failed") + "INFO:x:model saved.\n") is None


def test_a_rehearsals_last_line_is_an_exception_without_a_traceback() -> None:
    header = "safetensors_rust.SafetensorError: Error while deserializing header: X"

    assert found(f"/models/a.safetensors is cut off\n{header}\n").code == "damaged-weights"
    assert found(f"/c/caches/i_0128x0096_wan.safetensors is cut off\n{header}\n").code == (
        "damaged-cache"
    )
