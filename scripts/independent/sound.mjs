// What the JavaScript clients say and ask.
const HZ = 24_000;
const tone = Int16Array.from({ length: HZ * 0.7 }, (_, n) => Math.round(9_000 * Math.sin((2 * Math.PI * 300 * n) / HZ)));

/** PCM at 24 kHz: 700 ms of a voice, then a second of silence, in which the turn ends. */
export const VOICE = Buffer.concat([Buffer.from(tone.buffer), Buffer.alloc(2 * HZ)]);
export const QUESTION = 'what time do you open on saturday';
export const TOOL = {
  type: 'function', name: 'opening_hours', description: 'Look up the opening hours.',
  parameters: { type: 'object', properties: { day: { type: 'string' } } },
};
export const RECITAL = `Say exactly this and nothing else: "${'This is a long sentence that goes on and on. '.repeat(8)}"`;

/** The conversation ends here, with the reason. */
export function fail(reason) {
  console.error(reason);
  process.exit(1);
}

export function assert(right, otherwise) {
  if (!right) fail(otherwise);
}

/** Fails when it takes longer. */
export async function within(seconds, does) {
  const timer = setTimeout(() => fail(`not over after ${seconds} s`), seconds * 1000);
  await does();
  clearTimeout(timer);
}

export function done() {
  console.log('done: greeting, turn, tool with its spoken answer, interruption; no error event');
  process.exit(0);
}
