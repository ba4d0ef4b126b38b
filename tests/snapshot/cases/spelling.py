"""JSON as other writers spell it. Bytes, because the spelling is the case."""

CASES = {
    "spelled_with_spaces": b'{ "model" : "@MODEL@" ,\n  "messages" : [ { "role" : "user" , "content" : "Hello" } ]\n}\n',
    "spelled_with_escapes": rb'{"model":"@MODEL@","messages":[{"role":"user","content":"caf\u00e9 \ud83d\ude00 \/ \u0041"}]}',
    "spelled_in_another_key_order": b'{"messages":[{"content":"Hello","role":"user"}],"model":"@MODEL@"}',
    "spelled_with_escaped_keys": rb'{"mod\u0065l":"@MODEL@","messages":[{"\u0072ole":"user","content":"Hello"}],"t\u0065mperature":0.0}',
    "spelled_numbers": (
        b'{"model":"@MODEL@","messages":[{"role":"user","content":"Go"}],"temperature":1e0,"top_p":0.90,"seed":9007199254740993,'
        b'"tools":[{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{"n":{"type":"number",'
        b'"minimum":-0.0,"maximum":1e2,"default":1.0,"multipleOf":0.10,"examples":[123456789012345678901234567890,1E-7,-0]}}}}}]}'
    ),
    "spelled_with_key_order_inside_a_schema": (
        b'{"model":"@MODEL@","messages":[{"role":"user","content":"Go"}],"tools":[{"function":{"parameters":{"required":["b"],'
        b'"properties":{"b":{"type":"string"},"a":{"type":"string"}},"type":"object"},"name":"f"},"type":"function"}]}'
    ),
    "spelled_pretty_with_tools": (
        b'{\n  "model": "@MODEL@",\n  "tools": [\n    {"type": "function", "function": {"name": "z", "parameters": { "type": "object" }}},\n'
        b'    {"type": "function", "function": {"name": "a", "parameters": {}}}\n  ],\n  "stream": true,\n'
        b'  "messages": [\n    {"role": "system", "content": "S"},\n    {"role": "user", "content": [ {"type": "text", "text": "Q"} ]}\n  ]\n}'
    ),
    "refused_key_twice": b'{"model":"@MODEL@","messages":[{"role":"user","content":"a","content":"b"}]}',
    "refused_key_twice_outside": rb'{"model":"@MODEL@","messages":[{"role":"user","content":"a"}],"mod\u0065l":"@MODEL@"}',
    "refused_lone_surrogate": rb'{"model":"@MODEL@","messages":[{"role":"user","content":"\ud800"}]}',
    "refused_bytes_that_are_no_text": b'{"model":"@MODEL@","messages":[{"role":"user","content":"\xff"}]}',
    "refused_depth": b'{"model":"@MODEL@","messages":[{"role":"user","content":"a","deep":' + b"[" * 62 + b"]" * 62 + b"}]}",
    "refused_role": b'{"model":"@MODEL@","messages":[{"role":"robot","content":"a"}]}',
}
