import Anthropic from '@anthropic-ai/sdk';
import { BASE, KEY, MODEL, SCHEMA, SYSTEM, check, done } from './check.mjs';

const client = new Anthropic({ baseURL: BASE, apiKey: KEY, maxRetries: 0 });
const messages = [{ role: 'user', content: 'Say hello in 20 words.' }];
const system = [{ type: 'text', text: SYSTEM, cache_control: { type: 'ephemeral' } }];
const tools = [{ name: 'look', description: 'Looks.', input_schema: SCHEMA }];
const asked = { model: MODEL, max_tokens: 2000, system, messages };
const text = (message) => message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');

const whole = await client.messages.create(asked);
check('text', text(whole).length > 0, whole);
check('end', whole.stop_reason === 'end_turn', whole.stop_reason);

const streamed = await client.messages.stream(asked).finalMessage();
check('a stream says the same', text(streamed) === text(whole), streamed);
const total = (usage) => usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
check('usage', total(streamed.usage) > 1000 && total(streamed.usage) === total(whole.usage), [streamed.usage, whole.usage]);

const called = await client.messages.stream({ ...asked, tools, tool_choice: { type: 'any' } }).finalMessage();
const use = called.content.find((block) => block.type === 'tool_use');
check('a call', use?.name === 'look' && typeof use.input.city === 'string', called);
const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'sunny' }] };
const answered = await client.messages.create({ ...asked, tools, messages: [...messages, { role: 'assistant', content: called.content }, result] });
check('after the result', answered.content.length > 0, answered);

const counted = await client.messages.countTokens({ model: MODEL, system, messages });
check('a count', counted.input_tokens > 1000, counted);

try {
  await client.messages.create({ ...asked, model: 'no-such-model' });
  check('an unknown model is an error', false);
} catch (error) {
  check('an unknown model is an error', error instanceof Anthropic.NotFoundError && error.error.error.type === 'not_found_error', String(error));
}
done();
