// Parts that every view uses: dots, panes and their states, a button that asks once more.
import { Component, html, useEffect, useRef, useState } from "./htm-preact.js";

const SURE_MS = 3000;

// Never alone: a word stands beside it.
export const Dot = ({ kind }) => html`<i class="dot ${kind}" aria-hidden="true"></i>`;

export const Skeleton = ({ what }) => html`
  <div class="skeleton" role="status"><span class="visually-hidden">Loading ${what}</span><i></i><i></i><i></i></div>
`;

// `as` is the element of the title: "h1" where nothing else heads the view.
export const Empty = ({ title, large, as = "strong", children }) => html`
  <div class="empty ${large ? "large" : ""}"><${as}>${title}</${as}>${children}</div>
`;

// A part without a state of its own, drawn again only when a property is another one.
export const still = (draw) =>
  class extends Component {
    shouldComponentUpdate(next) {
      return Object.keys(next).some((name) => next[name] !== this.props[name]);
    }

    render(properties) {
      return draw(properties);
    }
  };

// A pane is a region with a heading; `side` stands in its head.
export function Pane({ name, title, side, stale, children }) {
  return html`
    <section class="pane ${name}" aria-labelledby="pane-${name}">
      <header><h2 id="pane-${name}">${title}</h2>${side}</header>
      <div class="scroll ${stale ? "stale" : ""}" tabindex="-1">${children}</div>
    </section>
  `;
}

// For what cannot be taken back: the first press asks, the second within 3 s does it.
export function SureButton({ label, sure, disabled, onSure }) {
  const [asking, setAsking] = useState(false);
  const timer = useRef();
  useEffect(() => () => clearTimeout(timer.current), []);
  const press = () => {
    clearTimeout(timer.current);
    if (asking) {
      setAsking(false);
      onSure();
      return;
    }
    setAsking(true);
    timer.current = setTimeout(() => setAsking(false), SURE_MS);
  };
  return html`
    <button type="button" class="danger ${asking ? "really" : ""}" disabled=${disabled} onClick=${press}>
      ${asking ? sure : label}
    </button>
    <span class="visually-hidden" role="status">${asking ? `Press again within 3 seconds: ${sure}` : ""}</span>
  `;
}

// The time of the wall, again every `everyMs`; a sleeping tab's timer is late, its clock is not.
export function useNow(everyMs = 1000) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
