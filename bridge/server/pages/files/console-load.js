// What the server answers; `error` in words where it refuses. A server that is busy is asked again.
export async function load(path, signal) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, { cache: "no-store", signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      return { error: "The server does not answer." };
    }
    if (answer.status === 503) {
      await new Promise((run) => setTimeout(run, 2000));
      continue;
    }
    const json = await answer.json().catch(() => ({}));
    return answer.ok ? json : { error: json.error ?? `The server answered ${answer.status}.` };
  }
}
