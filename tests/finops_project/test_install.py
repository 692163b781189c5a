"""What `make` says before anything is installed: one sentence when something is missing, news while it works."""

import subprocess
from pathlib import Path

import pytest

from finops_project.local import packages
from finops_project.local.home import SOURCE
from finops_project.local.packages import news

INSTALL = SOURCE / "finops_project" / "local" / "install.sh"


def install(folder: Path, python: str) -> str:
    """What the script says in a folder without .venv; it must fail."""
    (folder / "requirements-local.txt").write_text("")
    result = subprocess.run(
        ["sh", str(INSTALL), "requirements-local.txt"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    return result.stderr.strip()


def interpreter(folder: Path, script: str) -> str:
    """Something that answers in place of Python; its script decides by what it is asked."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\ncase "$*" in {script} esac\n')
    path.chmod(0o755)
    return str(path)


class TestWhatIsMissing:
    def test_python(self, tmp_path: Path) -> None:
        said = install(tmp_path, "python-that-is-not-there")

        assert said == "finops: Python 3.11 or newer is needed, and python-that-is-not-there was not found."

    def test_a_newer_python(self, tmp_path: Path) -> None:
        old = interpreter(tmp_path, '*version_info*) exit 1;; -V) echo "Python 3.9.2";;')

        said = install(tmp_path, old)

        assert said == f"finops: Python 3.11 or newer is needed, and {old} is Python 3.9.2: set PYTHON to a newer one."

    def test_its_venv_module(self, tmp_path: Path) -> None:
        said = install(tmp_path, interpreter(tmp_path, "*ensurepip*) exit 1;;"))

        assert said.startswith("finops: Python's venv module is missing: install it")

    @pytest.mark.parametrize("name", ["python-that-is-not-there", "python"])
    def test_nothing_is_left_behind(self, tmp_path: Path, name: str) -> None:
        interpreter(tmp_path, "*ensurepip*) exit 1;;")

        install(tmp_path, str(tmp_path / name))

        assert not (tmp_path / ".venv").exists()


class TestTheNews:
    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "EVERY_SECONDS", -1.0)

    def test_it_counts_what_is_fetched_and_leaves_out_what_is_not_for_this_machine(self) -> None:
        lines = ["Ignoring a: markers do not match\n", "Collecting b==1\n", "  Downloading b\n", "Processing /c.whl\n"]

        assert list(news(lines, 3)) == ["1 of 2 packages fetched", "2 of 2 packages fetched"]

    def test_it_passes_errors_on(self) -> None:
        lines = ["WARNING: a slow mirror\n", "ERROR: No matching distribution found for b==1\n"]

        assert list(news(lines, 1)) == ["ERROR: No matching distribution found for b==1"]

    def test_it_says_when_everything_is_there(self) -> None:
        lines = ["Collecting b==1\n", "Installing collected packages: b\n", "Successfully installed b-1\n"]

        assert list(news(lines, 1))[-1] == "1 packages fetched, unpacking them"
