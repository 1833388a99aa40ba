// The `openai` package's OpenAIRealtimeWS with its defaults. It speaks wss only: NODE_EXTRA_CA_CERTS has the
// certificate. Run in a folder that has `openai` and `ws`: node openai_node.mjs BASE, where BASE ends in /v1.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { QUESTION, RECITAL, TOOL, VOICE, assert, done, within } from './sound.mjs';

const model = 'gpt-realtime-2.1';
const client = new OpenAI({ apiKey: 'invented', baseURL: process.argv[2] });
const connection = new OpenAIRealtimeWS({ model }, client);
const events = [];
let news = () => {};
connection.on('error', (error) => assert(false, `error event: ${error.message}`));
connection.on('event', (event) => { events.push(event); news(); });

let read = 0;
async function until(kind) {
  for (;;) {
    while (read < events.length) {
      const event = events[read++];
      if (event.type === kind) return event;
    }
    await new Promise((resolve) => { news = resolve; });
  }
}
const response = async () => (await until('response.done')).response;
const speak = () => connection.send({ type: 'input_audio_buffer.append', audio: VOICE.toString('base64') });

await within(40, async () => {
  const created = await until('session.created');
  assert(created.session.model === model, created.session.model);
  connection.send({ type: 'session.update', session: { type: 'realtime', model: 'gpt-realtime', tools: [TOOL] } });
  await until('session.updated');

  connection.send({ type: 'response.create' });
  assert((await response()).status === 'completed', 'the greeting');
  assert(events.some((event) => event.type === 'response.output_audio.delta'), 'the greeting has sound');

  speak();
  await until('input_audio_buffer.speech_started');
  assert((await response()).status === 'completed', 'the turn is answered');

  const content = [{ type: 'input_text', text: QUESTION }];
  connection.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  connection.send({ type: 'response.create' });
  const [call] = (await response()).output.filter((item) => item.type === 'function_call');
  assert(JSON.parse(call.arguments).day === 'saturday', call.arguments);
  const output = { type: 'function_call_output', call_id: call.call_id, output: 'nine to five' };
  connection.send({ type: 'conversation.item.create', item: output });
  connection.send({ type: 'response.create' });
  const words = (await response()).output.map((item) => item.content[0].transcript).join(' ');
  assert(words.includes('nine to five'), words);

  connection.send({ type: 'response.create', response: { instructions: RECITAL } });
  const first = await until('response.output_audio.delta');
  speak(); // over it
  await until('input_audio_buffer.speech_started');
  assert((await response()).status === 'cancelled', 'the interruption');
  const heard = { item_id: first.item_id, content_index: 0, audio_end_ms: Math.floor(Buffer.from(first.delta, 'base64').length / 48) };
  connection.send({ type: 'conversation.item.truncate', ...heard });
  await until('conversation.item.truncated');
});
connection.close();
done();
