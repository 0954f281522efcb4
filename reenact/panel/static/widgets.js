// A widget for each setting, made from its declaration: range, unit, help, live or not.

import { attempt } from "./api.js";
import { h, say, toast, unique } from "./dom.js";
import { T } from "./texts.js";

/** Read all settings. */
export const settings = async () => (await attempt("GET", "settings")) ?? [];

/** Change settings; tells which of them wait for the next start. */
export async function change(values) {
  const waiting = await attempt("PATCH", "settings", { values });
  if (waiting?.length) toast(T.expression.waits);
  return waiting;
}

const usual = (name) => {
  const words = name.split(".").pop().replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
};

const step = (one) => {
  if (one.kind === "integer") return one.unit === "px" ? 16 : 1;
  const range = one.max - one.min;
  return range > 20 ? 1 : range > 5 ? 0.1 : 0.05;
};

const shown = (one, value) => `${Number(Number(value).toFixed(2))}${one.unit ? ` ${one.unit}` : ""}`;

const shownChoice = (one, value) =>
  T.choices[one.name]?.[value] ?? `${value}${one.unit ? ` ${one.unit}` : ""}`;

/** Return the widget of one setting. */
export function widget(one, { changed = () => {}, compact = false } = {}) {
  const id = unique("setting");
  const help = unique("help");
  const label = T.labels[one.name] ?? usual(one.name);
  const set = async (value) => {
    const field = document.getElementById(id);
    field.disabled = true;
    const refused = (await change({ [one.name]: value })) === undefined;
    field.disabled = false;
    if (refused) field.closest(".setting").replaceWith(widget(one, { changed, compact }));
    else changed(one.name, (one.value = value));
  };
  const note = h("small", { id: help }, (T.helps[one.name] ?? one.help) + (one.live || compact ? "" : ` (${T.settings.waits})`));
  const about = { id, "aria-describedby": help, "data-setting": one.name };
  if (one.kind === "boolean") {
    const box = h("input", {
      ...about, type: "checkbox", role: "switch", checked: one.value,
      onchange: () => set(box.checked),
    });
    return h("div.setting.flag", h("label.switch", box, h("span", label)), note);
  }
  if (one.kind === "choice") {
    const options = one.choices.map((value) =>
      h("option", { value: String(value), selected: value === one.value }, shownChoice(one, value)),
    );
    const list = h("select", {
      ...about, onchange: () => set(one.choices[list.selectedIndex]),
    }, options);
    return h("div.setting", h("label", { htmlFor: id }, label), list, note);
  }
  if (["number", "integer"].includes(one.kind) && one.min !== null && one.max !== null) {
    const value = h("output", { htmlFor: id }, shown(one, one.value));
    const slider = h("input", {
      ...about, type: "range", min: one.min, max: one.max, step: step(one),
      oninput: () => say(value, shown(one, slider.value)),
      onchange: () => set(Number(slider.value)),
    });
    slider.value = one.value;
    return h("div.setting", h("div.row", h("label", { htmlFor: id }, label), value), slider, note);
  }
  const number = ["number", "integer"].includes(one.kind);
  const type = number ? "number" : one.kind === "color" ? "color" : "text";
  const field = h("input", {
    ...about, type, value: one.value, step: number ? "any" : null,
    onchange: () => set(number ? Number(field.value) : field.value),
  });
  return h("div.setting", h("label", { htmlFor: id }, label), field, note);
}
