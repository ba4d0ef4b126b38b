"""Every change that the gateway may make to a request: the one published list. `docs/canonical-form.md` is made from it."""

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """One kind of change.

    id          its name in settings, headers and metrics
    what        what it does, for people
    default     on or off unless somebody says otherwise
    alters      the model reads something else than without it (the answer identity tells the two apart)
    switchable  False for what routing itself needs; such an edit is named in the response like any other
    """

    id: str
    what: str
    default: bool = True
    alters: bool = False
    switchable: bool = True


TOOLS_ORDER = "tools.order"
TOOLS_SPELLING = "tools.spelling"
CALLS_SPELLING = "calls.spelling"
MARKS_PLAN = "marks.plan"
CONTENT_PARTS = "content.parts"
SYSTEM_SPLIT = "system.split"
AFFINITY_REPLACE = "affinity.replace"
USAGE_ASK = "usage.ask"
DIAGNOSTICS_ASK = "diagnostics.ask"
VOLATILE_KNOWN = "volatile.known"
VOLATILE_RELOCATE = "volatile.relocate"
MODEL_NAME = "model.name"
LIMITS_FIT = "limits.fit"
LIMITS_NAME = "limits.name"
EXTENSIONS = "extensions.strip"
COUNT_ESTIMATE = "count.estimate"
THOUGHTS_ATTACH = "thoughts.attach"
CHUNKS_EMPTY = "chunks.empty"
TOOLS_RECALLED = "tools.recalled"
ITEMS_RECALLED = "items.recalled"

EDITS: tuple[Edit, ...] = (
    Edit(
        TOOLS_ORDER,
        "Tool definitions are sorted by name, so that a shuffled list is the same prefix every time; those that an app, or a conversation, "
        "brings later are put behind the ones it had, sorted among themselves.",
        alters=True,
    ),
    Edit(
        TOOLS_SPELLING,
        "A tool that equals one seen before but for the order of its JSON keys is sent as that one was spelled, so that clients with unordered "
        "maps, and several users of one app, have one prefix; remembered per tenant and vendor.",
        alters=True,
    ),
    Edit(
        CALLS_SPELLING,
        "A call of the model's that comes back with other white space or another order of keys in its arguments, or under another id, is sent "
        "as the model wrote it, its result under the same id; where nobody knows how the model wrote it, as it first came. "
        "Never where it is ambiguous, and not on models whose reasoning is bound to the prompt.",
        alters=True,
    ),
    Edit(
        MARKS_PLAN,
        "Cache marks and the affinity field are added within the vendor's limits; marks of the client are kept, "
        "translated to the vendor's spelling, or taken out where the vendor would refuse them.",
    ),
    Edit(
        CONTENT_PARTS,
        "A text that is a string becomes one text part where a mark sits inside it, or may in a later turn; only on vendors that render both alike.",
    ),
    Edit(
        SYSTEM_SPLIT,
        "A system text is sent as two parts, so that a mark can sit between them: cut in front of the first line that differs from an earlier "
        "text of the same tools, or, before there is one, of the first line that says a time, an id, or somebody's folder. Decided when a text "
        "is first seen, and only on vendors that render both alike.",
    ),
    Edit(
        AFFINITY_REPLACE,
        "A client's own affinity key gives way to the gateway's, which is the same for all conversations that share tools and system text: a key "
        "per conversation keeps them from reading what another one wrote.",
        default=False,
    ),
    Edit(USAGE_ASK, "Usage is requested on streams whose client did not ask, and its final chunk is hidden from that client again."),
    Edit(
        DIAGNOSTICS_ASK,
        "Anthropic is asked why a prompt could not be reused (`diagnostics`, with the id of the conversation's last answer), and what it says "
        "is kept from the client again. A client's own question stays as it is.",
        default=False,
    ),
    Edit(
        VOLATILE_KNOWN,
        "Known per-request lines of clients (an attribution line at the head of the system text) are dropped "
        "toward upstreams that would read them as prompt.",
        alters=True,
    ),
    Edit(
        VOLATILE_RELOCATE,
        "A time, date, id, path or number in the opening system text that differs from request to request is said at the end of the prompt, behind "
        "the last cache mark, with a note in its place; only the places that were approved for the tenant (`prompt_cache.slots`), and never in "
        "conversations that bring signed reasoning, or on models whose reasoning is bound to the prompt.",
        alters=True,
    ),
    Edit(
        THOUGHTS_ATTACH,
        "Signed reasoning that a client's dialect can not carry is put back into the turn that it led to, toward the vendor who signed it; "
        "only where requests are translated.",
    ),
    Edit(
        CHUNKS_EMPTY,
        "Pieces of a stream that say nothing are kept from the client, where a server is known to send many; the first one of an OpenAI stream "
        "stays, as clients look for the role in it.",
    ),
    Edit(
        LIMITS_FIT,
        "Where what is left of a cap does not cover the worst case of a request without an output limit, the limit that it covers is set; "
        "a cap whose action is `fit` lowers a client's own limit too. `x-tokenrouter-output-limit` tells.",
        alters=True,
    ),
    Edit(MODEL_NAME, "The model field carries the upstream's own name where the client wrote `vendor/model`.", switchable=False),
    Edit(
        LIMITS_NAME,
        "`max_completion_tokens` is called `max_tokens` toward hosts that know the limit under its old name only, and would ignore it.",
        switchable=False,
    ),
    Edit(
        TOOLS_RECALLED,
        "Tools that earlier turns called and the request no longer defines are defined by name alone, toward Bedrock, which refuses such turns "
        "otherwise.",
        alters=True,
        switchable=False,
    ),
    Edit(
        ITEMS_RECALLED,
        "References to items of earlier answers that another vendor than the referring client's gave are written out from what was kept.",
        switchable=False,
    ),
    Edit(COUNT_ESTIMATE, "The tokens of a prompt are estimated, because the vendor counts none; nothing is sent.", switchable=False),
    Edit(EXTENSIONS, "Our own extension fields (`x-...` members of the body) are taken out before anything is sent.", switchable=False),
)

SWITCHABLE = frozenset(edit.id for edit in EDITS if edit.switchable)
DEFAULT_EDITS = frozenset(edit.id for edit in EDITS if edit.switchable and edit.default)
OPT_IN = SWITCHABLE - DEFAULT_EDITS
"""Edits that are made only where somebody asks for them."""
