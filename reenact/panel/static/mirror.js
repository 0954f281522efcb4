// Mirrors a picture on this page alone; the browser remembers which.

import { h } from "./dom.js";
import { T } from "./texts.js";

const stored = (kind) => `reenact-mirror-${kind}`;

// One's own picture is usual as in a mirror. In the output a label would read backwards.
const USUAL = { actor: "on", output: "off" };

/** Make the switch that mirrors the canvas of a kind of picture. */
export function mirrorSwitch(kind, canvas, text) {
  const show = () => canvas.classList.toggle("mirrored", box.checked);
  const box = h("input", {
    type: "checkbox",
    role: "switch",
    checked: (localStorage.getItem(stored(kind)) ?? USUAL[kind]) === "on",
    onchange: () => {
      localStorage.setItem(stored(kind), box.checked ? "on" : "off");
      show();
    },
  });
  show();
  return h("label.switch", { title: T.stage.mirrorHelp }, box, h("span", text));
}
