// Keys of the keyboard: each view names its own while it is shown, and the newest layer is asked first.
import { useLayoutEffect, useRef } from "./htm-preact.js";

const layers = [];
const TYPES = /^(INPUT|TEXTAREA|SELECT)$/;
const PRESSES = /^(BUTTON|A|SUMMARY)$/; // which Enter and the space bar press already

// `keys` has a function for each key, by the name that `KeyboardEvent.key` has.
export function useKeys(keys) {
  const layer = useRef();
  layer.current = keys;
  useLayoutEffect(() => {
    layers.push(layer);
    return () => layers.splice(layers.indexOf(layer), 1);
  }, []);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const { tagName } = event.target;
  if (document.querySelector("dialog[open]")) return;
  if (TYPES.test(tagName) && event.key !== "Escape") return;
  if (PRESSES.test(tagName) && (event.key === " " || event.key === "Enter")) return;
  for (const { current } of [...layers].reverse()) {
    const run = current[event.key];
    if (!run) continue;
    event.preventDefault();
    if (TYPES.test(tagName)) event.target.blur();
    run(event);
    return;
  }
});
