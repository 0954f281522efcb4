// The actor's neutral face, and a bar for each thing that a face does.

import { attempt } from "./api.js";
import { fill, h, say, toast } from "./dom.js";
import { T } from "./texts.js";

export class CalibrateTab {
  constructor() {
    this.count = h("p.count", { role: "timer", "aria-live": "assertive" });
    const look = h("button.primary", { type: "button", onclick: () => this.start() }, T.calibrate.look);
    const undo = h("button.quiet", { type: "button", onclick: () => this.undo() }, T.calibrate.undo);
    this.bars = h("div.bars");
    this.element = h(
      "div",
      h("h2", T.calibrate.title),
      h("p.muted", T.calibrate.help),
      h("div.row.start", look, undo),
      this.count,
      h(
        "div.row",
        h("h3", T.calibrate.bars),
        h("div.legend", h("span.you", T.calibrate.you), h("span.it", T.calibrate.target)),
      ),
      this.bars,
    );
    this.features([]);
  }

  async start() {
    if (this.counting) return;
    this.counting = true;
    for (let left = 3; left > 0; left -= 1) {
      say(this.count, T.calibrate.counting(left));
      await new Promise((done) => setTimeout(done, 1000));
    }
    this.counting = false;
    say(this.count, "");
    if ((await attempt("POST", "neutral")) !== undefined) say(this.count, T.calibrate.done);
  }

  async undo() {
    if ((await attempt("DELETE", "neutral")) !== undefined) {
      say(this.count, "");
      toast(T.calibrate.undone);
    }
  }

  features(features) {
    fill(this.bars, features.map((one) => one.name), () =>
      features.length ? features.map(bar) : h("p.muted", T.calibrate.nothing),
    );
    for (const one of features) {
      const row = this.bars.querySelector(`[data-feature="${one.name}"]`);
      place(row.querySelector(".you"), one.actor, one.signed);
      place(row.querySelector(".it"), one.output, one.signed);
      say(row.querySelector(".value"), `${percent(one.actor)} → ${percent(one.output)}`);
    }
  }
}

const percent = (value) => `${Math.round(100 * value)}`;

function bar(one) {
  return h(
    "div.bar",
    { "data-feature": one.name },
    h("span", T.calibrate.names[one.name] ?? one.name),
    h(`div.track${one.signed ? ".signed" : ""}`, { "aria-hidden": "true" }, h("i.you"), h("i.it")),
    h("span.value"),
  );
}

function place(line, value, signed) {
  const size = Math.min(Math.abs(value), 1) * (signed ? 50 : 100);
  line.style.setProperty("--from", `${signed ? (value < 0 ? 50 - size : 50) : 0}%`);
  line.style.setProperty("--size", `${size}%`);
}
