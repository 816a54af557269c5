"""Networks on disk: a safetensors file that says itself what network its weights are of.

The config lies in the file's header as JSON, so that nothing else is needed to make the network again, and no code is
run to read it. What is read is checked before memory is taken: the config's fields and limits, then names and shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from vidbench.errors import InputError
from vidbench.files import write_atomic
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.dit import DiT

FORMAT = "vidbench-dit-1"
"""Written into each file; goes up when older files can no longer be read."""


def config_to_json(config: DiTConfig) -> str:
    """One line of JSON."""
    return json.dumps(asdict(config), allow_nan=False)


def config_from_json(words: str) -> DiTConfig:
    """Inverse of `config_to_json`; fields that are left out have their defaults.

    Raises:
        InputError: no JSON object, a field that there is not, or a value out of range.
    """
    try:
        given: Any = json.loads(words)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InputError("the config is no JSON object")
    unknown = sorted(set(given) - {field.name for field in fields(DiTConfig)})
    if unknown:
        raise InputError(f"the config has unknown fields: {', '.join(unknown)}; it may be of a newer vidbench")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    try:
        return DiTConfig(**values)
    except TypeError as error:
        raise InputError(f"the config has a value of the wrong type ({error})") from None


def save(path: Path, network: DiT, notes: Mapping[str, str] | None = None) -> None:
    """Write the network; `path` is replaced as a whole.

    Args:
        path: a `.safetensors` file.
        network: its config and weights are kept, in the weights' own precision.
        notes: further words for the header, such as steps and seed.

    Raises:
        InputError: the file cannot be written.
    """
    from safetensors.torch import save as as_bytes

    header = {**(notes or {}), "format": FORMAT, "config": config_to_json(network.config)}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    try:
        write_atomic(path, as_bytes(state, header))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error})") from None


def load(path: Path, device: torch.device | str = "cpu") -> tuple[DiT, dict[str, str]]:
    """The network of a file, in eval mode, and the notes beside it.

    Raises:
        InputError: the file cannot be read, is no network of ours, or its weights are not those of its config; names
            the file and what is wrong.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = dict(file.metadata() or {})
            if header.pop("format", None) != FORMAT:
                raise InputError(f"{path} is not a network of vidbench's ({FORMAT}); train one, or give another file")
            try:
                config = config_from_json(header.pop("config", ""))
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            with torch.device("meta"):
                network = DiT(config)  # shapes without memory
            wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (no dict)
            for name in sorted(wanted.keys() | found.keys()):
                if wanted.get(name) != found.get(name):
                    raise InputError(
                        f"{path}: {name} has shape {found.get(name, 'none')} in the file and "
                        f"{wanted.get(name, 'none')} in its config; the file is damaged, make it anew"
                    )
            network.load_state_dict({name: file.get_tensor(name).float() for name in wanted}, assign=True)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise InputError(f"{path} cannot be read as a network ({reason})") from None
    return network.eval(), header
