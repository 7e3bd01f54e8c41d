"""The rules of the design that a careless import would break."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import benchmark

ROOT = Path(benchmark.__file__).parent.parent
PACKAGES = ("benchmark", "defenses", "attacks_cfg", "reports")
FRAMEWORKS = {"torch", "torchvision", "tensorflow", "keras", "higher", "art"}

# Files that may import a framework at their top, by their name without a suffix.
FRAMEWORK_FILES = {
    "pytorch",
    "tensorflow",
    "pytorch_convolutions",
    "pytorch_states",
    "pytorch_checkpoints",
    "tensorflow_norms",
    "tensorflow_optimizers",
    "download",
    "wrapped",
    "probabilities",
}

# Folders whose files may import ART.
ART_FOLDERS = {"autoattack", "decision", "nearest", "workarounds"}


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """The modules that a file imports, at its top and inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize(
    "module", ["benchmark.cli.app", "benchmark.executors.scheduler", "defenses", "reports"]
)
def test_importing_loads_no_framework(module):
    code = f"import {module}, sys; print(sorted({FRAMEWORKS!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frameworks_are_imported_in_framework_files_only():
    for package in PACKAGES:
        for path in sources(package):
            if path.stem not in FRAMEWORK_FILES:
                found = {name.partition(".")[0] for name in imported(path)} & FRAMEWORKS
                found -= {"art"} if path.parent.name in ART_FOLDERS else set()
                assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_defenses_need_no_harness():
    for path in sources("defenses"):
        found = {name for name in imported(path) if name.split(".")[0] in ("benchmark", "reports")}
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_reports_read_results_only():
    allowed = {"benchmark.results", "benchmark.results.records", "benchmark.errors"}
    for path in sources("reports"):
        found = {name for name in imported(path) if name.split(".")[0] in ("benchmark", "defenses")}
        assert found <= allowed, f"{path.relative_to(ROOT)} imports {found - allowed}"


def test_only_publishing_reports_needs_the_site():
    for path in sorted((ROOT / "reports").glob("*.py")):
        found = {name for name in imported(path) if name.startswith("reports.site")}
        assert found <= {"reports.site.publish"}, f"{path.relative_to(ROOT)} imports {found}"


def module_of(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def test_no_module_imports_itself_in_a_circle():
    """Neither for work nor for types: what needs each other belongs together, or needs a third."""
    files = {module_of(path): path for package in PACKAGES for path in sources(package)}
    graph = {name: neighbours(path, files) - {name} for name, path in files.items()}
    leaves = True
    while leaves:  # what imports nothing that is left is in no circle
        leaves = {name for name, found in graph.items() if not found}
        graph = {name: found - leaves for name, found in graph.items() if name not in leaves}
    assert graph == {}


def neighbours(path, files):
    """The modules among `files` that a file imports, at its top, for types and inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner in files else node.module)
    return found & files.keys()


FAMILIES = (
    "standard",
    "adversarial",
    "free",
    "trades",
    "mart",
    "awp",
    "random_norm",
    "msd",
    "meta",
    "seed_listing",
    "meta_gen",
    "mng_ac",
    "perturbation",
)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_kernels_name_the_steps_of_their_specification(family):
    folder = ROOT / "defenses" / family
    texts = {name: [path.read_text() for path in folder.rglob(f"{name}.py")] for name in KERNELS}
    steps = {name: numbered_steps("\n".join(texts[name])) for name in KERNELS}
    specified = numbered_steps((folder / "spec.py").read_text())
    assert specified
    assert all(found == specified for found in steps.values()), (specified, steps)


KERNELS = ("pytorch", "tensorflow")


def numbered_steps(text):
    words = text.replace("(", " ").replace(")", " ").replace(":", " ").split()
    return {
        second
        for first, second in itertools.pairwise(words)
        if first.lower() == "step" and second.isdigit()
    }


# What could run code of a file, to the argument that forbids it; None where nothing does.
LOADERS = {
    ("pickle", "load"): None,
    ("pickle", "loads"): None,
    ("yaml", "load"): None,
    ("torch", "load"): "weights_only",
    ("saving", "load_model"): "safe_mode",
    ("models", "load_model"): "safe_mode",
}


def test_nothing_is_unpickled():
    for package in PACKAGES:
        for path in sources(package):
            text = path.read_text(encoding="utf-8")
            assert "allow_pickle=True" not in text, path.relative_to(ROOT)
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                owner = getattr(node.func.value, "id", getattr(node.func.value, "attr", ""))
                if (owner, node.func.attr) in LOADERS:
                    needed = LOADERS[owner, node.func.attr]
                    true = [k.arg for k in node.keywords if getattr(k.value, "value", 0) is True]
                    assert needed in true, f"{path.relative_to(ROOT)}, line {node.lineno}"
