"""The models that the simulated Ollama server has pulled, and how it describes them.

Source: https://docs.ollama.com/api/tags and /api/show; names, sizes and capabilities as the library lists them (2026-11).
"""

import hashlib
from datetime import UTC, datetime

import msgspec

from tokenrouter.sandbox.wire import JsonObject, Refusal

VERSION = "0.40.12"
PULLED_NS = 1_790_000_000 * 1_000_000_000
_REGISTRY = "registry.ollama.ai/library/"
_COMPLETION = ("completion", "tools")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One pulled model.

    size        bytes on disk and in memory
    context     the longest prompt it was trained for, in tokens
    dimensions  length of its embeddings
    call_ids    its tool calls carry an id and an index, as every model's do since server 0.13; older servers sent neither
    """

    name: str
    family: str
    size: int
    parameters: int
    context: int
    dimensions: int
    capabilities: tuple[str, ...] = ("completion",)
    quantization: str = "Q4_K_M"
    call_ids: bool = False

    @property
    def full_name(self) -> str:
        """The name as errors of the scheduler spell it."""
        return _REGISTRY + self.name

    @property
    def digest(self) -> str:
        """What identifies the pulled files."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def can(self, capability: str) -> bool:
        """Whether the model has a capability: completion, tools, vision, thinking, insert, embedding."""
        return capability in self.capabilities


MODELS = {
    model.name: model
    for model in (
        Model(
            name="llama3.2:latest",
            family="llama",
            size=2_019_393_189,
            parameters=3_212_749_888,
            context=131_072,
            dimensions=3072,
            capabilities=_COMPLETION,
        ),
        Model(
            name="qwen3:8b",
            family="qwen3",
            size=5_225_388_164,
            parameters=8_190_735_360,
            context=40_960,
            dimensions=4096,
            capabilities=(*_COMPLETION, "thinking"),
        ),
        Model(
            name="gpt-oss:20b",
            family="gptoss",
            size=13_793_441_244,
            parameters=20_914_757_184,
            context=131_072,
            dimensions=2880,
            capabilities=(*_COMPLETION, "thinking"),
            quantization="MXFP4",
            call_ids=True,
        ),
        Model(
            name="gemma3:4b",
            family="gemma3",
            size=3_338_801_804,
            parameters=4_299_915_632,
            context=131_072,
            dimensions=2560,
            capabilities=("completion", "vision"),
        ),
        Model(
            name="qwen3-vl:8b",
            family="qwen3vl",
            size=6_141_788_390,
            parameters=8_767_123_696,
            context=262_144,
            dimensions=4096,
            capabilities=(*_COMPLETION, "vision", "thinking"),
            call_ids=True,
        ),
        Model(
            name="qwen2.5-coder:1.5b",
            family="qwen2",
            size=986_061_892,
            parameters=1_543_714_304,
            context=32_768,
            dimensions=1536,
            capabilities=(*_COMPLETION, "insert"),
        ),
        Model(
            name="nomic-embed-text:latest",
            family="nomic-bert",
            size=274_302_450,
            parameters=136_727_040,
            context=2048,
            dimensions=768,
            capabilities=("embedding",),
            quantization="F16",
        ),
    )
}


def find(asked: str) -> Model | None:
    """The model that a name means: case does not matter, and without a tag it is `latest`."""
    name = asked.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return MODELS.get(name if ":" in name else f"{name}:latest")


def needed(asked: str) -> Model:
    """Like `find`.

    Raises:
        Refusal: 404 for a model that was never pulled.
    """
    model = find(asked)
    if model is None:
        raise Refusal(404, f"model '{asked}' not found")
    return model


def timestamp(time_ns: int) -> str:
    """A time as Go writes it: UTC, up to nine decimals, no trailing zeros.

    >>> timestamp(1_790_000_000_120_000_000)
    '2026-09-21T14:13:20.12Z'
    """
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    decimals = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{decimals}Z"


def details(model: Model) -> JsonObject:
    """What lists say about the kind of a model."""
    size = f"{model.parameters / 1e9:.1f}B" if model.parameters >= 1_000_000_000 else f"{model.parameters / 1e6:.0f}M"
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family],
        "parameter_size": size,
        "quantization_level": model.quantization,
    }


def tag(model: Model) -> JsonObject:
    """The model's row in `/api/tags`."""
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": timestamp(PULLED_NS),
        "size": model.size,
        "digest": model.digest,
        "details": details(model),
    }


def show(model: Model) -> JsonObject:
    """The answer of `/api/show`."""
    return {
        "license": "Made up by the sandbox.",
        "modelfile": f'# Modelfile generated by "ollama show"\n# FROM {model.name}\n',
        "parameters": 'stop                           "<|end|>"',
        "template": "{{ .Prompt }}",
        "details": details(model),
        "model_info": {
            "general.architecture": model.family,
            "general.parameter_count": model.parameters,
            f"{model.family}.context_length": model.context,
            f"{model.family}.embedding_length": model.dimensions,
        },
        "capabilities": [*model.capabilities],
        "modified_at": timestamp(PULLED_NS),
    }


def running(model: Model, expires_ns: int, context: int) -> JsonObject:
    """The model's row in `/api/ps`."""
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": model.digest,
        "details": details(model),
        "expires_at": timestamp(expires_ns),
        "size_vram": model.size,
        "context_length": context,
    }
