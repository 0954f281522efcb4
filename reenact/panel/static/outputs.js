// Where the picture goes, on and off while live, and the recording.

import { attempt, call, send } from "./api.js";
import { ask, fill, h, rich, say, suggestedName, toast } from "./dom.js";
import { confirmed } from "./ending.js";
import { perform, record, setSound, withSound } from "./keys.js";
import { T } from "./texts.js";
import { change, settings, widget } from "./widgets.js";

const BEHIND = ["output.background", "output.background_colour"];
const PICTURE = ["output.shape", "output.label", "renderer.size", "output.max_side", "output.fps"];

/** A switch for one output, with what it is for. */
export function outputChoice(one, on, changed) {
  const box = h("input", {
    type: "checkbox",
    role: "switch",
    checked: on,
    "data-output": one.output,
    onchange: () => changed(box.checked),
  });
  const help = T.outputs.helps[one.output] ?? `${one.summary}. ${one.needs ? T.outputs.needs(one.needs) : ""}`;
  return h(
    "div.output",
    h("label.switch", box, h("span", T.outputs.names[one.output] ?? one.output)),
    h("small", rich(help)),
    h("small.problem"),
  );
}

async function delaySound() {
  const told = await attempt("POST", "obs-sound");
  if (told) toast(told);
}

export class OutputsTab {
  constructor(page) {
    this.page = page;
    this.known = null;
    this.sending = new Set();
    this.list = h("div.choices");
    const click = () => record(page.state().session);
    this.record = h("button.record", { type: "button", onclick: click }, T.outputs.record);
    const picture = h(
      "button", { type: "button", title: T.outputs.takePictureHelp, onclick: () => perform("picture") },
      T.outputs.takePicture,
    );
    this.path = h("small");
    this.picture = h("fieldset.picture", h("legend", T.outputs.picture));
    this.file = h("input.hidden", {
      type: "file", accept: "image/*", tabIndex: -1, "aria-label": T.outputs.addBackground,
      onchange: () => this.addBackground(this.file.files[0]),
    });
    const add = h("button.quiet", { type: "button", onclick: () => this.file.click() }, T.outputs.addBackground);
    this.remove = h(
      "button.quiet", { type: "button", hidden: true, onclick: () => this.removeBackground() },
      T.outputs.removeBackground,
    );
    this.adding = h("div.row.start", add, this.file, this.remove);
    const sound = h("input", {
      type: "checkbox",
      role: "switch",
      checked: withSound(),
      onchange: () => setSound(sound.checked),
    });
    this.element = h(
      "div",
      h("h2", T.outputs.title),
      h("p.muted", T.outputs.help),
      this.list,
      h("h3", T.outputs.recording),
      h("label.switch", sound, h("span", T.outputs.withSound)),
      h("div.row.start", this.record, picture),
      this.path,
      this.picture,
      h("h3", T.outputs.sound),
      h("p.muted", T.outputs.soundHelp),
      h("div.row.start", h("button", { type: "button", onclick: delaySound }, T.outputs.delaySound)),
    );
  }

  async opened() {
    const [known, all] = await Promise.all([attempt("GET", "outputs"), settings()]);
    this.failed = !known || !all?.length;
    if (this.failed) return; // the next state asks again
    this.known = known;
    const wanted = new Map(all.map((one) => [one.name, one]));
    const shown = (names) => names.map((name) => widget(wanted.get(name)));
    this.picture.replaceChildren(
      this.picture.firstChild, ...shown(BEHIND), this.adding, ...shown(PICTURE),
    );
    this.update(this.page.state());
  }

  /** Keep a picture of the user's, and show it behind the target. */
  async addBackground(file) {
    if (!file) return;
    try {
      const upload = await send(file);
      const name = suggestedName(file.name) || T.outputs.background;
      await change({ "output.background": await call("POST", "backgrounds", { name, upload }) });
    } catch (error) {
      toast(error.message, { bad: true });
    }
    this.file.value = "";
    await this.opened();
  }

  /** The background that is chosen, if it is a picture of the user's; else "". */
  get ownBackground() {
    const chosen = this.picture.querySelector('[data-setting="output.background"]')?.value ?? "";
    return chosen in T.choices["output.background"] ? "" : chosen;
  }

  async removeBackground() {
    const name = this.ownBackground;
    const { title, help, accept, cancel } = T.outputs.removal;
    if (!name || !(await ask(title(name), h("p", help), accept, cancel))) return;
    await attempt("DELETE", `backgrounds/${encodeURIComponent(name)}`);
    await this.opened();
  }

  /** Switch an output, off only after asking while a call or stream may show it. */
  async switchOutput(output, on) {
    this.sending.add(output);
    const wanted = on || (await confirmed(this.page, T.ending.output, (name) => name === output));
    if (wanted) await attempt("POST", "outputs", { output, on });
    this.sending.delete(output);
    if (!wanted) this.update(this.page.state()); // the switch shows again that it is on
  }

  update(state) {
    this.remove.hidden = !this.ownBackground;
    if (this.failed) {
      this.failed = false;
      this.opened();
    }
    const session = state?.session;
    if (!session || !this.known) return;
    const typed = session.outputs
      .map((one) => one.name)
      .filter((name) => name !== "panel" && !name.startsWith("file:"))
      .filter((name) => !this.known.some((one) => one.output === name))
      .map((name) => ({ output: name, summary: name, needs: "" }));
    const all = [...this.known, ...typed];
    fill(this.list, all, () =>
      all.map((one) =>
        outputChoice(one, false, (on) => this.switchOutput(one.output, on)),
      ),
    );
    for (const box of this.list.querySelectorAll("input")) {
      const one = session.outputs.find((output) => output.name === box.dataset.output);
      if (!this.sending.has(box.dataset.output)) box.checked = Boolean(one && !one.error);
      const problem = box.closest(".output").querySelector(".problem");
      fill(problem, one?.error ?? "", () => rich(one?.error ?? ""));
    }
    const on = Boolean(session.recording);
    say(this.record, on ? T.outputs.stopRecording : T.outputs.record);
    this.record.classList.toggle("on", on);
    say(this.path, on ? T.outputs.recordingTo(session.recording) : T.outputs.recordHelp);
  }
}
