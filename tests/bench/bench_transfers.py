"""Downloads and uploads beside those of nginx, over plain HTTP on this machine.

`python -m tests.bench.bench_transfers --gigabytes 1`, with curl and nginx installed. Files are read
from the page cache; neither server waits for the disk when it takes a file.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.bench.machine import machine
from tests.unit.bot.web_side import GUILD, HIGH, LOW, RUN
from training.store_keys import RunKeys

_ROUNDS = 5
_PARTS = 32
_STREAMS = 8
_MOST_MIB = 64  # by which memory may grow with 8 streams
_MOST_MILLISECONDS = 100
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; client_max_body_size 0; client_body_temp_path {folder}/body;
  server {{
    listen 127.0.0.1:{port}; root {folder}/www;
    location /put/ {{ dav_methods PUT; create_full_put_path on; }}
  }}
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--port", type=int, default=18_080, help="a free port for nginx")
    options = parser.parse_args()
    if missing := [name for name in ("curl", "nginx") if shutil.which(name) is None]:
        raise SystemExit(f"install {' and '.join(missing)} first")
    size_bytes = int(options.gigabytes * 1e9)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101  # nginx's workers may be another user
        home, nginx = Path(folder) / "home", Path(folder) / "nginx"
        _write_run(home, size_bytes)
        with _bot(home) as (bot, ours), _nginx(nginx, Path(ours["path"]), options.port) as theirs:
            sys.stdout.write(f"{machine()}\n{size_bytes / 1e9:.1f} GB, {_ROUNDS} rounds\n")
            _whole(ours["file"], f"{theirs}/file")
            _ranges(ours["file"], f"{theirs}/file", size_bytes)
            _upload(ours, f"{theirs}/put/file", Path(ours["path"]))
            _memory(bot, ours["file"])
            _first_byte(ours["zip"])


def _write_run(home: Path, size_bytes: int) -> None:
    """Write a run's checkpoints: one of random bytes, one of 5 GB that takes no space."""
    folder = home / RunKeys(GUILD, RUN).folder
    for name in (HIGH, LOW):
        (folder / name).parent.mkdir(parents=True)
    block = os.urandom(1 << 20)
    with (folder / HIGH).open("wb") as file:
        for start in range(0, size_bytes, len(block)):
            file.write(block[: size_bytes - start])
    with (folder / LOW).open("wb") as file:
        file.truncate(5_000_000_000)


@contextmanager
def _bot(home: Path) -> Generator[tuple[psutil.Process, Mapping[str, str]]]:
    command = [sys.executable, "-m", "tests.bench.transfer_server", str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield psutil.Process(process.pid), json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


@contextmanager
def _nginx(folder: Path, file: Path, port: int) -> Generator[str]:
    (folder / "www" / "put").mkdir(parents=True)
    (folder / "www" / "put").chmod(0o777)
    (folder / "www" / "file").hardlink_to(file)
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port))
    with subprocess.Popen(["nginx", "-e", str(folder / "error.log"), "-c", str(config)]) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(address)
            yield address
        finally:
            process.terminate()


def _wait_for(address: str) -> None:
    for _ in range(100):
        try:
            httpx.head(address)
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nginx does not answer at {address}")


def _whole(ours: str, theirs: str) -> None:
    _compare("whole file", lambda: _curl(ours), lambda: _curl(theirs), bar=0.8)


def _ranges(ours: str, theirs: str, size_bytes: int) -> None:
    part = size_bytes // _PARTS

    def fetch(url: str) -> None:
        for start in range(0, part * _PARTS, part):
            _curl("--range", f"{start}-{start + part - 1}", url)

    what = f"{_PARTS} ranges, one after the other"
    _compare(what, lambda: fetch(ours), lambda: fetch(theirs), bar=0.5)


def _upload(ours: Mapping[str, str], theirs: str, file: Path) -> None:
    size_bytes = file.stat().st_size
    with httpx.Client(headers={"Tus-Resumable": "1.0.0", "Page-Link": ours["token"]}) as client:
        client.post(f"{ours['session']}/bind").raise_for_status()
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())

        def send() -> None:
            metadata = {"Upload-Metadata": "path YS56aXA=", "Upload-Length": str(size_bytes)}
            created = client.post(f"{ours['session']}/files", headers=metadata)
            created.raise_for_status()
            url = str(created.url.join(created.headers["location"]))
            headers = {
                "Tus-Resumable": "1.0.0",
                "Page-Link": ours["token"],
                "Cookie": cookie,
                "Upload-Offset": "0",
                "Content-Type": "application/offset+octet-stream",
            }
            named = [
                part for name, value in headers.items() for part in ("--header", f"{name}: {value}")
            ]
            _curl("--request", "PATCH", *named, "--upload-file", str(file), url)
            client.delete(url).raise_for_status()

        put = ("--upload-file", str(file), theirs)
        _compare("upload", send, lambda: _curl(*put), bar=0.5)


def _memory(bot: psutil.Process, url: str) -> None:
    before, most = bot.memory_info().rss, 0
    with ThreadPoolExecutor(_STREAMS) as pool:
        streams = [pool.submit(_curl, "--limit-rate", "200M", url) for _ in range(_STREAMS)]
        while not all(stream.done() for stream in streams):
            most = max(most, bot.memory_info().rss)
            time.sleep(0.02)
        for stream in streams:
            stream.result()
    grown = (most - before) / 2**20
    _tell(f"memory with {_STREAMS} streams: {grown:+.0f} MiB", grown <= _MOST_MIB)


def _first_byte(url: str) -> None:
    """Time a zip's first byte; the first request reads the run, so its time counts."""
    shown = ("--write-out", "%{time_starttransfer}", "--range", "0-99")
    milliseconds = 1000 * float(_curl(*shown, url))
    what = f"first byte of a zip of {_size(url) / 1e9:.1f} GB: {milliseconds:.0f} ms"
    _tell(what, milliseconds <= _MOST_MILLISECONDS)


def _size(url: str) -> int:
    return int(httpx.head(url).headers["content-length"])


def _curl(*arguments: str) -> str:
    command = ("curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _compare(
    what: str, ours: Callable[[], object], theirs: Callable[[], object], *, bar: float
) -> None:
    """Print the median of nginx's time to ours, taken in pairs."""
    ratios: list[float] = []
    for _ in range(_ROUNDS):
        seconds: list[float] = []
        for act in (theirs, ours):
            began = time.perf_counter()
            act()
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[0] / seconds[1])
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    ratio = statistics.median(ratios)
    _tell(f"{what}: {ratio:.2f} of nginx's speed ({spread}; at least {bar})", ratio >= bar)


def _tell(what: str, is_met: bool) -> None:
    sys.stdout.write(f"{'met ' if is_met else 'MISSED'}  {what}\n")


if __name__ == "__main__":
    main()
