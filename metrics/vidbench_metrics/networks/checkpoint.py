"""Reading published weight files: tensors by key and nothing else, refused unless they are exactly the network's."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidbench.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor

COUNTER = "num_batches_tracked"


def refusal(file: str, network: str, why: str, command: str) -> PluginError:
    """The error for a file that is not what it should be.

    Args:
        file: its name.
        network: whose weights it should hold.
        why: in words.
        command: what brings the right file.
    """
    return PluginError(f"{file} does not hold the weights of {network}: {why}; remove it and run: {command}")


def read_state(data: bytes, file: str, network: str, command: str, key: str | None = None) -> dict[str, Any]:
    """What a PyTorch file holds by key; nothing but tensors and plain containers is ever unpickled.

    Args:
        data: its bytes.
        file: its name, for messages.
        network: whose weights it should hold, for messages.
        command: what brings the right file, for messages.
        key: the entry that holds the tensors, where they are not at the top.

    Raises:
        PluginError: it is no such file.
    """
    import torch

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise refusal(file, network, f"it cannot be read as a PyTorch file of tensors ({reason})", command) from None
    if key is not None:
        if not isinstance(state, Mapping) or key not in state:
            raise refusal(file, network, f"it has no entry '{key}'", command)
        state = state[key]
    if not isinstance(state, Mapping):
        raise refusal(file, network, f"it holds a {type(state).__name__}, not tensors by key", command)
    return {str(name): value for name, value in state.items()}


def checked(
    state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], file: str, network: str, command: str
) -> dict[str, Tensor]:
    """The tensors as float32, once they are known to be those of the network.

    Counters of batch norms play no part.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """
    import torch

    given = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    found: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        value = given.pop(key, None)
        if not isinstance(value, torch.Tensor):
            raise refusal(file, network, f"the tensor {key} is missing", command)
        if tuple(value.shape) != shape:
            raise refusal(file, network, f"{key} has the shape {tuple(value.shape)}, not {shape}", command)
        if not bool(torch.isfinite(value).all()):
            raise refusal(file, network, f"{key} holds NaN or infinity", command)
        found[key] = value.detach().float().contiguous()
    if given:
        raise refusal(file, network, f"it holds {next(iter(given))}, which the network does not have", command)
    return found
