"""Names that the messages of generateContent have, in either spelling, and the refusal of all others.

Source: the published `google-genai` SDK 3.4.0, `google/genai/types.py`, and https://ai.google.dev/api/generate-content.
"""

import re

from tokenrouter.sandbox.wire import JsonObject, JsonValue, Refusal


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


REQUEST = _names("model contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent labels serviceTier store")
CONTENT = frozenset({"parts", "role"})
DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult", "toolCall", "toolResponse")
PART = frozenset({*DATA, "thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"})
TOOL = _names(
    "functionDeclarations googleSearch googleSearchRetrieval googleMaps codeExecution urlContext computerUse fileSearch retrieval "
    "enterpriseWebSearch parallelAiSearch exaAiSearch mcpServers"
)
DECLARATION = frozenset({"name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior"})
TOOL_CONFIG = frozenset({"functionCallingConfig", "retrievalConfig", "includeServerSideToolInvocations"})
CALLING = frozenset({"mode", "allowedFunctionNames", "streamFunctionCallArguments"})
GENERATION = _names(
    "candidateCount stopSequences maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty responseMimeType "
    "responseSchema responseJsonSchema responseFormat responseModalities responseLogprobs logprobs thinkingConfig speechConfig "
    "imageConfig mediaResolution audioTimestamp enableEnhancedCivicAnswers routingConfig modelSelectionConfig "
    "enableAffectiveDialog translationConfig audioTranscriptionConfig"
)
THINKING = frozenset({"includeThoughts", "thinkingBudget", "thinkingLevel"})
BLOB = frozenset({"mimeType", "data", "displayName"})
FILE = frozenset({"mimeType", "fileUri", "displayName"})
CALL = frozenset({"id", "name", "args", "partialArgs", "willContinue"})
RESPONSE = frozenset({"id", "name", "response", "parts", "willContinue", "scheduling"})
_SNAKE = re.compile(r"_([a-z])")


def camel(fields: JsonObject) -> JsonObject:
    """Protocol names in camel case: the service takes both spellings."""
    return {_SNAKE.sub(lambda match: match[1].upper(), key): value for key, value in fields.items()}


def known(fields: JsonObject, names: frozenset[str], at: str) -> JsonObject:
    """The fields in camel case, without those of null. Raises `Refusal` for a name that the message does not have."""
    fields = {key: value for key, value in camel(fields).items() if value is not None}
    for name in fields:
        if name not in names:
            where = f" at '{at}'" if at else ""
            raise Refusal(400, f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')
    return fields


def message(value: JsonValue, names: frozenset[str], at: str) -> JsonObject:
    """A nested message; empty if it is not there."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, f"Invalid value at '{at}': expected an object")
    return known(value, names, at)


def listed(value: JsonValue) -> list[JsonValue]:
    """The items of a list; none if it is no list."""
    return value if isinstance(value, list) else []
