import OpenAI from 'openai';
import { BASE, KEY, MODEL, SCHEMA, SYSTEM, check, done } from './check.mjs';

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0 });
const messages = [{ role: 'system', content: SYSTEM }, { role: 'user', content: 'Say hello in 20 words.' }];
const tools = [{ type: 'function', function: { name: 'look', description: 'Looks.', parameters: SCHEMA } }];

const whole = await client.chat.completions.create({ model: MODEL, messages });
check('text', whole.choices[0].message.content.length > 0, whole);
check('usage', whole.usage.prompt_tokens > 1000, whole.usage);

const stream = client.chat.completions.stream({ model: MODEL, messages, stream_options: { include_usage: true } });
const final = await stream.finalChatCompletion();
check('a stream says the same', final.choices[0].message.content === whole.choices[0].message.content, final);
check('usage of a stream', final.usage.prompt_tokens === whole.usage.prompt_tokens, final.usage);

const called = await client.chat.completions.create({ model: MODEL, messages, tools, tool_choice: 'required' });
const call = called.choices[0].message.tool_calls[0];
check('a call', call.function.name === 'look' && typeof JSON.parse(call.function.arguments).city === 'string', called);
const result = { role: 'tool', tool_call_id: call.id, content: 'sunny' };
const answered = await client.chat.completions.create({ model: MODEL, messages: [...messages, called.choices[0].message, result], tools });
check('after the result', answered.choices[0].finish_reason !== null, answered);

const response = await client.responses.create({ model: MODEL, instructions: SYSTEM, input: 'Say hello in 20 words.', store: false });
check('responses: text', response.output_text.length > 0, response);
const events = [];
const responses = client.responses.stream({ model: MODEL, instructions: SYSTEM, input: 'Say hello in 20 words.', store: false });
responses.on('event', (event) => events.push(event.type));
const last = await responses.finalResponse();
check('responses: a stream says the same', last.output_text === response.output_text, last);
check('responses: begins and ends', events[0] === 'response.created' && events.at(-1) === 'response.completed', events);

try {
  await client.chat.completions.create({ model: 'no-such-model', messages });
  check('an unknown model is an error', false);
} catch (error) {
  check('an unknown model is an error', error instanceof OpenAI.NotFoundError, String(error));
}
done();
