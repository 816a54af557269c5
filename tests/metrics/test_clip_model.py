"""CLIP's towers: OpenAI's archives and files of one's own against open_clip's own loading; refused files and names."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidbench import weights
from vidbench.errors import InputError, PluginError, WeightsError
from vidbench_metrics import clip_model
from vidbench_metrics.clip_model import ClipFile, ClipSource, image_tower, read_tensors, text_tower
from vidbench_metrics.clip_preprocess import MEAN, ModelInput, model_input
from vidbench_metrics.clip_text import embed_prompt
from vidbench_metrics.extractors.clip_image import ClipImage

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[models]'")
open_clip: Any = pytest.importorskip("open_clip", reason="open_clip is not installed: pip install 'vidbench[models]'")

State = dict[str, Any]


@pytest.fixture(scope="module")
def config(tiny_clip: Callable[[str], State]) -> State:
    return {**tiny_clip("ViT-B-32"), "quick_gelu": True}


@pytest.fixture(scope="module")
def state(config: State, clip_state: Callable[..., State]) -> State:
    return clip_state(config, seed=3)


@pytest.fixture
def own(config: State, tmp_path: Path) -> Callable[[bytes], ClipSource]:
    """A model of one's own: the small architecture as a JSON file, and the given bytes as its weights."""

    def make(data: bytes, **changes: Any) -> ClipSource:
        (tmp_path / "own.json").write_text(json.dumps({"model_cfg": {**config, **changes}}))
        (tmp_path / "own.pt").write_bytes(data)
        return ClipSource(str(tmp_path / "own.json"), str(tmp_path / "own.pt"))

    return make


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def openai_archive(state: State) -> bytes:
    """A TorchScript program whose tensors are named, typed and nested as in OpenAI's archives."""

    class Part(torch.nn.Module):  # type: ignore[misc]
        pass

    class Whole(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("nobody is to run this")

    root = Whole()
    for key, value in state.items():
        place: Any = root
        *folders, leaf = key.split(".")
        for folder in folders:
            if folder not in dict(place.named_children()):
                place.add_module(folder, Part())
            place = getattr(place, folder)
        half = not ("ln_" in key or "embedding" in key or key == "logit_scale")
        place.register_parameter(leaf, torch.nn.Parameter(value.half() if half else value, requires_grad=False))
    for name, number in (("input_resolution", 64), ("context_length", 77), ("vocab_size", 49408)):
        root.register_buffer(name, torch.tensor(number))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(root), file)
    return file.getvalue()


def plain_network(config: State, state: State) -> Any:
    """The whole CLIP as open_clip makes it."""
    network = open_clip.model.CLIP(
        config["embed_dim"], config["vision_cfg"], config["text_cfg"], quick_gelu=config["quick_gelu"]
    )
    network.load_state_dict(state)
    return network.eval()


def pictures(side: int = 64) -> Any:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((3, 3, side, side)).astype(np.float32))


def agrees(ours: Any, theirs: Any) -> bool:
    return bool((ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()) and bool(theirs.abs().max() > 0.1)


def test_openais_archive_gives_what_open_clips_own_loader_gives(
    state: State, tiny_clip: Callable[[str], State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small archive of their layout stands in as the published file."""
    archive = tmp_path / "archive.pt"
    archive.write_bytes(openai_archive(state))
    row = replace(weights.find("clip-vit-b-32"), sha256=weights._hash(archive).sha256)
    published = {**weights.table(), row.name: row}
    monkeypatch.setattr(weights, "table", lambda: published)
    monkeypatch.setattr(clip_model, "model_config", tiny_clip)
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "folder"))
    weights.import_file(row, archive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = open_clip.load_openai_model(str(archive), precision="fp32", device="cpu")
    source = ClipSource("ViT-B-32")
    file = source.read()
    assert file.unpublished == ""
    tokens = open_clip.tokenize(["a dog", "two cats in a basket"])
    with torch.inference_mode():
        assert agrees(image_tower(source, file)(pictures()), theirs.encode_image(pictures()))
        assert agrees(text_tower(source, file)(tokens), theirs.encode_text(tokens))
        vector = torch.from_numpy(embed_prompt(source, "a dog").vector.copy())
        assert agrees(vector, theirs.encode_text(tokens)[0])
    assert ClipImage().weights_checksum() == f"sha256:{row.sha256}"
    # The same file under a path of the user's own is known by its checksum, and so is its QuickGELU.
    here = ClipSource("ViT-B-32", str(archive))
    assert here.read().unpublished == ""
    assert here.config()["quick_gelu"] is True


def test_an_archive_that_is_not_the_published_one_is_not_opened(
    state: State, own: Callable[..., ClipSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(
        PluginError, match=r"own\.pt is a TorchScript program and not the published one.*state_dict\(\)"
    ):
        own(openai_archive(state)).read()


def to_transformers(state: State) -> State:
    """Open_clip's keys to those of transformers' CLIPModel, written from the two models' definitions."""
    made: State = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    for key, value in state.items():
        tower, rest = ("vision_model", key[7:]) if key.startswith("visual.") else ("text_model", key)
        if rest.startswith("transformer.resblocks."):
            _, _, number, layer = rest.split(".", 3)
            layer = layer.replace("ln_1", "layer_norm1").replace("ln_2", "layer_norm2").replace("c_fc", "fc1")
            layer = layer.replace("c_proj", "fc2").replace("attn.out_proj", "self_attn.out_proj")
            if layer.startswith("attn.in_proj_"):
                for name, piece in zip("qkv", value.chunk(3), strict=True):
                    made[f"{tower}.encoder.layers.{number}.self_attn.{name}_proj.{layer[13:]}"] = piece
            else:
                made[f"{tower}.encoder.layers.{number}.{layer}"] = value
            continue
        name = {
            "proj": "visual_projection.weight",
            "text_projection": "text_projection.weight",
            "class_embedding": "vision_model.embeddings.class_embedding",
            "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
            "positional_embedding": f"{tower}.embeddings.position_embedding.weight",
            "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        }.get(rest, rest)
        for theirs, mine in (
            ("ln_pre", "pre_layrnorm"),
            ("ln_post", "post_layernorm"),
            ("ln_final", "final_layer_norm"),
        ):
            name = name.replace(theirs, f"{tower}.{mine}")
        made[name] = value.T if "projection" in name else value
    return made


def _safetensors(state: State) -> bytes:
    from safetensors.torch import save

    return bytes(save({key: value.clone() for key, value in state.items()}))


def _custom_text(state: State) -> State:
    return {k if k.startswith(("visual.", "logit")) else f"text.{k}": v for k, v in state.items()}


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(saved, id="pytorch"),
        pytest.param(_safetensors, id="safetensors"),
        pytest.param(lambda s: saved({k: v.half() for k, v in s.items()}), id="half precision"),
        pytest.param(
            lambda s: saved({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in s.items()}}), id="training"
        ),
        pytest.param(lambda s: saved(_custom_text(s)), id="text tower with a prefix"),
        pytest.param(
            lambda s: _safetensors({k: v.contiguous() for k, v in to_transformers(s).items()}), id="transformers"
        ),
    ],
)
def test_files_of_ones_own_give_what_open_clip_gives(
    form: Callable[[State], bytes], state: State, config: State, own: Callable[..., ClipSource]
) -> None:
    source, theirs = own(form(state)), plain_network(config, state)
    file = source.read()
    tokens = open_clip.tokenize(["a dog", "two cats in a basket"])
    with torch.inference_mode():
        assert agrees(image_tower(source, file)(pictures()), theirs.encode_image(pictures()))
        assert agrees(text_tower(source, file)(tokens), theirs.encode_text(tokens))
    assert file.unpublished.startswith("sha256:")
    assert source.checksum().startswith(file.unpublished)


def test_the_activation_is_the_configs(state: State, config: State, own: Callable[..., ClipSource]) -> None:
    source = own(saved(state), quick_gelu=False)
    with torch.inference_mode():
        got = image_tower(source, source.read())(pictures())
        assert agrees(got, plain_network({**config, "quick_gelu": False}, state).encode_image(pictures()))
        assert not agrees(got, plain_network(config, state).encode_image(pictures()))


@pytest.mark.parametrize(
    "vision",
    [
        pytest.param({"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}, id="resnet"),
        pytest.param({"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "image_size": 224}, id="timm vit"),
        pytest.param({"timm_model_name": "resnet18", "timm_pool": "avg", "image_size": 64}, id="timm resnet"),
    ],
)
def test_other_image_towers_of_open_clip_load_too(vision: State, config: State, own: Callable[..., ClipSource]) -> None:
    torch.manual_seed(0)
    whole = {**config, "vision_cfg": vision}
    theirs = open_clip.model.CLIP(64, vision, config["text_cfg"], quick_gelu=True).eval()
    source = own(saved(theirs.state_dict()), **whole)
    with torch.inference_mode():
        shown = pictures(vision["image_size"])
        ours, wanted = image_tower(source, source.read())(shown), theirs.encode_image(shown)
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert wanted.abs().max() > 0


def _without(key: str) -> Callable[[State], State]:
    return lambda state: {k: v for k, v in state.items() if k != key}


@pytest.mark.parametrize(
    ("damage", "tower", "said"),
    [
        (_without("visual.ln_post.bias"), image_tower, "the tensor visual.ln_post.bias is missing"),
        (_without("ln_final.bias"), text_tower, "the tensor ln_final.bias is missing"),
        (
            lambda s: {**s, "visual.proj": s["visual.proj"][:, :60]},
            image_tower,
            r"visual.proj has the shape \(128, 60\), not \(128, 64\)",
        ),
        (lambda s: {**s, "text_projection": s["text_projection"] * np.inf}, text_tower, "text_projection holds NaN"),
        (lambda s: {**s, "visual.head.weight": s["visual.proj"]}, image_tower, "it holds visual.head.weight, which"),
        (lambda s: {**s, "decoder.weight": s["visual.proj"]}, image_tower, "decoder.weight belongs to no part of one"),
    ],
)
def test_a_state_that_is_not_the_models_is_refused(
    damage: Callable[[State], State], tower: Callable[..., Any], said: str, state: State, own: Callable[..., ClipSource]
) -> None:
    source = own(saved(damage(state)))
    with pytest.raises(PluginError, match=said) as caught:
        tower(source, source.read())
    assert str(caught.value).startswith("own.pt does not hold")
    assert "\n" not in str(caught.value)


class _Danger:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_files_of_other_kinds_are_refused_and_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "was unpickled"
    files = [
        b"a text file",
        b"",
        b"\x08\0\0\0\0\0\0\0{not json and so on",
        saved([1, 2]),
        saved({"visual.proj": 5}),
        saved({"visual.proj": _Danger(trap)}),
        saved({"state_dict": {"visual.proj": torch.zeros(2)}})[:-200],
    ]
    for data in files:
        with pytest.raises(PluginError, match=r"^f\.pt is no file of CLIP: ") as caught:
            read_tensors(data, "f.pt", program=True)
        assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_a_wrong_checksum_is_refused(clip_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file in place without --unpublished, as after a damaged copy."""
    (tmp_path / "ViT-B-32.pt").write_bytes((clip_weights / "ViT-B-32.pt").read_bytes())
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"wrong checksum: sha256 .*published is 40d365715913c9da…; remove it and"):
        ClipImage().load()
    assert "wrong checksum" in (ClipImage().requirements().missing() or "")


def test_missing_weights_name_the_command_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    for model, row in clip_model.OPENAI.items():
        made = ClipImage.from_mapping({"model": model})
        assert (made.requirements().missing() or "").endswith(f"vidbench weights fetch {row}")
        with pytest.raises(WeightsError, match=f"vidbench weights fetch {row}$"):
            made.load()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "ViT-B-23"}, "no model 'ViT-B-23'; did you mean ViT-B-32 or"),
        ({"model": "qqqqqqqq"}, "no model 'qqqqqqqq'; .*list_models"),
        ({"model": "ViT-H-14"}, "OpenAI published weights of ViT-B-32, .*; for ViT-H-14 name a weight file"),
        ({"model": "mine.json"}, "mine.json is a model of your own: name its weight file too"),
        ({"preprocess": "squash"}, "preprocess must be one of official, huggingface, vbench"),
        ({"sampling": "some"}, "sampling must be one of all, even, first"),
        ({"sampling": "even"}, "frames must be 0 with sampling=all and at least 1 otherwise"),
        ({"frames": 3}, "frames must be 0 with sampling=all"),
    ],
)
def test_choices_that_make_no_sense_are_refused(values: State, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ClipImage.from_mapping(values)


def test_files_that_are_not_there_or_no_models_are_named(tmp_path: Path) -> None:
    gone = ClipSource("ViT-H-14", str(tmp_path / "gone.pt"))
    for use in (gone.checksum, gone.read):
        with pytest.raises(InputError, match=r"gone\.pt cannot be read \(No such file"):
            use()
    broken = tmp_path / "broken.json"
    for content, said in (
        ("{", "cannot be read as a model's JSON"),
        ("[]", "no model"),
        ('{"embed_dim": 4}', "no model"),
    ):
        broken.write_text(content)
        with pytest.raises(InputError, match=said):
            ClipSource(str(broken), str(tmp_path / "x.pt")).config()


def test_texts_that_need_another_tokenizer_are_refused() -> None:
    source = ClipSource("ViT-B-16-SigLIP", "siglip.pt")
    with pytest.raises(PluginError, match="texts of ViT-B-16-SigLIP need another tokenizer"):
        text_tower(source, ClipFile({}, "siglip.pt", ""))


def test_what_a_model_was_trained_on_comes_from_open_clip_or_its_json_file() -> None:
    assert model_input("ViT-B-32", 224, {}) == ModelInput()
    siglip = model_input("ViT-B-16-SigLIP", 224, {})
    assert (siglip.mean, siglip.squashed, siglip.bilinear) == ((0.5, 0.5, 0.5), True, False)
    assert model_input("MobileCLIP-B", 224, {}).bilinear
    own = model_input("own.json", 64, {"mean": [0.1, 0.2, 0.3], "resize_mode": "squash"})
    assert (own.mean, own.squashed, own.std) == ((0.1, 0.2, 0.3), True, ModelInput().std)
    assert model_input("own.json", 64, {"std": [1, 1, 1]}).mean == MEAN
    with pytest.raises(PluginError, match="resized by nearest"):
        model_input("own.json", 64, {"interpolation": "nearest"})


def test_a_changed_json_file_is_another_model(own: Callable[..., ClipSource]) -> None:
    before = own(b"weights").checksum()
    assert own(b"weights").checksum() == before
    assert own(b"weights", quick_gelu=False).checksum() != before
