// Sets of settings, kept under names and shared as files.

import { attempt } from "./api.js";
import { ask, fill, h, rich, suggestedName, toast } from "./dom.js";
import { startAgainButton } from "./ending.js";
import { T } from "./texts.js";

const path = (name) => `presets/${encodeURIComponent(name)}`;

export class PresetsTab {
  constructor(page) {
    this.field = h("input", { name: "preset", required: true, maxLength: 48, "aria-label": T.presets.name, placeholder: T.presets.name });
    const form = h(
      "form.row.start",
      { onsubmit: (event) => (event.preventDefault(), this.save()) },
      this.field,
      h("button.primary", { type: "submit" }, T.presets.save),
    );
    this.pending = null;
    this.note = h("div.notice", { hidden: true });
    this.waits = new Set();
    const told = h("span", { role: "status" });
    this.waiting = h("div.notice", { hidden: true }, told, startAgainButton(page));
    this.list = h("ul.list");
    this.file = h("input.hidden", {
      type: "file", accept: ".toml", tabIndex: -1, "aria-label": T.presets.load,
      onchange: () => this.open(this.file.files[0]),
    });
    const load = h("button.quiet", { type: "button", onclick: () => this.file.click() }, T.presets.load);
    this.element = h(
      "div",
      h("h2", T.presets.title),
      h("p.muted", T.presets.help),
      form,
      this.note,
      this.waiting,
      this.list,
      h("div.row.start", load, this.file),
    );
  }

  async opened() {
    const names = (this.names = (await attempt("GET", "presets")) ?? []);
    fill(this.list, names, () =>
      names.length ? names.map((name) => this.row(name)) : h("li.muted", T.presets.none),
    );
  }

  row(name) {
    const button = (text, onclick) => h("button.quiet", { type: "button", onclick, "aria-label": `${text}: ${name}` }, text);
    return h(
      "li",
      h("span.name", name),
      button(T.presets.use, () => this.use(name)),
      h("a.button.quiet", { href: `/api/${path(name)}/file`, download: "", "aria-label": `${T.presets.file}: ${name}` }, T.presets.file),
      button(T.presets.remove, async () => {
        if (!(await agreed(T.presets.removal, name))) return;
        await attempt("DELETE", path(name));
        await this.opened();
      }),
    );
  }

  /** Apply a preset, and tell which of its settings wait for the next start. */
  async use(name) {
    const waiting = await attempt("POST", path(name));
    if (waiting === undefined) return;
    toast(T.presets.used(name));
    for (const one of waiting) this.waits.add(one);
    this.waiting.hidden = this.waits.size === 0;
    this.waiting.firstChild.replaceChildren(...rich(T.presets.waits([...this.waits])));
  }

  /** Store the file that was opened, or else the current settings. */
  async save() {
    const name = this.field.value.trim();
    const toml = this.pending?.toml ?? null;
    if (this.names?.includes(name) && !(await agreed(T.presets.replacement, name))) return;
    if ((await attempt("PUT", path(name), { toml })) === undefined) return;
    toast(T.presets.saved(name));
    this.keep(null);
    await this.opened();
  }

  async open(file) {
    if (!file) return;
    this.keep({ name: file.name, toml: await file.text() });
    this.file.value = "";
    await this.save();
  }

  /** Keep a file's content until it is saved, perhaps under another name; null: no longer. */
  keep(file) {
    this.pending = file;
    this.field.value = file ? suggestedName(file.name) : "";
    this.note.hidden = !file;
    const cancel = h("button.quiet", { type: "button", onclick: () => this.keep(null) }, T.presets.cancel);
    if (file) this.note.replaceChildren(h("span", T.presets.pending(file.name)), cancel);
  }
}

/** Ask before a preset is lost. */
function agreed({ title, help, accept, cancel }, name) {
  return ask(title(name), h("p", help), accept, cancel);
}
