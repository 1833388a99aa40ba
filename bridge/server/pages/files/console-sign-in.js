// Signing in with the console's token.
import { html, useRef, useState } from "./htm-preact.js";

export function SignIn({ connection }) {
  const [why, setWhy] = useState(connection.why);
  const [busy, setBusy] = useState(false);
  const field = useRef();
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    const refused = await connection.signIn(field.current.value);
    field.current && (field.current.value = "");
    setBusy(false);
    setWhy(refused ?? "");
    if (refused) field.current?.focus();
  };
  return html`
    <main class="sign-in">
      <h1>phonebridge</h1>
      <p class="quiet">See, hear and help the calls of this server.</p>
      <form onSubmit=${submit}>
        <input type="text" autocomplete="username" value="console" hidden readonly />
        <label for="token">Console token</label>
        <input id="token" ref=${field} type="password" autocomplete="current-password" required autofocus aria-describedby="token-hint" />
        <p id="token-hint" class="quiet small">It is <code>BRIDGE_CONSOLE_TOKEN</code> of the server.</p>
        <p class="bad small" role="alert">${why}</p>
        <button type="submit" class="primary" disabled=${busy}>${busy ? "Signing in…" : "Sign in"}</button>
      </form>
    </main>
  `;
}
