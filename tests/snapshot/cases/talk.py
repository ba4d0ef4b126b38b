"""Plain conversation: roles, contents, pictures, and the fields around them."""

from cases.building import PIXEL, chat, says, system, text, user

MARK = {"type": "ephemeral"}
CASES = {
    "chat_plain": chat(user("Hello")),
    "chat_system_and_user": chat(system("You are brief."), user("What is a gateway?")),
    "chat_developer_role": chat({"role": "developer", "content": "Formatting re-enabled"}, user("List three rivers."), reasoning_effort="low"),
    "chat_two_system_messages": chat(system("Rules."), system("Facts."), user("Go")),
    "chat_system_in_the_middle": chat(user("Hi"), system("From now on: French."), says("Bonjour."), user("Who are you?")),
    "chat_system_at_the_end": chat(user("Hi"), says("Hello."), user("Again"), system("Answer in one word.")),
    "chat_several_turns": chat(system("S"), user("one"), says("1"), user("two"), says("2"), user("three"), temperature=0),
    "chat_assistant_prefill": chat(user("Write JSON"), says("{")),
    "chat_multi_part_user": chat(user([text("first"), text("second"), text("third")])),
    "chat_multi_part_system": chat(system([text("Rules."), text("Facts.")]), user([text("Q")])),
    "chat_named_participants": chat(user("I say yes.", name="ann"), user("I say no.", name="bob"), says("Noted.", name="clerk"), user("Vote?")),
    "chat_unicode": chat(user("naïve café — Ærøskøbing, Ελλάδα, 東京, שלום, e\u0301 ≠ é, zero\u200bwidth, nbsp\u00a0here")),
    "chat_emoji": chat(user("👩‍👩‍👧‍👦 says 🏳️‍🌈 and 𝔘𝔫𝔦 𐍈"), says("🤝"), user("🇳🇱?")),
    "chat_control_characters": chat(user('tab\there\nnew line\r\nquote" backslash\\ slash/ bell\u0007 del\u007f')),
    "chat_empty_strings": chat(system(""), user("x"), says(""), user("y")),
    "chat_blank_parts": chat(user([text(""), text("real"), text("  ")])),
    "image_by_data_url": chat(user([text("What is this?"), {"type": "image_url", "image_url": {"url": PIXEL}}])),
    "image_by_url_with_detail": chat(
        user([{"type": "image_url", "image_url": {"url": "https://img.example/a.jpg", "detail": "high"}}, text("Describe")])
    ),
    "file_pdf_inline": chat(
        user([{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}}, text("Sum up")])
    ),
    "file_by_id": chat(user([{"type": "file", "file": {"file_id": "file-abc123"}}, text("Sum up")])),
    "audio_input": chat(user([{"type": "input_audio", "input_audio": {"data": "UklGRgAAAAA=", "format": "wav"}}, text("Transcribe")])),
    "reasoning_effort_with_budget": chat(user("Prove it."), reasoning_effort="high", max_completion_tokens=20000),
    "reasoning_replayed": chat(
        user("2+2?"),
        says("4", reasoning_details=[{"type": "reasoning.text", "text": "sum", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}]),
        user("+1?"),
        reasoning_effort="medium",
    ),
    "reasoning_text_only": chat(user("2+2?"), says("4", reasoning_content="two and two"), user("+1?")),
    "refusal_echoed": chat(user("Do harm"), says(None, refusal="I can't help with that."), user("Then something nice")),
    "answer_echoed_by_an_sdk": chat(
        user("Hi"),
        says("Hello!", refusal=None, annotations=[], audio=None, function_call=None, tool_calls=None),
        user("Bye"),
    ),
    "stream_without_usage": chat(user("Tell a story"), stream=True),
    "stream_with_usage": chat(user("Tell a story"), stream=True, stream_options={"include_usage": True}),
    "stream_with_obfuscation_off": chat(user("Tell a story"), stream=True, stream_options={"include_obfuscation": False, "include_usage": False}),
    "stream_options_null": chat(user("Tell a story"), stream=True, stream_options=None),
    "sampling_all": chat(
        user("Roll"), temperature=0.7, top_p=0.9, presence_penalty=0.5, frequency_penalty=-0.5, seed=42, n=1, stop=["END", "\n\n"], max_tokens=256
    ),
    "sampling_hot": chat(user("Roll"), temperature=1.7),
    "several_choices": chat(user("Roll"), n=3, seed=1),
    "log_probabilities": chat(user("Roll"), logprobs=True, top_logprobs=2),
    "bookkeeping_fields": chat(
        user("Hi"), user="u-17", safety_identifier="s-17", metadata={"run": "42", "git": "main"}, store=False, service_tier="default"
    ),
    "null_fields": chat(user("Hi"), temperature=None, top_p=None, tools=None, tool_choice=None, stop=None, response_format=None, max_tokens=None),
    "defaults_spelled_out": chat(user("Hi"), temperature=1, top_p=1, n=1, presence_penalty=0, frequency_penalty=0, response_format={"type": "text"}),
    "unknown_fields": chat(
        user([text("Hi", vendor_hint={"b": 1, "a": [2]})], extra={"z": None, "y": "kept"}), top_k=40, chat_template_kwargs={"enable_thinking": False}
    ),
    "extension_fields": chat(user("Hi"), **{"x-cache": "all", "x-metadata": True, "x-my-team": {"name": "blue"}}),
    "client_affinity_key": chat(user("Hi"), prompt_cache_key="conv-7", prompt_cache_retention="24h"),
}
