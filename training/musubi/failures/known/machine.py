"""Failures of the machine, its disks and its platform."""

from dataclasses import replace

from training.musubi.failures.known.entry import ADD_MEMORY, ELSEWHERE, KnownFailure

_GOES_ON = "Resume the run: it continues from the newest training state."
_LOADER = KnownFailure(
    "loader-ended",
    r"DataLoader worker .* exited unexpectedly|[Pp]in memory thread exited",
    "A process that loads data ended, usually because the machine ran out of memory.",
    ADD_MEMORY,
)
_START = KnownFailure(
    "loader-start",
    r"finished its bootstrapping phase",
    "The processes that load data could not be started: Windows starts processes "
    "differently from Linux, and the trainer does not support that.",
    "Load data in the trainer's own process (--max_data_loader_n_workers 0, without "
    "--persistent_data_loader_workers), then resume the run.",
)

# Tried before all other failures: a launcher such as accelerate prints the trainer's command line,
# which the patterns of other failures could match.
LAUNCHER_ALONE = KnownFailure(
    "launcher-alone",
    r"\A(subprocess\.)?CalledProcessError: Command (?s:.*)\.py\b|\A\S*ChildFailedError:"
    r"|\A\w+Error: [^\n]*(training|process)\S* (failed|exited|ended) with (return |exit )?code 1\b",
    "The trainer failed, but the log has only its launcher's message, not the trainer's error.",
    "Look for the trainer's own error further up in the console, or run the trainer again and "
    "store its stdout and stderr (2>&1).",
)

MACHINE_FAILURES = (
    KnownFailure(
        "process-limit",
        r"can't start new thread|pthread_create failed"
        r"|^(?!.*shared memory\(shm\)).*Resource temporarily unavailable"
        r"|\[Errno 11\]|os error 11\b",
        "The machine does not allow this user to start more processes or threads.",
        "Raise the limit (ulimit -u; docker: --pids-limit), or set OMP_NUM_THREADS=1; then resume "
        "the run.",
    ),
    KnownFailure(
        "open-files",
        r"Too many open files|\[Errno 24\]|\(24\)$|received 0 items of ancdata|os error 24",
        "The trainer has more files open than the machine allows.",
        "Raise the limit (ulimit -n 65536), then resume the run.",
    ),
    KnownFailure(
        "paging-file",
        r"WinError 1455|paging file is too small|error code: <1455>|os error 1455|WinError 1450"
        r"|status 0xC0000(017|12D)",
        "Windows ran out of memory: its paging file is too small.",
        "Enlarge the paging file (System, Advanced, Performance, Virtual memory) or close other "
        "programs, then resume the run.",
    ),
    KnownFailure(
        "shared-memory",
        r"[Bb]us error|insufficient shared memory|out of shared memory|SIGBUS|/dev/shm"
        r"|unable to (open|write to|mmap|allocate|resize)[^\n]*(shared memory|/torch_)"
        r"|[Cc]ouldn't open shared (file mapping|event)",
        "The processes that load data ran out of shared memory.",
        "Give the container more shared memory (docker: --shm-size=8g or --ipc=host), then resume "
        "the run.",
    ),
    KnownFailure(
        "host-memory",
        r"^MemoryError|can't allocate memory|[Cc]annot allocate memory|ArrayMemoryError"
        r"|DataLoader worker .* is killed by signal: Killed|DefaultCPUAllocator: not enough memory"
        r"|Unable to allocate [\d.]+ [KMGT]i?B|bad_alloc|oom[-_]kill|oom kill|OOMKilled"
        r"|Out [Oo]f [Mm]emory: Kill|cgroup out of memory|Out Of Memory|memory limit"
        r"|memory allocation of \d+ bytes failed|WinError 8\]|[Rr]an out of memory"
        r"|(killed|terminated) .*(OOM|out of memory)|not enough memory resources"
        r"|\(os error 12\)|low on resource: memory|Insufficient memory",
        "The machine ran out of main memory.",
        ADD_MEMORY,
    ),
    KnownFailure(
        "disk-quota",
        r"[Dd]isk quota exceeded|\[Errno 122\]|os error 122|code: 122\b|QuotaExceeded|EDQUOT"
        r"|quota .{0,20}exceeded",
        "The storage quota is used up: {line}",
        "Free some space or ask for a larger quota, then resume the run. Files saved earlier are "
        "intact.",
    ),
    KnownFailure(
        "disk-full",
        r"No space left on device|StorageFull|WinError 112|not enough space on the disk"
        r"|(os error|code:) 112\b|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+"
        r"|\[Errno 28\]|ENOSPC|low on resource: ephemeral-storage|\[Errno 27\]|File too large",
        "The disk is full: {line}",
        "Free some space, then resume the run. Files saved earlier are intact.",
    ),
    KnownFailure(
        "file-in-use",
        r"WinError 32\]|being used by another process|WinError (33|1224)\]|os error (32|33|1224)\)"
        r"|code: (32|33|1224)\b",
        "Another program has a file open: {line}",
        "Close that program (a sync client, a virus scanner, ComfyUI), then resume the run.",
    ),
    KnownFailure(
        "read-only",
        r"Read-only file system|\[Errno 30\]|os error 30",
        "A folder cannot be written to: {line}",
        "Mount the folder writable or use another folder, then resume the run.",
    ),
    KnownFailure(
        "permission",
        r"PermissionError|Permission denied|\[Errno 1\] Operation not permitted|WinError 5\]"
        r"|Access is denied|PermissionDenied|WinError 1314",
        "The trainer is not allowed to read or write a file: {line}",
        "Give the trainer's user access to that file, then resume the run.",
    ),
    KnownFailure(
        "drive",
        r"Input/output error|\[Errno 5\]|Stale file handle|Transport endpoint is not connected"
        r"|Remote I/O error|\[Errno (116|107|121|103|112)\]|WinError (21|23|59|64|483|1117|1392)\]"
        r"|WinError (36\d|38\d|39\d|40[0-4])\]|[Cc]loud (file|operation)"
        r"|status 0xC0000006|[Hh]ost is down|[Ii]n-?page error|network name is no longer",
        "A drive could not be read or written: {line}",
        f"{ELSEWHERE} If it happens again, check the drive and restore the file.",
        retry=True,
    ),
    KnownFailure(
        "preempted",
        r"[Pp]reempt|PREEMPTION|Runner (terminated|interrupted)|[Ss]pot (interruption|termination)"
        r"|rebalance|NODE FAIL|NODE_FAIL|Runner failed with heartbeat",
        "The machine was taken away while the program ran.",
        _GOES_ON,
        retry=True,
    ),
    KnownFailure(
        "time-limit",
        r"FunctionTimeoutError|SandboxTimeoutError|hit its timeout of"
        r"|DUE TO TIME LIMIT|DeadlineExceeded",
        "The program ran longer than its platform allows.",
        f"{_GOES_ON} If the run ends before it saves a state, raise the platform's time limit.",
        retry=True,
    ),
    KnownFailure(
        "spend-limit",
        r"spend limit reached",
        "The spending limit of the Modal workspace is reached.",
        "Raise the limit in Modal's billing settings, then resume the run.",
    ),
    KnownFailure(
        "killed",
        r"died with <Signals\.SIGKILL|terminated with signal SIGKILL",
        "The program was killed, probably because the machine ran out of main memory.",
        ADD_MEMORY,
    ),
    KnownFailure(
        "terminal-closed",
        r"SIGHUP|got signal: 1\b|^BrokenPipeError|^client_loop|^packet_write_wait"
        r"|^Connection to \S+ closed|^Timeout, server",
        "The terminal or the connection in which the program ran was closed.",
        "Run the program in tmux or as a service, and resume the run.",
        within=r"\A(?!(?s:.*)(multiprocessing|torch[/\\]utils[/\\]data|http|socket|ssl|urllib))",
    ),
    KnownFailure(
        "stopped",
        r"^KeyboardInterrupt|died with <Signals\.SIG(INT|TERM)|got signal: (2|15)\b"
        r"|killed by signal: Terminated|status 0xC000013A|CANCELLED AT|InputCancellation"
        r"|cancell?ation signal|[Ss]uccessfully canceled input"
        r"|terminated with signal SIG(INT|TERM)",
        "The program was stopped before it finished.",
        _GOES_ON,
    ),
    KnownFailure(
        "cpu-unsupported",
        r"SIGILL|Illegal instruction|status 0xC000001D|killed by signal: Illegal",
        "The machine's CPU lacks an instruction that a package uses.",
        "Use another machine, or a build of that package for this CPU; then resume the run.",
    ),
    KnownFailure(
        "library-missing",
        r"status 0xC0000(135|142|07B)|DLL load failed(?!.*procedure could not be found)"
        r"|WinError (126|193|1114)\]",
        "Windows could not load a library that a package needs: {line}",
        "Install the Visual C++ Redistributable, reinstall the package that the message names, "
        "then resume the run.",
    ),
    KnownFailure(
        "native-crash",
        r"SIG(SEGV|ABRT|FPE|TRAP)|[Ss]egmentation fault|access violation|^Aborted"
        r"|status 0x[CE][0-9A-F]{7}|Windows fatal exception|Fatal Python error|double free"
        r"|malloc\(\)|free\(\)|stack smashing|killed by signal: (Aborted|Floating)"
        r"|terminate called|Floating point exception",
        "The program crashed inside a library: {line}",
        "Update the NVIDIA driver and reinstall torch and bitsandbytes, then resume the run. On "
        "Windows, also enlarge the paging file: too little memory can cause such a crash.",
    ),
    _START,
    replace(
        _START,
        pattern=r"Ran out of input|Can't pickle|[Cc]annot pickle",
        within=r"multiprocessing|torch[/\\]utils[/\\]data",
    ),
    _LOADER,
    replace(
        _LOADER,
        pattern=r"ConnectionResetError|ConnectionRefusedError|EOFError|BrokenPipeError",
        within=r"multiprocessing|torch/utils/data|torch\\utils\\data|DataLoader|dataloader",
    ),
    KnownFailure(
        "port-in-use",
        r"Address already in use|EADDRINUSE|server socket has failed to listen"
        r"|another process is utilizing it|WinError 10048",
        "Another training process on this machine uses the same port.",
        "Wait until the other process has ended, or choose another port (accelerate: "
        "--main_process_port), then resume the run.",
    ),
)
