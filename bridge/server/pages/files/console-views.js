// The views of the console. Each has a path in the address behind the "#", and gets what follows it as `rest`.
import { FinishedView } from "./console-finished.js";
import { LiveView } from "./console-live.js";

export const VIEWS = [
  { path: "live", title: "Live", view: LiveView },
  { path: "finished", title: "Finished", view: FinishedView },
];

// `#/live/CA1` is the view "live" with the rest ["CA1"]. The first view is shown for an unknown address.
export function routeOf(hash) {
  const [path, ...rest] = hash.replace(/^#\/?/, "").split("/").map(decode);
  const view = VIEWS.find((one) => one.path === path) ?? VIEWS[0];
  return { view, rest: view.path === path ? rest : [] };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
