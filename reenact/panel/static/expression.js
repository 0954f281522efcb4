// How strongly, how steadily and within which limits the target follows.

import { h, unique } from "./dom.js";
import { T } from "./texts.js";
import { change, settings, widget } from "./widgets.js";

const GROUPS = [
  ["strength", ["drive.intensity", "drive.emotion", "drive.mix"]],
  ["regions", ["fusion.mouth", "fusion.eyes", "fusion.gaze", "fusion.brows"]],
  ["timing", ["steadiness"]],
  ["head", ["fusion.pose", "fusion.translation", "fusion.max_yaw", "fusion.max_pitch", "fusion.max_roll"]],
  ["options", ["fusion.mirror", "fusion.blinks", "fusion.voice", "idle.life", "fusion.mode"]],
];

const UNITS = "drive.units.";

const CUTOFFS = ["smoothing.pose_min_cutoff", "smoothing.expression_min_cutoff"];
const RANGE = 8;

export class ExpressionTab {
  constructor() {
    this.element = h("div");
  }

  async opened() {
    const known = new Map((await settings()).map((one) => [one.name, one]));
    const groups = GROUPS.map(([title, names]) => {
      const widgets = names
        .map((name) => (name === "steadiness" ? steadiness(known) : known.has(name) && widget(known.get(name))))
        .filter((one) => one);
      return widgets.length && h("fieldset", h("legend", T.expression[title]), widgets);
    });
    const units = namesIn(known, UNITS).map((name) => widget(known.get(name)));
    const back = h(
      "button.quiet",
      { type: "button", onclick: () => this.reset(known) },
      T.expression.reset,
    );
    this.element.replaceChildren(
      h("h2", T.expression.title),
      ...groups.filter((one) => one),
      h(
        "details.group",
        h("summary", h("strong", T.expression.units), h("small", T.expression.unitsHelp)),
        units,
      ),
      h("div.row.end", back),
    );
  }

  async reset(known) {
    const names = [...GROUPS.flatMap(([, some]) => some), ...CUTOFFS, ...namesIn(known, UNITS)];
    const live = names.map((name) => known.get(name)).filter((one) => one?.live);
    await change(Object.fromEntries(live.map((one) => [one.name, one.default])));
  }
}

const namesIn = (known, section) => [...known.keys()].filter((name) => name.startsWith(section));

/** One slider for smoothing against delay: it moves both cut-off frequencies together. */
function steadiness(known) {
  const cutoffs = CUTOFFS.map((name) => known.get(name));
  if (cutoffs.some((one) => !one)) return null;
  const id = unique("setting");
  const help = unique("help");
  const slider = h("input", {
    id, type: "range", min: -1, max: 1, step: 0.1, "aria-describedby": help,
    "data-setting": "steadiness",
    onchange: () =>
      change(
        Object.fromEntries(
          cutoffs.map((one) => [one.name, Math.min(60, one.default * RANGE ** Number(slider.value))]),
        ),
      ),
  });
  slider.refill = (all) => {
    const { value, default: usual } = all.get(CUTOFFS[0]);
    slider.value = Math.log(value / usual) / Math.log(RANGE);
  };
  slider.refill(known);
  return h(
    "div.setting",
    h("label", { htmlFor: id }, T.expression.steadiness),
    slider,
    h("div.row.ends", h("small", T.expression.steady), h("small", T.expression.quick)),
    h("small", { id: help }, T.expression.steadinessHelp),
  );
}
