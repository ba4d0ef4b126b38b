"""The package as it is installed: one top-level package, its data files inside, the command on the path."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from served import ROOT, clean_environ

INSIDE = """
import importlib.metadata, importlib.resources, tomllib
import tokenrouter
from tokenrouter.sql import read_queries, read_sql

assert "site-packages" in tokenrouter.__file__, tokenrouter.__file__
root = importlib.resources.files("tokenrouter")
found = {kind: [p for p in root.rglob("*." + kind)] for kind in ("sql", "toml", "lua")}
for path in found["toml"]:
    assert tomllib.loads(path.read_text("utf-8")), path
for path in found["sql"]:
    assert (read_queries if path.name.endswith("_queries.sql") else read_sql)(str(path.relative_to(root / "sql"))), path
for path in found["lua"]:
    assert path.read_text("utf-8")
assert len(found["sql"]) >= 4 and len(found["toml"]) >= 2, found
assert root.joinpath("py.typed").is_file()
from tokenrouter.catalog.loader import load_catalog
from tokenrouter.settings import load_settings
assert load_catalog(load_settings({})).listed()
print(importlib.metadata.version("tokenrouter-gateway"), tokenrouter.__version__)
"""


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_its_data_and_its_command_starts(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    _run(*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(_source(tmp_path)), cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tokenrouter"}
    assert not [name for name in names if name.endswith((".pyc", ".db")) or "/tests/" in name or "benchmark" in name]
    shipped = {name for name in names if name.endswith((".sql", ".toml", ".lua"))}
    there = {str(path.relative_to(ROOT)) for kind in ("sql", "toml", "lua") for path in (ROOT / "tokenrouter").rglob(f"*.{kind}")}
    assert shipped == there
    venv = tmp_path / "venv"
    _run(sys.executable, "-m", "venv", str(venv), cwd=tmp_path)
    python = venv / "bin" / "python"
    _run(str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", str(wheel), cwd=tmp_path)
    versions = _run(str(python), "-c", INSIDE, cwd=tmp_path).split()
    assert versions[0] == versions[1]
    assert "serve" in _run(str(venv / "bin" / "tokenrouter"), "--help", cwd=tmp_path)
    assert "the configuration is right" in _run(str(venv / "bin" / "tokenrouter"), "config", "check", cwd=tmp_path)


def _source(folder: Path) -> Path:
    """A copy of what is built, so that building leaves nothing in the tree."""
    import shutil

    copy = folder / "source"
    shutil.copytree(ROOT / "tokenrouter", copy / "tokenrouter", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy / name)
    return copy


def _run(*command: str, cwd: Path) -> str:
    environ = clean_environ()
    del environ["PYTHONPATH"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environ, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
