"""The rules of a Converse conversation: who speaks when, what a message may hold, calls and their results, blank texts.

Messages are worded as the service words them, as far as they are known from reports: NousResearch/hermes-agent#55092,
camel-ai/camel#3954, strands-agents/harness-sdk#1435, Portkey-AI/gateway#748. Restrictions on documents and images are those of the
`Message` and `DocumentBlock` shapes.
"""

import itertools
import re

from tokenrouter.sandbox.bedrock_models import Hosted
from tokenrouter.sandbox.bedrock_shapes import extraneous, invalid
from tokenrouter.sandbox.wire import JsonObject, JsonValue

MOST_IMAGES, MOST_DOCUMENTS = 20, 5
_FILE_NAME = re.compile(r"[A-Za-z0-9\-()\[\]]+(?:\s[A-Za-z0-9\-()\[\]]+)*")
_USER_ONLY = frozenset({"image", "document", "video", "audio", "toolResult", "searchResult", "guardContent"})
_ASSISTANT_ONLY = frozenset({"toolUse", "reasoningContent", "citationsContent"})
_CLAUDE_ONLY = frozenset({"reasoningContent", "citationsContent", "searchResult", "toolAddition", "toolRemoval"})
_NOVA_ONLY = frozenset({"video", "audio"})


def contents(message: JsonObject) -> list[JsonObject]:
    """The content blocks of a message."""
    return objects(message.get("content"))


def objects(value: JsonValue) -> list[JsonObject]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def inner(block: JsonObject, key: str) -> JsonObject:
    """A member that is an object; empty if there is none."""
    value = block.get(key)
    return value if isinstance(value, dict) else {}


def kind_of(block: JsonObject) -> str:
    """The one member of a union."""
    return next(iter(block))


def check_turns(messages: list[JsonObject], hosted: Hosted, *, has_tools: bool) -> None:
    """Check all messages. Raises `Refusal`."""
    _check_roles(messages, hosted)
    for number, message in enumerate(messages):
        _check_message(message, hosted, number)
    uses_tools = any(kind_of(block) in ("toolUse", "toolResult") for message in messages for block in contents(message))
    if uses_tools and not has_tools:
        raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    _check_pairs(messages)


def _check_roles(messages: list[JsonObject], hosted: Hosted) -> None:
    spoken = [message["role"] for message in messages if message["role"] != "system"]
    if len(spoken) != len(messages) and not hosted.model.mid_system:
        raise invalid("This model doesn't support the system role in messages. Use the system field and try again.")
    if not messages or messages[0]["role"] != "user":
        raise invalid("A conversation must start with a user message. Try again with a conversation that starts with a user message.")
    for before, after in itertools.pairwise(spoken):
        if before == after:
            raise invalid(
                "A conversation must alternate between user and assistant roles. "
                "Make sure the conversation alternates between user and assistant roles and try again."
            )


def _check_message(message: JsonObject, hosted: Hosted, number: int) -> None:
    at = f"messages.{number}.content"
    blocks = contents(message)
    if not blocks:
        raise invalid(
            f"The content field in the Message object at messages.{number} is empty. Add a ContentBlock object to the content field and try again."
        )
    for index, block in enumerate(blocks):
        kind = kind_of(block)
        if (kind in _CLAUDE_ONLY and not hosted.claude) or (kind in _NOVA_ONLY and hosted.claude):
            raise invalid(f"This model doesn't support the {kind} field. Remove {kind} and try again.")
        if (kind in _USER_ONLY and message["role"] != "user") or (kind in _ASSISTANT_ONLY and message["role"] != "assistant"):
            raise invalid(f"The {kind} block at {at}.{index} is not allowed in a message of the role {message['role']}.")
        _check_block(block, kind, f"{at}.{index}")
    kinds = [kind_of(block) for block in blocks]
    if "document" in kinds and "text" not in kinds:
        raise invalid(f"A document block at {at} needs a text block beside it. Add a text block and try again.")
    if kinds.count("image") > MOST_IMAGES or kinds.count("document") > MOST_DOCUMENTS:
        raise invalid(f"The message at messages.{number} has more than {MOST_IMAGES} images or {MOST_DOCUMENTS} documents.")
    if "cachePoint" in kinds and "toolResult" in kinds and not hosted.claude and hosted.ttls:
        raise invalid(returned(extraneous(f"{at}.{kinds.index('cachePoint')}", "cachePoint").message))


def returned(message: str) -> str:
    """An error of the model, as the service passes it on."""
    return f"The model returned the following errors: {message}"


def _check_block(block: JsonObject, kind: str, at: str) -> None:
    if kind == "text" and not str(block["text"]).strip():
        raise invalid(f"The text field in the ContentBlock object at {at} is blank. Add text to the text field, and try again.")
    if kind == "document":
        _check_file(inner(block, "document"), at)
    if kind == "toolResult":
        for index, item in enumerate(objects(inner(block, kind).get("content"))):
            if item.get("text") == "":
                raise invalid(returned("messages: text content blocks must be non-empty"))
            if "document" in item:
                _check_file(inner(item, "document"), f"{at}.toolResult.content.{index}")


def _check_file(value: JsonObject, at: str) -> None:
    if not _FILE_NAME.fullmatch(str(value["name"])):
        raise invalid(
            f"The document file name at {at} can only contain alphanumeric characters, whitespace characters (no more than one in a row), "
            "hyphens, parentheses, and square brackets. Change the file name and try again."
        )


def _check_pairs(messages: list[JsonObject]) -> None:
    """The results of a turn's calls all stand in the next message, and nothing else answers there."""
    due: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "system":
            continue
        blocks = contents(message)
        given = [str(inner(block, "toolResult")["toolUseId"]) for block in blocks if "toolResult" in block]
        missing = [call_id for call_id in due if call_id not in given]
        if missing:
            raise _unanswered(number, missing)
        if len(given) > len(due):
            raise invalid(f"The number of toolResult blocks at messages.{number}.content exceeds the number of toolUse blocks of previous turn.")
        due = [str(inner(block, "toolUse")["toolUseId"]) for block in blocks if "toolUse" in block and "type" not in inner(block, "toolUse")]
        twice = sorted({call_id for call_id in due if due.count(call_id) > 1})
        if twice:
            raise invalid(f"The toolUse blocks at messages.{number}.content contain duplicate Ids: {', '.join(twice)}")
    if due:
        raise _unanswered(len(messages), due)


def _unanswered(number: int, ids: list[str]) -> Exception:
    return invalid(f"Expected toolResult blocks at messages.{number}.content for the following Ids: {', '.join(ids)}")
