"""Citations: where a document allows them, the text of an answer points at the start of the first such document.

Only plain text documents are cited, by characters. Source: https://platform.claude.com/docs/en/build-with-claude/citations.
"""

from tokenrouter.sandbox.anthropic_turns import Block
from tokenrouter.sandbox.wire import JsonObject

CITED_CHARACTERS = 40


def citing(value: JsonObject) -> bool:
    """Whether a block allows to be cited."""
    citations = value.get("citations")
    return isinstance(citations, dict) and citations.get("enabled") is True


def citation_of(blocks: list[Block]) -> JsonObject | None:
    """The citation of an answer to these blocks, None without a document to cite. Documents are counted from the first of the request."""
    documents = [block.value for block in blocks if block.kind == "document"]
    for index, document in enumerate(documents):
        source = document.get("source")
        if not citing(document) or not isinstance(source, dict) or source.get("type") != "text":
            continue
        text = str(source.get("data", ""))[:CITED_CHARACTERS]
        return {
            "type": "char_location",
            "cited_text": text,
            "document_index": index,
            "document_title": document.get("title"),
            "file_id": None,
            "start_char_index": 0,
            "end_char_index": len(text),
        }
    return None
