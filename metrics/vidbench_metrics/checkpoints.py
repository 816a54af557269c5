"""Reading weight files of networks: nothing but tensors, and exactly those that the network has."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from vidbench.errors import PluginError

Shapes = Mapping[str, tuple[int, ...]]


def refusal(file: str, what: str, name: str, why: str) -> PluginError:
    """The error of a file that is not what it should be.

    Args:
        file: its name.
        what: what it should be, as in `the I3D checkpoint`.
        name: the row of the weights table.
        why: what is wrong with it.
    """
    return PluginError(f"{file} is not {what}: {why}; remove it and run: vidbench weights fetch {name}")


def load_tensors(data: bytes, file: str, what: str, name: str) -> Mapping[str, Any]:
    """What a PyTorch file holds, read without unpickling anything but tensors and plain values.

    Raises:
        PluginError: it cannot be read so, or holds no dictionary.
    """
    import torch

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise refusal(file, what, name, f"it cannot be read as a PyTorch file of tensors ({reason})") from None
    if not isinstance(state, Mapping):
        raise refusal(file, what, name, f"it holds a {type(state).__name__}, not tensors by key")
    return state


def part(state: Mapping[str, Any], keys: tuple[str, ...], file: str, what: str, name: str) -> Mapping[str, Any]:
    """The first of `keys` that `state` has, or `state` itself where it has none.

    Raises:
        PluginError: what stands there is no dictionary.
    """
    for key in keys:
        if key in state:
            inner = state[key]
            if not isinstance(inner, Mapping):
                raise refusal(file, what, name, f"its {key} is a {type(inner).__name__}, not tensors by key")
            return inner
    return state


def check_tensors(
    state: Mapping[str, Any], shapes: Shapes, file: str, what: str, name: str, *, unused: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The network's tensors by key, all there, of the right shape and finite.

    Args:
        state: tensors by key.
        shapes: what the network has.
        file: the file's name, for messages.
        what: what it should be.
        name: the row of the weights table.
        unused: endings of keys that play no part.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """
    import torch

    given = {str(key): value for key, value in state.items() if not str(key).endswith(unused)}
    found = {}
    for key, shape in shapes.items():
        value = given.pop(key, None)
        if not isinstance(value, torch.Tensor):
            raise refusal(file, what, name, f"the tensor {key} is missing")
        if tuple(value.shape) != shape:
            raise refusal(file, what, name, f"{key} has the shape {tuple(value.shape)}, not {shape}")
        if not bool(torch.isfinite(value).all()):
            raise refusal(file, what, name, f"{key} holds NaN or infinity")
        found[key] = value
    if given:
        raise refusal(file, what, name, f"it holds {next(iter(given))}, which the network does not have")
    return found
