"""vidbench: metrics for generated video, from a folder of clips to a ranked report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidbench.results import load_run as load_run

__version__ = "0.1.0"
__all__ = ["__version__", "load_run"]


def __getattr__(name: str) -> Any:
    # `import vidbench` must stay light, so the one convenience is fetched when it is first asked for.
    if name == "load_run":
        from vidbench.results import load_run

        return load_run
    raise AttributeError(f"module 'vidbench' has no attribute '{name}'")
