"""Finds the line in which a shell, platform, kernel or runtime reports a program's end."""

import re

from training.musubi.failures.endings import LastWords, by_exit_code, died, signal_name, went_on

# Messages that shells print when a signal has ended a program, in several languages.
_VERDICTS = {
    "SIGKILL": (
        "Killed|Processus arrêté|Tué|Getötet|Terminado \\(killed\\)|Matado|Morto|Ucciso"
        "|已杀死|已砍掉|強制終了|Убито|죽었음|Unicestwiony"
    ),
    "SIGTERM": "Terminated|Complété|Beendet|Terminado|已终止|Завершено",
    "SIGHUP": "Hangup|挂起",
    "SIGSEGV": (
        "Segmentation fault|Erreur de segmentation|Speicherzugriffsfehler|Violación de segmento"
        "|段错误|Ошибка сегментирования|セグメンテーション違反です"
    ),
    "": "Bus error|Aborted|Illegal instruction|Floating point exception",
}
_SHELL = re.compile(
    # A script's name, line number and process id may precede the message; the command may follow.
    r"(?:[^\n]{1,200}?[:\uff1a] *(?:\w+ ?\d+ ?\w* ?[:\uff1a] +)?\d+ +)?(?:"
    + "|".join(f"(?P<{name or 'other'}>{words})" for name, words in _VERDICTS.items())
    + r")(?: *\([^()\n]{1,60}\))?(?: {3,}.*)?"
)
# slurm and make only report that a program failed; the reason is usually on a line above.
_SECOND_HAND = re.compile(
    r"srun: error: .*: (?:Killed|Terminated|Exited with exit code \d+)\b.*"
    r"|make\S*: \*\*\* \[.*"
)
_VERDICT = re.compile(r"(?:srun|make)\S*: .*[]:] (?P<said>Killed|Terminated)\b")
_PLATFORM = re.compile(
    r"^[ \t]*(?:\[?(?:DEBUG|INFO|NOTICE|WARNING|WARN|ERROR)\]?(?:: ?| +)|##\[error\])?(?P<text>"
    # printed by Modal, clusters and clouds
    r"Runner (?:terminated|interrupted|failed)\b.*"
    r"|(?:\[modal-client\] \S+ )?(?:Task's current input \S+ hit its timeout of .*"
    r"|Received a cancellation signal while processing input.*|Successfully canceled input.*"
    r"|Container heartbeat (?:failed|timed out).*)"
    r"|(?:Container|Function|Task|Runner|Sandbox) (?:\S+ ){0,4}(?:killed|terminated|ran) .*"
    r"(?:memory|OOM).*"
    r"|(?:[\w-]+ ){0,2}(?:Instance|Container|Node|Job|Pod|Worker|VM|instance|container|node|job|pod"
    r"|worker)\b[^\n]{0,60}?\b(?:was|is being|has been|will be|got)?\s?preempted\b.*"
    r"|(?:Received|Got) .{0,40}(?:preemption|[Ss]pot (?:interruption|termination)|rebalance) .*"
    r"|slurmstepd: error: .*(?:CANCELLED|oom|OOM|DUE TO|memory|execve).*"
    r"|srun: error: .*(?:Out Of Memory|Killed|Terminated|Bus error|Segmentation fault|Exited).*"
    r"|(?:\w+ +)*[Rr]eason:\s+\"?(?:OOMKilled|Evicted|Preempt\w+).*|OOMKilled.*"
    r"|.{0,80}Received (?:\d+|SIG\w+) death signal.*"
    # printed by systemd and the kernel
    r"|\S+: (?:A process of this unit has been killed by the OOM killer|Failed with result 'oom).*"
    r"|\S+: Main process exited, code=(?:killed|dumped), status=.*"
    r"|(?:Memory cgroup o|O)ut of memory: Kill(?:ed)? process .*|oom-kill:.*"
    r"|NVRM: .*(?:Xid|fallen off the bus|RmInitAdapter failed).*"
    # printed by the NVIDIA and C++ runtimes and by Python itself
    r"|terminate called (?:after|without|recursively).*(?:\n\s*what\(\): .*)?"
    r"|memory allocation of \d+ bytes failed.*|Could not load library \S+ Error: .*"
    r"|Fatal Python error: .*|Windows fatal exception: .*|double free or corruption.*"
    r"|malloc\(\): .*|free\(\): .*|\*\*\* stack smashing detected.*"
    r"|Failed to initialize NVML: .*|nvidia-container-cli: .*"
    r"|.{0,80}Error response from daemon: .*|Cannot connect to the Docker daemon.*"
    r"|Error (?:[a-z][^\n]*) at line \d+ in file .*|OMP: Error #\d+: .*|rocBLAS error: .*"
    r"|\[?[EF]\d{3,4} \d\d:\d\d:\d\d[^\]\n]*\].*Watchdog caught collective.*"
    r"|Unexpected bus error encountered in worker.*"
    # the program, its main module or its interpreter does not exist
    r"|[^\n]{0,200}python\S*: (?:can't open file|No module named) .*"
    r"|(?:\S+: )*(?:line \d+: )?\S+: command not found"
    r"|(?:-?\w*sh|/bin/\w+|\S+\.sh): .*: (?:not found|Permission denied)"
    r"|\S+: .*: bad interpreter: .*|(?:/usr/bin/)?env: .*: No such file or directory"
    r"|['\"][^'\"\n]+['\"] (?:is not recognized as an internal|n'est pas reconnu|no se reconoce"
    r"|não é reconhecido|non è riconosciuto|不是内部或外部命令|は、内部コマンド|не является)"
    r".*"
    r"|Der Befehl \"[^\"\n]+\" ist entweder falsch geschrieben.*"
    r"|\+ CategoryInfo +: ObjectNotFound: \(.*|Fatal error in launcher: .*|No Python at .*"
    r"|The system cannot find the (?:path|file|drive) specified\."
    # events that Kubernetes and clouds report
    r"|.{0,80}\b[Pp]reempted by .*|(?:EC2 )?[Ss]pot (?:[Ii]nstance )?(?:interruption|termination).*"
    r"|(?:.{0,80}: )?The node was low on resource: .*|NVIDIA-SMI has failed.*"
    # a lost connection to the machine
    r"|client_loop: .*|packet_write_wait: .*|Connection to \S+ closed\b.*"
    r"|Timeout, server \S+ not responding\."
    # exit codes
    r"|.{0,200}\b(?:code|status|exited|returned)\b.{0,20}(?:0x[cC]0000[0-9a-fA-F]{3}|32212\d{5}"
    r"|-10737\d{5})\b.*"
    r"|(?:[\w.-]+ |Process .*?|.*\bprogram .*?)"
    r"(?:exited|finished|completed|terminated|failed) with (?:exit |return )?"
    r"(?:code|status):? -?(?:0x[0-9A-Fa-f]+|\d+)\b.*"
    r"|make\S*: \*\*\* \[[^\n]*\] (?:Error \d+|\w+(?: \(core dumped\))?)"
    r")$",
    re.MULTILINE,
)
_CODE = re.compile(
    r"(?:code|status|\] Error):? (?P<code>-?(?:0x[0-9A-Fa-f]+|\d+))\b"
    r"|(?P<windows>0x[cC]0000[0-9a-fA-F]{3}|32212\d{5}|-10737\d{5})\b"
)
_DEATH = re.compile(
    r"Received (?P<signal>\d+|SIG\w+) death signal|code=(?:killed|dumped), status=(?P<status>\d+)"
)


def platform_end(text: str) -> LastWords | None:
    """Return how a shell, platform or kernel last reported the program's end; None if none did."""
    last = text.rstrip().rpartition("\n")[2]
    shell = _by_shell(last)
    if shell is not None and shell.line.startswith("died with <Signals.SIGKILL"):
        return shell
    # A line of a shell, slurm or make is used only if no line above it explains the end.
    second_hand = shell
    for found in reversed(list(_PLATFORM.finditer(text))):
        if went_on(text[: found.start()], text[found.end() :]):
            break
        words = _reported(found["text"])
        if _SECOND_HAND.fullmatch(found["text"]):
            second_hand = second_hand or words
        elif words is not None:
            return words
    return second_hand


def _by_shell(line: str) -> LastWords | None:
    found = _SHELL.fullmatch(line)
    if found is None:
        return None
    name = found.lastgroup
    return LastWords(line) if name in (None, "other", "SIGSEGV") else died(name)


def _reported(line: str) -> LastWords | None:
    """Return the signal, exit code or text that a platform's line reports; None for success."""
    if (death := _DEATH.search(line)) is not None:
        name = death["signal"] or death["status"]
        return died(signal_name(int(name)) if name.isdigit() else name)
    if (verdict := _VERDICT.search(line)) is not None:
        return died("SIGKILL" if verdict["said"] == "Killed" else "SIGTERM")
    if (code := _CODE.search(line)) is None:
        return LastWords(line)
    number = int(code["code"] or code["windows"], 0)
    if not number:
        return None
    return by_exit_code(number) or LastWords(f"exit status {number}")
