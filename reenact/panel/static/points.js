// The points of a target's face, placed by hand: for drawings, whose eyes the tracker finds too small.

import { attempt } from "./api.js";
import { ask, h } from "./dom.js";
import { T } from "./texts.js";

const EYE = /^(left|right)_eye_/;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Let the user move the points of a target's face; true if they were stored. */
export async function placePoints(name, path, version) {
  const found = await attempt("GET", `${path}/points`);
  if (!found) return false;
  const places = new Map(Object.entries(found.points));
  const moved = new Set();
  const board = h(
    "div.points",
    h("img", { src: `/api/${path}/picture?large&${version}`, alt: T.points.picture(name), draggable: false }),
    [...places.keys()].map((point) => handle(point, places, found.side, () => moved.add(point))),
  );
  const content = [h("p.muted", T.points.help), board];
  const kept = await ask(T.points.title, content, T.targets.save, T.targets.cancel);
  if (!kept || !moved.size) return false;
  return (await attempt("PUT", `${path}/points`, { points: changed(places, moved) })) !== undefined;
}

/** The points to send: of an eye that was changed, the whole outline. */
function changed(places, moved) {
  const eyes = [...moved].map((point) => EYE.exec(point)?.[0]).filter(Boolean);
  const sent = [...places].filter(([point]) => moved.has(point) || eyes.includes(EYE.exec(point)?.[0]));
  return Object.fromEntries(sent);
}

/** A point that is dragged, or moved by the arrow keys. */
function handle(point, places, side, onmove) {
  const label = point.replaceAll("_", " ");
  const button = h(`button.point.${kind(point)}`, { type: "button", title: label, "aria-label": label });
  const show = () => {
    const [x, y] = places.get(point);
    button.style.left = `${(100 * x) / side}%`;
    button.style.top = `${(100 * y) / side}%`;
  };
  const move = (x, y) => {
    places.set(point, [x, y].map((value) => Math.min(Math.max(value, 0), side - 1)));
    onmove();
    show();
  };
  button.addEventListener("pointerdown", (event) => button.setPointerCapture(event.pointerId));
  button.addEventListener("pointermove", (event) => {
    if (!button.hasPointerCapture(event.pointerId)) return;
    const box = button.parentElement.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side);
  });
  button.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const [x, y] = places.get(point);
    const px = (event.shiftKey ? 10 : 1) * Math.max(side / 512, 1);
    move(x + step[0] * px, y + step[1] * px);
  });
  show();
  return button;
}

const kind = (point) => (/pupil|iris/.test(point) ? "iris" : EYE.test(point) ? "eye" : "face");
