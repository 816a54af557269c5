"""Networks on disk: all that is kept comes back, and files that cannot be right are refused by name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vidbench.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

from safetensors.torch import load_file, save_file  # noqa: E402

from vidbench.worldmodel import checkpoint  # noqa: E402
from vidbench.worldmodel.config import DiTConfig  # noqa: E402
from vidbench.worldmodel.dit import DiT  # noqa: E402

CONFIG = DiTConfig(
    patch=(1, 4, 4), width=24, depth=2, heads=2, past_frames=1, actions=3, reward=True, temporal_blocks=(1,)
)


@pytest.fixture
def kept(tmp_path):
    torch.manual_seed(0)
    network = DiT(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    checkpoint.save(tmp_path / "net.safetensors", network, {"seed": "7"})
    return tmp_path / "net.safetensors", network


def _header(path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def test_a_network_comes_back_as_it_was(kept) -> None:
    path, network = kept
    again, notes = checkpoint.load(path)
    assert again.config == CONFIG
    assert notes == {"seed": "7"}
    assert not again.training
    x, t, past = torch.randn(1, 3, 2, 8, 8), torch.zeros(1), torch.randn(1, 3, 2, 8, 8)
    torch.testing.assert_close(again(x, t, past=past).frames, network.eval()(x, t, past=past).frames)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in again.state_dict().items())
    again(x, t, past=past).frames.sum().backward()  # it can be trained further


@pytest.mark.parametrize(
    "config",
    [CONFIG, DiTConfig(), DiTConfig(attention="window", window=(2, 3, 4), temporal_blocks=(), prompt_width=8)],
)
def test_configs_survive_json(config) -> None:
    assert checkpoint.config_from_json(checkpoint.config_to_json(config)) == config


def _rewritten(path, **header: str):
    save_file(load_file(path), path, {**_header(path), **header})
    return path


def test_files_that_are_no_network_are_refused(kept, tmp_path) -> None:
    path, _ = kept
    with pytest.raises(InputError, match=r"none\.safetensors cannot be read as a network"):
        checkpoint.load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match=r"text\.safetensors cannot be read as a network"):
        checkpoint.load(tmp_path / "text.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cut\.safetensors cannot be read as a network"):
        checkpoint.load(tmp_path / "cut.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors is not a network of vidbench's"):
        checkpoint.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("[1]", "is no JSON object"),
        ("{", "is no JSON object"),
        ('{"colour": 3}', "unknown fields: colour"),
        ('{"width": "24"}', "width must be a whole number"),
        ('{"width": 1000000000}', "width must be a whole number from 1 to 16384"),
        ('{"patch": 3}', "patch must be three whole numbers"),
        ('{"attention": ["joint"]}', "attention must be one of"),
        ('{"temporal_blocks": 1}', "temporal_blocks"),
    ],
)
def test_configs_that_cannot_be_are_refused_with_the_file(kept, words, message) -> None:
    path = _rewritten(kept[0], config=words)
    with pytest.raises(InputError, match=rf"net\.safetensors: .*{message}"):
        checkpoint.load(path)


def test_weights_of_another_config_are_refused(kept) -> None:
    path = _rewritten(kept[0], config=checkpoint.config_to_json(replace(CONFIG, depth=3)))
    with pytest.raises(InputError, match=r"net\.safetensors: blocks\.2\.\S+ has shape none in the file"):
        checkpoint.load(path)
    path = _rewritten(path, config=checkpoint.config_to_json(replace(CONFIG, actions=4)))
    with pytest.raises(
        InputError, match=r"conditions\.action\.table\.weight has shape \(4, 24\) in the file and \(5, 24\)"
    ):
        checkpoint.load(path)


def test_a_folder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        checkpoint.save(tmp_path / "none" / "net.safetensors", DiT(CONFIG))


def test_the_header_is_json_that_others_can_read(kept) -> None:
    header = _header(kept[0])
    assert header["format"] == "vidbench-dit-1"
    assert json.loads(header["config"])["temporal_blocks"] == [1]
