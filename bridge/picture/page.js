"use strict";
const tip = document.getElementById("tip");

function showTip(_handler, event, _item, value) {
  if (value == null || value === "") { tip.hidden = true; return; }
  const [title, when, ...rest] = String(value).split("\n");
  tip.replaceChildren(...[["b", title], ["i", when], ["pre", rest.join("\n")]]
    .filter(([, text]) => text)
    .map(([name, text]) => Object.assign(document.createElement(name), { textContent: text })));
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), gap = 14;
  const left = Math.min(event.clientX + gap, innerWidth - box.width - 8);
  const below = event.clientY + gap + box.height < innerHeight;
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = Math.max(8, below ? event.clientY + gap : event.clientY - gap - box.height) + "px";
}

const specification = JSON.parse(document.getElementById("specification").textContent);
const options = { mode: "vega-lite", renderer: "svg", actions: false, tooltip: showTip };
let view;
vegaEmbed("#chart", specification, options).then((chart) => {
  view = chart.view;
  document.getElementById("chart").append(head);
  document.body.dataset.drawn = "yes";
});

const player = document.getElementById("player");
const head = Object.assign(document.createElement("div"), { id: "head", hidden: true });

function drawHead() {
  if (!view) return;
  const at = view.scale("x")(player.currentTime * 1000);
  head.hidden = at < 0 || at > view.width();
  head.style.left = (at + view.origin()[0]) + "px";
  if (!player.paused) requestAnimationFrame(drawHead);
}

if (player) for (const kind of ["play", "seeked", "timeupdate"]) player.addEventListener(kind, drawHead);

const axis = ZOOM + "_at";
const domain = () => view.scale("x").domain();

function look(from, to) {
  const width = Math.min(Math.max(to - from, 200), END_MS);
  const start = Math.min(Math.max(from, 0), END_MS - width);
  view.signal(axis, [start, start + width]).runAsync().then(() => player && drawHead());
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !view) return;
  const [from, to] = domain(), middle = (from + to) / 2, half = (to - from) / 2;
  if (button.dataset.zoom === "whole") look(0, END_MS);
  if (button.dataset.zoom === "in") look(middle - half / 2, middle + half / 2);
  if (button.dataset.zoom === "out") look(middle - half * 2, middle + half * 2);
  if (button.dataset.at) {
    if (player) player.currentTime = Number(button.dataset.at) / 1000;
    look(Number(button.dataset.at) - 2000, Number(button.dataset.at) + 3000);
    document.querySelector(".timeline").scrollIntoView({ behavior: "smooth", block: "nearest" });
  }
});
