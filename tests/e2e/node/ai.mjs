import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { Output, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { BASE, KEY, MODEL, SYSTEM, check, done } from './check.mjs';

const openai = createOpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const models = {
  'openai responses': openai(MODEL),
  'openai chat': openai.chat(MODEL),
  anthropic: createAnthropic({ baseURL: `${BASE}/v1`, apiKey: KEY })(MODEL),
  google: createGoogleGenerativeAI({ baseURL: `${BASE}/v1beta`, apiKey: KEY })(MODEL),
};
const prompt = 'Say hello in 20 words.';
const look = tool({ description: 'Looks.', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sunny in ${city}` });

for (const [name, model] of Object.entries(models)) {
  try {
    const whole = await generateText({ model, system: SYSTEM, prompt, maxRetries: 0 });
    check(`${name}: text`, whole.text.length > 0, whole.text);
    const stream = streamText({ model, system: SYSTEM, prompt, maxRetries: 0 });
    check(`${name}: a stream says the same`, (await stream.text) === whole.text, await stream.text);
    check(`${name}: usage`, (await stream.usage).inputTokens > 1000, await stream.usage);
    const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? 'required' : 'auto' });
    const stepped = await generateText({ model, system: SYSTEM, prompt, tools: { look }, prepareStep, stopWhen: stepCountIs(4), maxRetries: 0 });
    check(`${name}: tools`, stepped.steps.some((step) => step.toolResults.length > 0), stepped.steps.map((step) => step.content));
    if (MODEL.startsWith('deepseek')) continue; // it takes no schema: refused by name, see docs/matrix.md
    const schema = z.object({ name: z.string(), age: z.number().int() });
    const shaped = await generateText({ model, prompt: 'Ada is 36.', output: Output.object({ schema }), maxRetries: 0 });
    check(`${name}: an object`, typeof shaped.output.name === 'string', shaped.text);
  } catch (error) {
    check(name, false, String(error.stack ?? error));
  }
}
done();
