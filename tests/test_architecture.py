"""The rules for the source tree: imports, sizes, names."""

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bot", "training", "storage")
COMPOSITION_ROOTS = (
    "bot/hosting/local.py",
    "bot/hosting/modal.py",
    "bot/deploy/operator.py",
    "bot/modal_app.py",
    "training/modal_app.py",
)
MOST_MODULES = {"training": 8, "bot": 5, "storage": 2}
MOST_LINES = 600
# Code that runs in musubi-tuner's environment, which has only musubi-tuner's dependencies.
RUNS_BESIDE_MUSUBI = ("training.musubi.launcher", "training.vocabulary")
MUSUBI_BRINGS = ("musubi_tuner", "accelerate", "av", "numpy", "torch")
TOP_LEVEL = {"bot", "training", "storage", "tests", "pyproject.toml", "Makefile"} | {
    "README.md",
    "CONTRIBUTING.md",
    "LICENSE",
}

Modules = Mapping[str, Path]
Imports = Mapping[str, set[str]]


def modules(root: Path) -> Modules:
    """Return the files below the product's packages by module name."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(path: Path) -> frozenset[str]:
    """Return what a file imports: modules, and names in modules. Typing imports count."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def imports(known: Modules) -> Imports:
    """Return which of the known modules each one imports."""

    def module_of(name: str) -> str | None:
        return next((part for part in (name, name.rpartition(".")[0]) if part in known), None)

    return {
        module: {target for name in imported(path) if (target := module_of(name))} - {module}
        for module, path in known.items()
    }


def circle(graph: Imports) -> list[str]:
    """Return the nodes of one circle; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def children(graph: Imports, folder: str) -> Imports:
    """Return the imports between the files and subfolders directly in a folder."""
    depth = folder.count(".") + 1 if folder else 0

    def child(module: str) -> str | None:
        parts = module.split(".")
        inside = parts[:depth] == folder.split(".")[:depth] if folder else True
        return ".".join(parts[: depth + 1]) if inside and len(parts) > depth else None

    found: dict[str, set[str]] = {}
    for module, targets in graph.items():
        if node := child(module):
            inside = {other for target in targets if (other := child(target))}
            found.setdefault(node, set()).update(inside - {node})
    return found


def circles(root: Path) -> list[list[str]]:
    """Return a circle between files, and one of each folder that has any."""
    graph = {m: to for m, to in imports(modules(root)).items() if not m.endswith("modal_app")}
    folders = {".".join(m.split(".")[:depth]) for m in graph for depth in range(m.count(".") + 1)}
    graphs = [graph, *(children(graph, folder) for folder in sorted(folders))]
    return [found for one in graphs if (found := circle(one))]


def crowded(root: Path) -> dict[str, int]:
    """Return the packages with more modules directly in them than are allowed."""
    counts = {
        package: len([path for path in (root / package).glob("*.py") if path.stem != "__init__"])
        for package in PACKAGES
    }
    return {package: n for package, n in counts.items() if n > MOST_MODULES[package]}


def importers(name: str) -> set[str]:
    """Return the paths of the files that import a package."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in modules(ROOT).values()
        if any(f"{module}.".startswith(f"{name}.") for module in imported(path))
    }


def outside(found: set[str], *allowed: str) -> set[str]:
    return {path for path in found if not path.startswith(allowed)}


def write(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, "utf-8")


def test_the_domain_imports_neither_neighbour() -> None:
    found = {
        path for path in importers("bot") | importers("storage") if path.startswith("training/")
    }

    assert not outside(found, *COMPOSITION_ROOTS)


def test_the_adapters_do_not_import_the_bot() -> None:
    assert not {path for path in importers("bot") if path.startswith("storage/")}


def test_only_composition_roots_of_the_bot_know_the_adapters() -> None:
    found = {path for path in importers("storage") if path.startswith("bot/")}

    assert not outside(found, *COMPOSITION_ROOTS)


def test_the_chat_library_stays_at_the_chat_edge() -> None:
    assert not outside(importers("discord"), "bot/discord/", "bot/sandbox/connect.py")


def test_torch_stays_in_the_parts_that_calculate() -> None:
    assert not outside(importers("torch"), "training/merge/", "training/musubi/launcher")


def test_modal_stays_in_its_adapters() -> None:
    allowed = (
        "bot/modal_app.py",
        "bot/deploy/",
        "bot/hosting/modal.py",
        "training/modal_app.py",
        "training/backends/modal/",
        "training/deployment/modal_",
        "storage/modal/",
    )

    assert not outside(importers("modal"), *allowed)


def test_threads_meet_the_event_loop_in_the_service_only() -> None:
    calls = re.compile(r"to_thread|run_in_executor|run_coroutine_threadsafe|call_soon_threadsafe")
    found = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if calls.search(path.read_text("utf-8"))
    }

    assert found == {"bot/service/threads.py"}


def test_nothing_imports_in_a_circle() -> None:
    assert circles(ROOT) == []


def test_a_circle_between_files_is_found(tmp_path: Path) -> None:
    write(tmp_path, "training/one.py", "from training.two import b\n")
    write(
        tmp_path,
        "training/two.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from training import one\n",
    )

    assert circles(tmp_path)


def test_a_circle_between_folders_is_found(tmp_path: Path) -> None:
    write(tmp_path, "training/a/one.py", "import training.b.one\n")
    write(tmp_path, "training/b/one.py")
    write(tmp_path, "training/b/two.py", "from training.a import two\n")
    write(tmp_path, "training/a/two.py")

    assert circles(tmp_path)


def test_few_modules_lie_directly_in_a_package() -> None:
    assert crowded(ROOT) == {}


def test_one_module_too_many_is_found(tmp_path: Path) -> None:
    for number in range(MOST_MODULES["training"] + 1):
        write(tmp_path, f"training/module_{number}.py")

    assert crowded(tmp_path) == {"training": MOST_MODULES["training"] + 1}


def test_every_folder_with_code_is_a_package() -> None:
    # A folder without `__init__.py` is silently left out of a built wheel.
    folders = {path.parent for path in modules(ROOT).values()}

    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_no_public_class_name_is_used_twice() -> None:
    homes: dict[str, list[str]] = {}
    for module, path in modules(ROOT).items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)

    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_code_in_musubis_environment_needs_only_the_standard_library() -> None:
    graph = imports(modules(ROOT))
    waiting = [module for module in graph if module.startswith(RUNS_BESIDE_MUSUBI)]
    reached: set[str] = set()
    while waiting:
        module = waiting.pop()
        reached.add(module)
        # Importing a module also runs the __init__ of every package around it.
        parts = module.split(".")
        around = {".".join(parts[:depth]) for depth in range(1, len(parts))}
        waiting += (graph[module] | around) - reached

    foreign = {
        (module, name.split(".")[0])
        for module in reached
        for name in imported(modules(ROOT)[module])
        if name.split(".")[0] not in {*sys.stdlib_module_names, *MUSUBI_BRINGS, "training"}
    }

    assert not foreign


@pytest.mark.parametrize(
    "module",
    ["bot.hosting.bot", "bot.hosting.worker", "bot.__main__", "training.pipeline.stages.train"],
)
def test_importing_the_bot_never_imports_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert result.returncode == 0


def test_files_stay_below_the_size_limit() -> None:
    paths = [path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py")]
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in paths}

    assert not {path: lines for path, lines in lengths.items() if lines > MOST_LINES}


def test_no_other_files_lie_at_the_top_level() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {name.split("/")[0] for name in listed}

    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL
