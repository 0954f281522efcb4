// Nothing runs: camera, target, output, start.

import { attempt } from "./api.js";
import { fill, h, rich, say } from "./dom.js";
import { mirrorSwitch } from "./mirror.js";
import { TargetGallery } from "./targets.js";
import { outputChoice } from "./outputs.js";
import { T } from "./texts.js";

const LOOK_MS = 3000;

export class StartView {
  constructor(page) {
    this.page = page;
    this.source = null;
    this.target = null;
    this.outputs = null;
    this.watched = "";
    const canvas = h("canvas", { role: "img", "aria-label": T.stage.actorLabel });
    this.canvases = { actor: canvas };
    this.thumb = h("div.thumb", canvas, h("p.muted", T.first.noPicture));
    const mirrors = mirrorSwitch("actor", canvas, T.stage.mirror);
    this.sources = h("div.choices", { role: "radiogroup", "aria-label": T.first.camera });
    this.outputList = h("div.choices");
    const choose = (name) => {
      this.target = name;
      this.refresh();
    };
    this.gallery = new TargetGallery(page, choose, (old, name) => old === this.target && choose(name));
    this.problem = h("p.problem", { role: "alert" });
    this.button = h(
      "button.primary.large",
      { type: "button", onclick: () => this.start() },
      T.first.start,
    );
    this.note = h("p.muted");
    this.element = h(
      "div.start",
      h("div.lead", h("h2", T.first.title), h("p.muted", T.first.lead)),
      h(
        "div.steps",
        step(1, T.first.camera, T.first.cameraHelp, this.thumb, mirrors, this.sources, this.addressForm()),
        step(2, T.first.target, T.first.targetHelp, this.gallery.element),
        step(3, T.first.output, T.first.outputHelp, this.outputList),
      ),
      h("div.go", this.problem, this.button, this.note),
    );
    page.live.watch("actor", true);
    page.live.watch("output", false);
    this.look();
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  end() {
    clearInterval(this.timer);
    this.page.live.watch("actor", false);
  }

  async look() {
    if (!this.page.live.connected) return;
    const [sources, outputs] = await Promise.all([
      attempt("GET", "sources"),
      this.known ? this.known : attempt("GET", "outputs"),
    ]);
    if (!sources || !outputs) return;
    this.known = outputs;
    fill(this.sources, sources, () =>
      sources.length ? sources.map((one) => this.camera(one)) : h("p.muted", T.first.noCamera),
    );
    if (sources.length === 1 && !this.source) this.choose(sources[0].source);
    this.refresh();
  }

  camera(one) {
    const input = h("input", {
      type: "radio",
      name: "source",
      value: one.source,
      onchange: () => this.choose(one.source),
    });
    const named = one.source === `webcam:${one.name}` || /^video:\w+:\/\//.test(one.source);
    const told = named ? null : h("small", one.source);
    return h("label.choice", input, h("span", one.name), told);
  }

  addressForm() {
    const address = h("input", {
      type: "text",
      inputMode: "url",
      required: true,
      "aria-label": T.first.addressLabel,
    });
    const use = async (event) => {
      event.preventDefault();
      const text = address.value.trim().replace(/^(?!\w+:\/\/)/, "http://");
      await this.choose(`video:${text}`);
      this.look(); // the program lists it by its name
    };
    const button = h("button.quiet", { type: "submit" }, T.first.useAddress);
    const row = h("form.row", { onsubmit: use }, address, button);
    const help = h("p.muted", rich(T.first.addressHelp));
    return h("details", h("summary", T.first.address), help, row);
  }

  async choose(source) {
    this.source = source;
    this.refresh();
    if (this.watched === source) return;
    this.watched = source;
    await attempt("POST", "watch", { source });
  }

  drawn() {
    this.thumb.classList.add("seen");
  }

  update(state) {
    this.state = state;
    const choice = state.choice;
    if (this.outputs === null) {
      this.outputs = new Set(choice.outputs);
      this.target = choice.target || null;
    }
    if (!this.source && choice.source) this.wanted = choice.source;
    this.gallery.update(state, this.target);
    this.refresh();
  }

  refresh() {
    if (!this.state) return;
    if (this.wanted && this.sources.querySelector(`[value="${CSS.escape(this.wanted)}"]`)) {
      const wanted = this.wanted;
      this.wanted = null;
      this.choose(wanted);
      return;
    }
    for (const input of this.sources.querySelectorAll("input")) {
      input.checked = input.value === this.source;
    }
    if (this.gallery.lacks(this.target)) this.target = null;
    this.gallery.mark(this.target);
    if (this.known) {
      fill(this.outputList, this.known, () =>
        this.known.map((one) =>
          outputChoice(one, this.outputs.has(one.output), (on) =>
            on ? this.outputs.add(one.output) : this.outputs.delete(one.output),
          ),
        ),
      );
    }
    const starting = this.state.phase === "starting";
    this.button.disabled = starting || !this.source || !this.target;
    say(this.button, starting ? T.first.starting : T.first.start);
    const missing = ["source", "target"].find((what) => !this[what]);
    say(this.note, starting ? T.first.startingHelp : missing ? T.first.missing[missing] : "");
    const problem = this.state.error || this.state.source_problem;
    fill(this.problem, problem, () => rich(problem));
  }

  async start() {
    this.button.disabled = true;
    const { source, target } = this;
    await attempt("POST", "start", { source, target, outputs: [...this.outputs] });
  }
}

function step(number, title, help, ...content) {
  return h(
    "section.card.step",
    h("h3", h("span.number", { "aria-hidden": "true" }, number), title),
    h("p.muted", help),
    content,
  );
}
