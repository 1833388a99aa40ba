// "Make this a test": of the moment under the cursor come a command line to copy, and two files to keep.
import { html, useEffect, useRef, useState } from "./htm-preact.js";
import { load } from "./console-load.js";
import { position } from "./console-words.js";

const KINDS = { jsonl: "application/jsonl", py: "text/x-python" };

export function MakeTest({ path, cursor }) {
  const [made, setMade] = useState(null);
  const [at, setAt] = useState(0);
  const should = useRef();
  useEffect(() => cursor.hear((ms) => setAt(Math.round(ms / 100) * 100)), []);
  const make = async (event) => {
    event.preventDefault();
    setMade({ waiting: true });
    const asked = new URLSearchParams({ at_ms: String(Math.round(cursor.ms)), should: should.current.value.trim() });
    setMade(await load(`${path}/test?${asked}`).catch(() => ({ error: "The server does not answer." })));
  };
  return html`
    <form class="make-test small" onSubmit=${make}>
      <button type="submit" disabled=${made?.waiting}>Make this a test</button>
      <span>${position(at)}</span>
      <label>should <input ref=${should} maxlength="300" placeholder="heard 800, no-cut, …" autocomplete="off" spellcheck="false" /></label>
    </form>
    <div class="made-test small" role="status">
      ${made?.waiting && html`<span class="quiet">Cutting the call…</span>`}
      ${made?.error && html`<span class="bad">${made.error}</span>`}
      ${made?.files && html`<${Made} made=${made} />`}
    </div>
  `;
}

const Made = ({ made }) => html`
  <p><b>${made.about}</b> <span class="quiet">at ${position(made.at_ms)}; words, numbers and keys are masked</span></p>
  <p><code>${made.command}</code></p>
  <p>${made.files.map((file) => html`<${Keep} key=${file.name} file=${file} />`)}</p>
`;

// A file of the page's own making; its address is let go with it.
function Keep({ file }) {
  const [url, setUrl] = useState("");
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([file.text], { type: KINDS[file.name.split(".").pop()] }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return html`<a class="button" href=${url} download=${file.name}>${file.name}</a> `;
}
