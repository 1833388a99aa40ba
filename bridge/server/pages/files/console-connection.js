// The way to the server: who has signed in, one websocket, and wishes for a call.
const STALE_MS = 5000;
const PING_MS = 2000;
const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 10_000;
const SIGNED_OUT = 1008; // RFC 6455, 7.4.1: policy violation
const TRY_LATER = 1013;

async function ask(path, body) {
  const post = body !== undefined && {
    method: "POST",
    headers: { "content-type": "application/json", "x-bridge-console": "1" },
    body: JSON.stringify(body),
  };
  try {
    const answer = await fetch(path, { cache: "no-store", ...post });
    const json = await answer.json().catch(() => ({}));
    return { status: answer.status, ok: answer.ok, ...json };
  } catch {
    return { status: 0, ok: false, error: "The server does not answer." };
  }
}

export class Connection {
  // `state`: asking, signed out, connecting, live, lost. `since` says when it came to that.
  constructor(store) {
    this.store = store;
    this.state = "asking";
    this.why = "";
    this.since = Date.now();
    this.socket = null;
    this.waitMs = FIRST_WAIT_MS;
    this.looking = null;
  }

  get stale() {
    return this.state === "live" && Date.now() - this.store.newsAt > STALE_MS;
  }

  become(state, why = "") {
    if (state !== this.state) this.since = Date.now();
    this.state = state;
    this.why = why;
    this.store.changed();
  }

  async start() {
    const code = new URLSearchParams(location.hash.replace(/^#/, "")).get("code");
    if (code) {
      history.replaceState(null, "", location.pathname); // spent: it stands in no history
      const answer = await ask("console/session", { code });
      if (!answer.ok) return this.become("signed out", answer.error);
      return this.open();
    }
    const session = await ask("console/session");
    if (session.ok) this.open();
    else if (session.status === 401) this.become("signed out");
    else this.again(session.error ?? `The server answered ${session.status}.`);
  }

  // Why it was refused; nothing when it worked.
  async signIn(token) {
    const answer = await ask("console/session", { token });
    if (!answer.ok) return answer.error ?? `The server answered ${answer.status}.`;
    this.open();
  }

  async signOut() {
    await ask("console/session/end", {});
    this.become("signed out");
    this.socket?.close();
  }

  open() {
    if (this.state !== "lost") this.become("connecting");
    const url = new URL("console/socket", location);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.socket = new WebSocket(url));
    const pings = setInterval(() => this.send({ kind: "ping" }), PING_MS);
    socket.onopen = () => {
      if (this.looking !== null) this.send({ kind: "look", call: this.looking });
    };
    socket.onmessage = ({ data }) => {
      if (this.state !== "live") this.become("live");
      this.waitMs = FIRST_WAIT_MS;
      if (!this.store.take(JSON.parse(data))) this.send({ kind: "snapshot" });
    };
    socket.onclose = ({ code }) => {
      clearInterval(pings);
      if (this.state === "signed out") return;
      if (code === SIGNED_OUT) this.become("signed out", "Your session is over.");
      else this.again(code === TRY_LATER ? "This page read too slowly, or ten others look on." : "The connection is lost.");
    };
  }

  again(why) {
    this.become("lost", why);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.retry(), this.waitMs);
    this.waitMs = Math.min(MOST_WAIT_MS, this.waitMs * 2);
  }

  async retry() {
    clearTimeout(this.timer);
    const session = await ask("console/session");
    if (session.ok) this.open();
    else if (session.status === 401) this.become("signed out");
    else this.again(this.why);
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // One call in view at a time; null for none.
  look(call) {
    if (call === this.looking) return;
    this.looking = call;
    this.store.look(call);
    this.send({ kind: "look", call });
  }

  // A wish for a call. The key makes it once, however often it is sent.
  wish({ call, machine }, action, wanted = {}) {
    const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    return ask(`console/calls/${encodeURIComponent(call)}/${action}`, { key, machine, ...wanted });
  }
}
