"""CLIP's two towers from local files, through open_clip: which architecture, which file, and what may be in it.

Radford et al., arXiv 2103.00020. Architectures are those of the installed open_clip, by name, or a JSON file in its
form. Weights are OpenAI's published files (rows `clip-…` of the weights table) or a file of one's own. OpenAI's files
are TorchScript programs; they are opened only if they are the published ones, and of those too only the tensors are
used. Everything else is read tensor by tensor: nothing is unpickled, nothing is downloaded.

One tower is built at a time, since the image tower sits in the extractor and the text tower in the metrics that read
prompts.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidbench import weights
from vidbench.errors import InputError, PluginError
from vidbench.extractor import Requires

if TYPE_CHECKING:
    from torch import Tensor

MODULES = ("torch", "open_clip", "PIL")
PUBLISHED = "openai"
"""The value of the parameter `weights` that means the published file of the model."""
OPENAI = {
    "ViT-B-32": "clip-vit-b-32",
    "ViT-B-16": "clip-vit-b-16",
    "ViT-L-14": "clip-vit-l-14",
    "ViT-L-14-336": "clip-vit-l-14-336",
}
"""Rows of the weights table by open_clip's name of the architecture."""
TEXT_PARTS = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
"""How the text tower's keys begin where they have no prefix of their own."""
OTHER_PARTS = ("logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size", "text_decoder.")
"""Keys of a whole CLIP that belong to neither tower."""
WORDS = 49408
"""Size of the vocabulary of OpenAI's tokenizer."""


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A model and its weights, as the user names them.

    Raises:
        InputError: there is no such architecture, or no published file for it.
    """

    model: str = "ViT-B-32"
    """An architecture of open_clip by name, or the path of a JSON file in the form of `open_clip_config.json`."""
    weights: str = PUBLISHED
    """`openai` for the published file, or the path of a file."""

    def __post_init__(self) -> None:
        if self.model.endswith(".json"):
            if self.weights == PUBLISHED:
                raise InputError(f"{self.model} is a model of your own: name its weight file too (weights=FILE)")
            return
        known = architectures()
        if known and self.model not in known:
            raise InputError(f"open_clip has no model '{self.model}'{_near(self.model, known)}")
        if self.weights == PUBLISHED and self.row is None:
            raise InputError(
                f"OpenAI published weights of {', '.join(OPENAI)}; for {self.model} name a weight file (weights=FILE)"
            )

    @property
    def row(self) -> str | None:
        """The row of the weights table; None for a file of the user's own, or where there is none."""
        return OPENAI.get(self.model.removesuffix("-quickgelu")) if self.weights == PUBLISHED else None

    def requirements(self) -> Requires:
        """The packages, and the row of the weights table where it is one."""
        return Requires("models", MODULES, () if self.row is None else (self.row,))

    def checksum(self) -> str:
        """`sha256:…` of the weights, with that of the JSON file where there is one.

        Raises:
            WeightsError: the published file is missing or wrong.
            InputError: the user's own file cannot be read.
        """
        if self.row is not None:
            return weights.require(self.row).checksum()
        remark = "" if self._is_published() else " (not OpenAI's published weights)"
        own = f"sha256:{_file_sha256(Path(self.weights))}{remark}"
        return f"{own} config sha256:{_file_sha256(Path(self.model))}" if self.model.endswith(".json") else own

    def config(self) -> dict[str, Any]:
        """The architecture: embed_dim, vision_cfg, text_cfg, quick_gelu and perhaps preprocess_cfg.

        Raises:
            InputError: it cannot be read or is no architecture.
        """
        config = model_config(self.model)
        # OpenAI trained with QuickGELU; open_clip's plain names mean those that were trained with GELU.
        return {**config, "quick_gelu": True} if self.row is not None or self._is_published() else config

    def _is_published(self) -> bool:
        """Whether the user's own file is one that OpenAI published."""
        row = OPENAI.get(self.model.removesuffix("-quickgelu"))
        return row is not None and weights.find(row).sha256 == _file_sha256(Path(self.weights))

    def read(self) -> ClipFile:
        """The file's tensors by open_clip's keys.

        Raises:
            WeightsError: the published file is missing or wrong.
            InputError: the user's own file cannot be read.
            PluginError: it holds no tensors, or is a program that nobody published.
        """
        if self.row is not None:
            data, found = weights.read(self.row)
            state = read_tensors(data, found.path.name, program=found.origin == "published")
            unpublished = f"sha256:{found.sha256}" if found.origin == "unpublished" else ""
            return ClipFile(state, found.path.name, unpublished)
        path = Path(self.weights)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror or error}); name the weight file of CLIP"
            ) from None
        sha256, row = hashlib.sha256(data).hexdigest(), OPENAI.get(self.model.removesuffix("-quickgelu"))
        published = row is not None and weights.find(row).sha256 == sha256
        state = read_tensors(data, path.name, program=published)
        return ClipFile(state, path.name, "" if published else f"sha256:{sha256}")


@dataclass(frozen=True, slots=True)
class ClipFile:
    """What was read."""

    state: Mapping[str, Tensor]
    """Tensors by key, both towers."""
    name: str
    """Of the file, for messages."""
    unpublished: str
    """Checksum of weights that are not OpenAI's published ones, else empty."""


def other_weights(unpublished: str) -> str | None:
    """What must be said of a value that other weights than OpenAI's gave.

    Args:
        unpublished: their checksum, empty where they are OpenAI's.
    """
    if not unpublished:
        return None
    return (
        f"not computed with OpenAI's published weights (checksum {unpublished[:23]}… differs), so it compares with no "
        "published number"
    )


@functools.lru_cache(maxsize=1)
def architectures() -> tuple[str, ...]:
    """Names of the architectures that the installed open_clip brings; none where it is not installed.

    Its files are listed without importing it, which would import torch.
    """
    return tuple(sorted(path.stem for folder in _config_folders() for path in folder.glob("*.json")))


def _config_folders() -> list[Path]:
    spec = importlib.util.find_spec("open_clip")
    return [Path(place) / "model_configs" for place in (spec.submodule_search_locations or ())] if spec else []


def model_config(model: str) -> dict[str, Any]:
    """The architecture of that name, or in that JSON file.

    Raises:
        InputError: it cannot be read, or lacks embed_dim, vision_cfg or text_cfg.
    """
    if model.endswith(".json"):
        path = Path(model)
    else:
        found = [folder / f"{model}.json" for folder in _config_folders() if (folder / f"{model}.json").is_file()]
        if not found:
            raise InputError(f"open_clip has no model '{model}'{_near(model, architectures())}")
        path = found[0]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a model's JSON file ({' '.join(str(error).split())})") from None
    inner = content.get("model_cfg", content) if isinstance(content, dict) else None
    if not isinstance(inner, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= inner.keys():
        raise InputError(f"{path} is no model of open_clip: embed_dim, vision_cfg and text_cfg are needed")
    return {**inner, "preprocess_cfg": content.get("preprocess_cfg", {})}


def image_size(config: Mapping[str, Any]) -> int:
    """Side of the square pictures that the image tower takes.

    Raises:
        PluginError: they are not square.
    """
    size = config["vision_cfg"].get("image_size", 224)
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise PluginError(f"the model takes pictures of {size}; only square ones are supported")
    return int(next(iter(sides)))


def read_tensors(data: bytes, file: str, *, program: bool) -> dict[str, Tensor]:
    """Tensors by open_clip's keys from the bytes of safetensors, a PyTorch file of tensors, or a TorchScript program.

    Args:
        data: the file's content.
        file: its name, for messages.
        program: whether a TorchScript program may be opened; what it would compute is never called.

    Raises:
        PluginError: it is none of these, or a program that may not be opened; says what to do.
    """
    import torch

    try:
        content = _parse(data, file, program=program)
    except PluginError:
        raise
    except Exception as error:  # torch and safetensors raise a dozen kinds for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise PluginError(
            f"{file} is no file of CLIP: it cannot be read as safetensors or PyTorch ({reason})"
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # as open_clip's training leaves it, beside the optimizer
    if not isinstance(content, Mapping):
        raise PluginError(f"{file} is no file of CLIP: it holds a {type(content).__name__}, not tensors by key")
    state = {str(key).removeprefix("module."): value for key, value in content.items()}
    bad = next((key for key, value in state.items() if not isinstance(value, torch.Tensor)), None)
    if bad is not None:
        raise PluginError(f"{file} is no file of CLIP: {bad} is a {type(state[bad]).__name__}, not a tensor")
    return from_transformers(state) if "vision_model.embeddings.class_embedding" in state else state


def _parse(data: bytes, file: str, *, program: bool) -> Any:
    import torch

    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        from safetensors.torch import load

        return load(data)
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            is_program = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if is_program and not program:
            raise PluginError(
                f"{file} is a TorchScript program and not the published one, and no other is opened; where you trust "
                f"it, save its tensors: torch.save(torch.jit.load('{file}', 'cpu').state_dict(), 'tensors.pt')"
            )
        if is_program:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the format, which is OpenAI's choice
                return torch.jit.load(io.BytesIO(data), map_location="cpu").state_dict()
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of Hugging Face's CLIPModel to those of open_clip; what is not known keeps its name."""
    import torch

    plain = {
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
    }
    for part in ("weight", "bias"):
        plain[f"vision_model.pre_layrnorm.{part}"] = f"visual.ln_pre.{part}"  # their spelling
        plain[f"vision_model.post_layernorm.{part}"] = f"visual.ln_post.{part}"
        plain[f"text_model.final_layer_norm.{part}"] = f"ln_final.{part}"
    inside = {
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    made: dict[str, Tensor] = {}
    for key, value in state.items():
        tower, _, rest = key.partition(".encoder.layers.")
        if key.endswith(".position_ids"):
            continue
        if key in ("visual_projection.weight", "text_projection.weight"):
            made["visual.proj" if key[0] == "v" else "text_projection"] = value.T
        elif not rest:
            made[plain.get(key, key)] = value
        else:
            number, _, layer = rest.partition(".")
            block = f"{'visual.' if tower == 'vision_model' else ''}transformer.resblocks.{number}"
            name, _, part = layer.rpartition(".")
            if name == "self_attn.q_proj":
                pieces = [state.get(f"{key[: key.rindex('q_proj')]}{p}_proj.{part}") for p in "qkv"]
                if all(piece is not None for piece in pieces):
                    made[f"{block}.attn.in_proj_{part}"] = torch.cat(pieces)
            elif name not in ("self_attn.k_proj", "self_attn.v_proj"):
                made[f"{block}.{inside.get(name, name)}.{part}"] = value
    return made


def image_tower(source: ClipSource, file: ClipFile) -> Any:
    """The image tower in evaluation mode: (n, 3, side, side) float32 to (n, embed_dim), not normalised.

    Raises:
        PluginError: the file's tensors are not the model's.
        InputError: the model cannot be read.
    """
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    config = source.config()

    def build() -> Any:
        return _build_vision_tower(config["embed_dim"], CLIPVisionCfg(**config["vision_cfg"]), config_gelu(config))

    _check_groups(file)
    own = {key.removeprefix("visual."): value for key, value in file.state.items() if key.startswith("visual.")}
    return _filled(build, own, "visual.", source.model, file.name)


def text_tower(source: ClipSource, file: ClipFile) -> Any:
    """The text tower in evaluation mode: (n, context_length) tokens to (n, embed_dim), not normalised.

    Raises:
        PluginError: the file's tensors are not the model's, or its texts need a tokenizer that comes from the network.
        InputError: the model cannot be read.
    """
    from open_clip.model import CLIPTextCfg, _build_text_tower

    config = source.config()
    settings = {**config["text_cfg"], "output_tokens": False}
    if settings.get("hf_model_name") or settings.get("hf_tokenizer_name") or settings.get("vocab_size", WORDS) < WORDS:
        raise PluginError(
            f"the texts of {source.model} need another tokenizer than OpenAI's, which vidbench does not bring: its "
            "pictures can be compared with each other, but not with prompts"
        )

    def build() -> Any:
        return _build_text_tower(config["embed_dim"], CLIPTextCfg(**settings), config_gelu(config))

    _check_groups(file)
    prefix = "text." if any(key.startswith("text.") for key in file.state) else ""
    own = {key.removeprefix(prefix): value for key, value in file.state.items() if key.startswith(prefix or TEXT_PARTS)}
    tower = _filled(build, own, prefix, source.model, file.name)
    if tower.attn_mask is not None:
        tower.attn_mask = tower.build_causal_mask()  # is in no file
    return tower


def config_gelu(config: Mapping[str, Any]) -> bool:
    """Whether the model was trained with QuickGELU."""
    return bool(config.get("quick_gelu", False))


def _check_groups(file: ClipFile) -> None:
    """Refuse tensors that belong to no part of a CLIP."""
    known = ("visual.", "text.", *TEXT_PARTS, *OTHER_PARTS)
    strange = next((key for key in file.state if not key.startswith(known)), None)
    if strange is not None:
        raise PluginError(
            f"{file.name} does not hold a CLIP with open_clip's keys: {strange} belongs to no part of one"
        )


def _filled(build: Any, own: Mapping[str, Tensor], prefix: str, model: str, file: str) -> Any:
    """The tower with these tensors, which must be exactly its own, as float32."""
    import torch

    def refusal(why: str) -> PluginError:
        return PluginError(f"{file} does not hold {model}: {why}")

    with torch.device("meta"):  # no random numbers are drawn for hundreds of millions of weights
        tower = build()
    wanted = tower.state_dict()
    for key, tensor in wanted.items():
        if key not in own:
            raise refusal(f"the tensor {prefix}{key} is missing")
        if own[key].shape != tensor.shape:
            raise refusal(f"{prefix}{key} has the shape {tuple(own[key].shape)}, not {tuple(tensor.shape)}")
        if own[key].is_floating_point() and not bool(torch.isfinite(own[key]).all()):
            raise refusal(f"{prefix}{key} holds NaN or infinity")
    strange = next((key for key in own if key not in wanted), None)
    if strange is not None:
        raise refusal(f"it holds {prefix}{strange}, which the model does not have")
    plain = {key: value.float() if value.is_floating_point() else value for key, value in own.items()}
    if any(name not in wanted and name != "attn_mask" for name, _ in tower.named_buffers()):
        tower = build()  # some towers of timm compute what is in no file
    tower.load_state_dict({key: value.contiguous() for key, value in plain.items()}, assign=True)
    return tower.requires_grad_(False).eval()


def _near(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return (
        f"; did you mean {' or '.join(close)}?"
        if close
        else "; python -c 'import open_clip; print(open_clip.list_models())' names all"
    )


def _file_sha256(path: Path) -> str:
    try:
        facts = path.stat()
        return _sha256_of(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); name a file of CLIP") from None


@functools.lru_cache(maxsize=8)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
