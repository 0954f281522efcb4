// A widget for each setting, made from its declaration: range, unit, help, live or not.

import { attempt } from "./api.js";
import { h, say, toast, unique } from "./dom.js";
import { T } from "./texts.js";

/** Read all settings. */
export const settings = async () => (await attempt("GET", "settings")) ?? [];

let before = Promise.resolve();

/** Change settings, after all earlier changes; tells which of them wait for the next start. */
export async function change(values) {
  // Of two requests on their way at once the older might arrive last, and its value would stay.
  before = before.then(() => attempt("PATCH", "settings", { values }));
  const waiting = await before;
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

/** Show the current values in the widgets of a part of the page. */
export async function refresh(part) {
  const all = await settings();
  const known = new Map(all.map((one) => [one.name, one]));
  for (const field of all.length ? part.querySelectorAll("[data-setting]") : []) {
    // A field in use is left alone until it loses the focus.
    const inUse = field === document.activeElement;
    field.onblur = inUse ? () => refresh(part) : null;
    if (!inUse) field.refill(known);
  }
}

/** Return the widget of one setting; `changed` is called with its name after a change. */
export function widget(one, { changed = () => {} } = {}) {
  const id = unique("setting");
  const help = unique("help");
  let sent = 0;
  const set = async (value) => {
    const number = ++sent;
    const refused = (await change({ [one.name]: value })) === undefined;
    if (number !== sent) return; // a later value counts
    if (refused) show(one.value);
    else changed(one.name, (one.value = value));
  };
  const about = { id, "aria-describedby": help, "data-setting": one.name };
  const { field, show, value } = control(one, about, set);
  field.refill = (known) => show((one.value = known.get(one.name).value));
  show(one.value);
  const label = T.labels[one.name] ?? usual(one.name);
  const note = h("small", { id: help }, (T.helps[one.name] ?? one.help) + (one.live ? "" : ` (${T.settings.waits})`));
  if (one.kind === "boolean") {
    return h("div.setting.flag", h("label.switch", field, h("span", label)), note);
  }
  const title = h("label", { htmlFor: id }, label);
  return h("div.setting", value ? h("div.row", title, value) : title, field, note);
}

/** Make the field of a setting; `show` fills a value in, and `value` shows that of a slider. */
function control(one, about, set) {
  const number = ["number", "integer"].includes(one.kind);
  if (one.kind === "boolean") {
    const field = h("input", {
      ...about, type: "checkbox", role: "switch", onchange: () => set(field.checked),
    });
    return { field, show: (value) => (field.checked = value) };
  }
  if (one.kind === "choice") {
    const options = one.choices.map((value) =>
      h("option", { value: String(value) }, shownChoice(one, value)),
    );
    const field = h("select", { ...about, onchange: () => set(one.choices[field.selectedIndex]) }, options);
    return { field, show: (value) => (field.selectedIndex = one.choices.indexOf(value)) };
  }
  if (number && one.min !== null && one.max !== null) {
    const value = h("output", { htmlFor: about.id });
    const field = h("input", {
      ...about, type: "range", min: one.min, max: one.max, step: step(one),
      oninput: () => say(value, shown(one, field.value)),
      onchange: () => set(Number(field.value)),
    });
    const show = (wanted) => {
      field.value = wanted;
      say(value, shown(one, wanted));
    };
    return { field, show, value };
  }
  const type = number ? "number" : one.kind === "color" ? "color" : "text";
  const field = h("input", {
    ...about, type, step: number ? "any" : null,
    onchange: () => set(number ? Number(field.value) : field.value),
  });
  return { field, show: (value) => (field.value = value) };
}
