"""The failure that each real log shows, and failures without a log."""

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
# Failures without a log, by the exception's own message.
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
    "OSError: [Errno 122] Disk quota exceeded": "disk-quota",
    "RuntimeError: [enforce fail at inline_container.cc:659] . unexpected pos 704 vs 598": (
        "disk-full"
    ),
    "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA "
    "GPU and installed a driver": "no-gpu",
    "RuntimeError: No CUDA GPUs are available": "no-gpu",
    "RuntimeError: The NVIDIA driver on your system is too old (found version 12040). Please "
    "update your GPU driver": "driver-too-old",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device": (
        "gpu-unsupported"
    ),
    "ValueError: Could not find the dtype in the model weights": "unknown-weights",
    "_pickle.UnpicklingError: invalid load key, '<'.": "damaged-weights",
    "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central "
    "directory": "damaged-weights",
    "ModuleNotFoundError: No module named 'voluptuous'": "package-missing",
    "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: 0)": "gated",
}
