// `@openai/agents-realtime`'s RealtimeSession over its websocket transport, with its defaults: it runs the tool,
// answers with it, and truncates. Run in a folder that has it and `zod`: node openai_agents_node.mjs BASE.
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';
import { QUESTION, RECITAL, VOICE, assert, done, fail, within } from './sound.mjs';

const asked = [];
const openingHours = tool({
  name: 'opening_hours', description: 'Look up the opening hours.', parameters: z.object({ day: z.string() }),
  execute: async ({ day }) => { asked.push(day); return 'nine to five'; },
});
const agent = new RealtimeAgent({ name: 'desk', instructions: 'Be brief.', tools: [openingHours] });
const session = new RealtimeSession(agent, { transport: 'websocket', tracingDisabled: true });
const events = [];
const counts = { audio: 0, audio_interrupted: 0 };
let news = () => {};
session.on('error', (event) => fail(`error event: ${JSON.stringify(event)} ${event?.error?.stack ?? ''}`));
session.on('audio', () => { counts.audio += 1; news(); });
session.on('audio_interrupted', () => { counts.audio_interrupted += 1; news(); });
session.transport.on('*', (event) => { events.push(event); news(); });

async function until(condition) {
  while (!condition()) await new Promise((resolve) => { news = resolve; });
}
const of = (kind) => events.filter((event) => event.type === kind);
const responses = () => of('response.done').map((event) => event.response);
async function responded(count) {
  await until(() => responses().length >= count);
  return responses()[count - 1];
}
const voice = VOICE.buffer.slice(VOICE.byteOffset, VOICE.byteOffset + VOICE.byteLength);

await within(40, async () => {
  const url = `${process.argv[2].replace(/^http/, 'ws')}/realtime?model=any-name`;
  await session.connect({ apiKey: 'invented', url });
  session.transport.sendEvent({ type: 'response.create' });
  assert((await responded(1)).status === 'completed', 'the greeting');
  assert(counts.audio > 0, 'the greeting has sound');

  session.sendAudio(voice);
  assert((await responded(2)).status === 'completed', 'the turn is answered');

  session.sendMessage(QUESTION);
  const told = await responded(4);
  assert(asked.join() === 'saturday', `asked for ${asked}`);
  const words = told.output.map((item) => item.content[0].transcript).join(' ');
  assert(words.includes('nine to five'), words);

  const sounding = counts.audio;
  session.transport.sendEvent({ type: 'response.create', response: { instructions: RECITAL } });
  await until(() => counts.audio > sounding);
  session.sendAudio(voice); // over it
  await until(() => counts.audio_interrupted > 0);
  assert((await responded(5)).status === 'cancelled', 'the interruption');
  await until(() => of('conversation.item.truncated').length > 0);
});
session.close();
done();
