"""The shapes of Converse, as data, and the check of a request against them.

Read from the service description that Amazon publishes with its clients (bedrock-runtime, API version 2023-09-30). A member of null is
one that is not there, as everywhere in Amazon's JSON.
"""

import base64
import binascii
import re

import msgspec

from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A string."""

    pattern: str | None = None
    least: int = 0
    most: int | None = None
    one_of: tuple[str, ...] = ()


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A number between two bounds."""

    whole: bool = False
    least: float | None = None
    most: float | None = None


class Flag(msgspec.Struct, frozen=True):
    """A boolean."""


class Document(msgspec.Struct, frozen=True):
    """Any JSON."""


class Blob(msgspec.Struct, frozen=True):
    """Bytes in base64, at least one."""


class Many(msgspec.Struct, frozen=True, kw_only=True):
    """A list of a named shape."""

    item: str
    least: int = 0
    most: int | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A map from strings to a named shape."""

    value: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Members by name, each a named shape. `union`: exactly one of them is there."""

    members: dict[str, str]
    required: tuple[str, ...] = ()
    union: bool = False


Shape = Text | Number | Flag | Document | Blob | Many | Table | Record


def _union(**members: str) -> Record:
    return Record(members=members, union=True)


def _record(*required: str, **members: str) -> Record:
    return Record(members=members, required=required)


SHAPES: dict[str, Shape] = {
    "String": Text(),
    "NonEmpty": Text(least=1),
    "Boolean": Flag(),
    "Document": Document(),
    "Blob": Blob(),
    "Request": _record(
        "messages",
        messages="Messages",
        system="System",
        inferenceConfig="Inference",
        toolConfig="ToolConfig",
        guardrailConfig="Guardrail",
        additionalModelRequestFields="Document",
        promptVariables="Variables",
        additionalModelResponseFieldPaths="Paths",
        requestMetadata="Metadata",
        performanceConfig="Performance",
        serviceTier="Tier",
        outputConfig="Output",
    ),
    "Messages": Many(item="Message"),
    "Message": _record("role", "content", role="Role", content="Contents"),
    "Role": Text(one_of=("user", "assistant", "system")),
    "Contents": Many(item="Content"),
    "Content": _union(
        text="String",
        image="Image",
        document="File",
        video="Video",
        audio="Audio",
        toolUse="ToolUse",
        toolResult="ToolResult",
        guardContent="Guarded",
        cachePoint="CachePoint",
        reasoningContent="Reasoning",
        citationsContent="Cited",
        searchResult="SearchResult",
        toolAddition="ToolChange",
        toolRemoval="ToolChange",
    ),
    "Image": _record("format", "source", format="ImageFormat", source="Source"),
    "ImageFormat": Text(one_of=("png", "jpeg", "gif", "webp")),
    "Source": _union(bytes="Blob", s3Location="S3"),
    "S3": _record("uri", uri="S3Uri", bucketOwner="Account"),
    "S3Uri": Text(pattern=r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?", least=1, most=1024),
    "Account": Text(pattern="[0-9]{12}"),
    "File": _record("name", "source", format="FileFormat", name="FileName", source="FileSource", context="String", citations="Citing"),
    "FileFormat": Text(one_of=("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")),
    "FileName": Text(least=1, most=200),
    "FileSource": _union(bytes="Blob", s3Location="S3", text="String", content="TextOnlyList"),
    "Citing": _record("enabled", enabled="Boolean"),
    "Video": _record("format", "source", format="VideoFormat", source="Source"),
    "VideoFormat": Text(one_of=("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp")),
    "Audio": _record("format", "source", format="AudioFormat", source="Source"),
    "AudioFormat": Text(
        one_of=("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm"),
    ),
    "ToolUse": _record("toolUseId", "name", "input", toolUseId="ToolUseId", name="ToolName", input="Document", type="ToolUseType"),
    "ToolUseId": Text(pattern="[a-zA-Z0-9_.:-]+", least=1, most=64),
    "ToolName": Text(pattern="[a-zA-Z0-9_-]+", least=1, most=64),
    "ToolUseType": Text(one_of=("server_tool_use",)),
    "ToolResult": _record("toolUseId", "content", toolUseId="ToolUseId", content="ResultContents", status="ResultStatus", type="String"),
    "ResultContents": Many(item="ResultContent"),
    "ResultContent": _union(json="Document", text="String", image="Image", document="File", video="Video", searchResult="SearchResult"),
    "ResultStatus": Text(one_of=("success", "error")),
    "SearchResult": _record("source", "title", "content", source="String", title="String", content="SearchTexts", citations="Citing"),
    "SearchTexts": Many(item="SearchText"),
    "SearchText": _record("text", text="String"),
    "Guarded": _union(text="GuardedText", image="Image"),
    "GuardedText": _record("text", text="String", qualifiers="Qualifiers"),
    "Qualifiers": Many(item="Qualifier"),
    "Qualifier": Text(one_of=("grounding_source", "query", "guard_content")),
    "CachePoint": _record("type", type="CachePointType", ttl="CacheTtl"),
    "CachePointType": Text(one_of=("default",)),
    "CacheTtl": Text(one_of=("5m", "1h")),
    "Reasoning": _union(reasoningText="ReasoningText", redactedContent="Blob"),
    "ReasoningText": _record("text", text="String", signature="String"),
    "Cited": _record(content="TextOnlyList", citations="DocumentList"),
    "TextOnlyList": Many(item="TextOnly"),
    "TextOnly": _union(text="String"),
    "DocumentList": Many(item="Document"),
    "ToolChange": _record("tool", tool="ToolReference"),
    "ToolReference": _record(type="String", name="String", serverName="String"),
    "System": Many(item="SystemContent"),
    "SystemContent": _union(text="NonEmpty", guardContent="Guarded", cachePoint="CachePoint"),
    "Inference": _record(maxTokens="MaxTokens", temperature="UpToOne", topP="UpToOne", stopSequences="Stops"),
    "MaxTokens": Number(whole=True, least=1),
    "UpToOne": Number(least=0, most=1),
    "Stops": Many(item="NonEmpty", most=2500),
    "ToolConfig": _record("tools", tools="Tools", toolChoice="ToolChoice"),
    "Tools": Many(item="Tool", least=1),
    "Tool": _union(toolSpec="ToolSpec", systemTool="SystemTool", cachePoint="CachePoint"),
    "ToolSpec": _record("name", "inputSchema", name="ToolName", description="NonEmpty", inputSchema="InputSchema", strict="Boolean"),
    "InputSchema": _union(json="Document"),
    "SystemTool": _record("name", name="ToolName"),
    "ToolChoice": _union(auto="Nothing", any="Nothing", tool="NamedTool"),
    "Nothing": _record(),
    "NamedTool": _record("name", name="ToolName"),
    "Guardrail": _record(guardrailIdentifier="String", guardrailVersion="String", trace="String", streamProcessingMode="String"),
    "Variables": Table(value="TextOnly"),
    "Paths": Many(item="Path", most=10),
    "Path": Text(least=1, most=256),
    "Metadata": Table(value="MetadataValue"),
    "MetadataValue": Text(pattern=r"[a-zA-Z0-9\s:_@$#=/+,\-.]*", most=256),
    "Performance": _record(latency="Latency"),
    "Latency": Text(one_of=("standard", "optimized")),
    "Tier": _record("type", type="TierType"),
    "TierType": Text(one_of=("priority", "default", "flex", "reserved")),
    "Output": _record(textFormat="TextFormat", effort="Effort"),
    "Effort": Text(most=16),
    "TextFormat": _record("type", "structure", type="TextFormatType", structure="Structure"),
    "TextFormatType": Text(one_of=("json_schema",)),
    "Structure": _union(jsonSchema="JsonSchema"),
    "JsonSchema": _record("schema", schema="String", name="String", description="String"),
    "CountRequest": _record("input", input="CountInput"),
    "CountInput": _union(converse="CountConverse", invokeModel="CountInvoke"),
    "CountConverse": _record(messages="Messages", system="System", toolConfig="ToolConfig", additionalModelRequestFields="Document"),
    "CountInvoke": _record("body", body="Blob"),
}


def invalid(message: str) -> Refusal:
    """A 400 that names a rule."""
    return Refusal(400, message, kind="ValidationException")


def constraint(at: str, rule: str) -> Refusal:
    """A 400 of the general checks that stand before the service."""
    return invalid(f"1 validation error detected: Value at '{at}' failed to satisfy constraint: {rule}")


def extraneous(at: str, key: str) -> Refusal:
    """A 400 for a member that the schema does not have."""
    path = "/".join(at.split("."))
    return invalid(
        f"Malformed input request: #{'/' + path if path else ''}: extraneous key [{key}] is not permitted, please reformat your input and try again."
    )


def check(value: JsonValue, name: str, at: str = "") -> JsonValue:
    """The value without members of null. Raises `Refusal`."""
    match SHAPES[name]:
        case Record() as record:
            return _check_record(value, record, name, at)
        case Many() as many:
            if not isinstance(value, list):
                raise _mistyped(at, "list")
            if len(value) < many.least:
                raise constraint(at, f"Member must have length greater than or equal to {many.least}")
            if many.most is not None and len(value) > many.most:
                raise constraint(at, f"Member must have length less than or equal to {many.most}")
            return [check(item, many.item, _below(at, str(index))) for index, item in enumerate(value)]
        case Table() as table:
            return {key: check(item, table.value, _below(at, key)) for key, item in _object(value, at).items()}
        case Document():
            return value
        case shape:
            _check_scalar(value, shape, at)
            return value


def _check_record(value: JsonValue, record: Record, name: str, at: str) -> JsonObject:
    members = {key: item for key, item in _object(value, at).items() if item is not None}
    for key in members:
        if key not in record.members:
            raise extraneous(at, key)
    if record.union and len(members) != 1:
        one = "one" if not members else "only one"
        raise invalid(f"The {name} object at {at} must set {one} of the following keys: {', '.join(record.members)}.")
    for key in record.required:
        if key not in members:
            raise constraint(_below(at, key), "Member must not be null")
    return {key: check(item, record.members[key], _below(at, key)) for key, item in members.items()}


def _check_scalar(value: JsonValue, shape: Text | Number | Flag | Blob, at: str) -> None:
    match shape:
        case Flag():
            if not isinstance(value, bool):
                raise _mistyped(at, "Boolean")
        case Number():
            if not isinstance(value, int | float) or isinstance(value, bool) or (shape.whole and not isinstance(value, int)):
                raise _mistyped(at, "Integer" if shape.whole else "Float")
            if shape.least is not None and value < shape.least:
                raise constraint(at, f"Member must have value greater than or equal to {shape.least}")
            if shape.most is not None and value > shape.most:
                raise constraint(at, f"Member must have value less than or equal to {shape.most}")
        case Blob():
            if not isinstance(value, str) or not value:
                raise _mistyped(at, "base64 string")
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise _mistyped(at, "base64 string") from None
        case Text():
            _check_text(value, shape, at)


def _check_text(value: JsonValue, shape: Text, at: str) -> None:
    if not isinstance(value, str):
        raise _mistyped(at, "String")
    if shape.one_of and value not in shape.one_of:
        raise constraint(at, f"Member must satisfy enum value set: [{', '.join(shape.one_of)}]")
    if len(value) < shape.least:
        raise constraint(at, f"Member must have length greater than or equal to {shape.least}")
    if shape.most is not None and len(value) > shape.most:
        raise constraint(at, f"Member must have length less than or equal to {shape.most}")
    if shape.pattern is not None and not re.fullmatch(shape.pattern, value):
        raise constraint(at, f"Member must satisfy regular expression pattern: {shape.pattern}")


def _object(value: JsonValue, at: str) -> JsonObject:
    if not isinstance(value, dict):
        raise _mistyped(at, "structure")
    return value


def _mistyped(at: str, wanted: str) -> Refusal:
    return Refusal(400, f"The value at '{at}' can not be converted to a {wanted}", kind="SerializationException")


def _below(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
