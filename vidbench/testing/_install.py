"""Installing a plug-in project where only a test sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def install_plugin(project: Path, target: Path) -> None:
    """Install a plug-in project into the folder `target`, offline and without touching this environment.

    Python finds it there when `target` is on `PYTHONPATH` or `sys.path`; a running process calls
    `vidbench.plugins.forget()` afterwards. The project's build backend must be installed.

    Raises:
        RuntimeError: pip could not build or install it; with pip's own words.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pip could not install {project}:\n{done.stdout}{done.stderr}")
