import { GoogleGenAI } from '@google/genai';
import { BASE, KEY, MODEL, SCHEMA, SYSTEM, check, done } from './check.mjs';

const client = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: BASE } });
const contents = 'Say hello in 20 words.';
const config = { systemInstruction: SYSTEM };

const whole = await client.models.generateContent({ model: MODEL, contents, config });
check('text', whole.text.length > 0, whole);
check('usage', whole.usageMetadata.promptTokenCount > 1000, whole.usageMetadata);

let streamed = '';
let usage;
for await (const chunk of await client.models.generateContentStream({ model: MODEL, contents, config })) {
  streamed += chunk.text ?? '';
  usage = chunk.usageMetadata ?? usage;
}
check('a stream says the same', streamed === whole.text, streamed);
check('usage of a stream', usage.promptTokenCount === whole.usageMetadata.promptTokenCount, usage);

const tools = [{ functionDeclarations: [{ name: 'look', description: 'Looks.', parametersJsonSchema: SCHEMA }] }];
const chat = client.chats.create({ model: MODEL, config: { ...config, tools, toolConfig: { functionCallingConfig: { mode: 'ANY' } } } });
const called = await chat.sendMessage({ message: 'look at Bern' });
const call = called.functionCalls?.[0];
check('a call', call?.name === 'look' && typeof call.args.city === 'string', called);
const answered = await chat.sendMessage({ message: [{ functionResponse: { id: call.id, name: call.name, response: { output: 'sunny' } } }] });
check('after the result', answered.candidates.length === 1, answered);

try {
  await client.models.generateContent({ model: 'no-such-model', contents });
  check('an unknown model is an error', false);
} catch (error) {
  check('an unknown model is an error', error.status === 404, String(error));
}
done();
