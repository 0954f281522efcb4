// A session runs: the target large, its status, and the tabs of controls.

import { attempt } from "./api.js";
import { CalibrateTab } from "./calibrate.js";
import { fill, h, rich, say, unique } from "./dom.js";
import { ExpressionTab } from "./expression.js";
import { mirrorSwitch } from "./mirror.js";
import { OutputsTab } from "./outputs.js";
import { PresetsTab } from "./presets.js";
import { SettingsTab } from "./settings.js";
import { TargetsTab } from "./targets.js";
import { T } from "./texts.js";
import { refresh } from "./widgets.js";

const TABS = [
  ["targets", TargetsTab],
  ["expression", ExpressionTab],
  ["calibrate", CalibrateTab],
  ["outputs", OutputsTab],
  ["presets", PresetsTab],
  ["settings", SettingsTab],
];

const MAX_DELAY_MS = 250;

export class LiveView {
  constructor(page) {
    this.page = page;
    const output = h("canvas", { role: "img", "aria-label": T.stage.label });
    const actor = h("canvas", { role: "img", "aria-label": T.stage.actorLabel });
    this.canvases = { output, actor };
    this.inset = h("div.inset", { hidden: true }, actor);
    this.mirrorsActor = mirrorSwitch("actor", actor, T.stage.mirrorActor);
    this.mirrorsActor.hidden = true;
    this.waiting = h("p.waiting", T.stage.waiting);
    this.showsActor = h("input", {
      type: "checkbox",
      role: "switch",
      onchange: () => this.showActor(this.showsActor.checked),
    });
    // A problem is announced once, and not again when its figures change.
    this.problems = h("ul.problems", { "aria-live": "polite", "aria-relevant": "additions" });
    this.status = new Status();
    this.tabs = new Tabs(page);
    this.element = h(
      "div.live",
      h(
        "div.left",
        h(
          "div.stage",
          output,
          this.waiting,
          this.inset,
        ),
        h(
          "div.views",
          mirrorSwitch("output", output, T.stage.mirror),
          h("label.switch", this.showsActor, h("span", T.stage.actor)),
          this.mirrorsActor,
        ),
        this.problems,
        this.status.element,
      ),
      this.tabs.element,
    );
    page.live.watch("output", true);
    page.live.watch("actor", false);
  }

  end() {
    for (const what of ["output", "actor", "features"]) this.page.live.watch(what, false);
  }

  showActor(on) {
    this.page.live.watch("actor", on);
    this.inset.hidden = this.mirrorsActor.hidden = !on;
  }

  drawn(kind) {
    if (kind === "output") this.waiting.hidden = true;
  }

  features(features) {
    this.tabs.current.features?.(features);
  }

  update(state) {
    const session = state.session;
    const places = session.problems.map((one) => one.where);
    fill(this.problems, places, () => places.map(() => h("li")));
    for (const [number, one] of session.problems.entries()) {
      fill(this.problems.children[number], one, () => [
        h("strong", rich(one.what)), " ", one.do, " ", one.output && giveUpButton(one.output),
      ]);
    }
    this.problems.hidden = session.problems.length === 0;
    this.status.update(session);
    this.tabs.update(state);
  }
}

/** Make a button that forgets an output that has failed. */
function giveUpButton(output) {
  const off = () => attempt("POST", "outputs", { output, on: false });
  return h("button.quiet", { type: "button", onclick: off }, T.outputs.giveUp);
}

class Status {
  constructor() {
    this.cells = {};
    this.element = h("section.status", { "aria-label": T.status.title });
    for (const name of ["rate", "delay", "face", "camera", "outputs", "recording", "engine", "dropped"]) {
      const cell = { value: h("strong"), note: h("small"), dot: h("span.dot") };
      cell.word = h("span.hidden");
      this.cells[name] = cell;
      this.element.append(
        h("div.cell", h("span.label", cell.dot, T.status[name], cell.word), cell.value, cell.note),
      );
    }
  }

  set(name, level, value, note) {
    const cell = this.cells[name];
    cell.dot.className = `dot ${level}`;
    say(cell.word, ` (${T.status[level]})`);
    say(cell.value, value);
    say(cell.note, note);
  }

  update(session) {
    const wrong = new Set(session.problems.map((one) => one.where));
    const level = (place) => (wrong.has(place) ? "bad" : "good");
    const slow = session.fps < 0.8 * session.wanted_fps;
    this.set("rate", wrong.has("fps") ? "bad" : slow ? "warn" : "good", T.status.fps(session.fps), T.status.ofFps(session.wanted_fps));
    const late = session.delay_ms > MAX_DELAY_MS;
    this.set("delay", late ? "warn" : "good", T.status.ms(session.delay_ms), T.status.delayHelp);
    this.set("face", wrong.has("faces") ? "warn" : level("face"), T.status.faces[session.face], T.status.faceHelp[session.face]);
    const camera = wrong.has("source") ? T.status.cameraBad : T.status.cameraGood;
    this.set("camera", level("source"), camera, session.source);
    const [width, height] = session.size;
    const device = T.status.devices[session.device] ?? session.device;
    this.set("engine", "good", device, `${session.renderer}, ${width} × ${height}`);
    const names = session.outputs.map((one) => T.outputs.names[one.name] ?? one.name);
    const others = names.filter((name) => name !== "panel" && !name.startsWith("file:"));
    this.set("outputs", level("outputs"), others.join(", ") || T.status.pageOnly, "");
    const file = session.recording.split(/[\\/]/).pop();
    this.set("recording", wrong.has("recording") ? "warn" : "good", file ? T.status.on : T.status.off, file);
    const drops = Object.entries(session.drops);
    const count = drops.reduce((sum, [, number]) => sum + number, 0);
    const causes = drops.map(([cause]) => T.status.causes[cause] ?? cause).join(", ");
    const note = count ? causes : T.status.droppedHelp;
    this.set("dropped", count > 10 ? "warn" : "good", count ? `${count}` : T.status.none, note);
  }
}

class Tabs {
  constructor(page) {
    this.page = page;
    this.made = {};
    this.bar = h("div.tabs", { role: "tablist", "aria-label": T.tabs.label });
    this.panel = h("div.tab", { role: "tabpanel", tabIndex: 0 });
    for (const [name] of TABS) {
      const id = unique("tab");
      this.bar.append(
        h(
          "button",
          { type: "button", role: "tab", id, "data-tab": name, onclick: () => this.open(name) },
          T.tabs[name],
        ),
      );
    }
    this.bar.addEventListener("keydown", (event) => this.move(event));
    this.element = h("div.side.card", this.bar, this.panel);
    this.open(sessionStorage.getItem("reenact-tab") ?? "targets");
  }

  open(wanted) {
    const [name, kind] = TABS.find(([one]) => one === wanted) ?? TABS[0];
    sessionStorage.setItem("reenact-tab", name);
    this.made[name] ??= new kind(this.page);
    this.current = this.made[name];
    for (const tab of this.bar.children) {
      const chosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen) this.panel.setAttribute("aria-labelledby", tab.id);
      if (chosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.page.live.watch("features", name === "calibrate");
    this.panel.replaceChildren(this.current.element);
    this.current.opened?.();
    if (this.page.state()) this.current.update?.(this.page.state());
  }

  move(event) {
    const tabs = [...this.bar.children];
    const here = tabs.indexOf(document.activeElement);
    const way = { ArrowRight: 1, ArrowLeft: -1, Home: -here, End: tabs.length - 1 - here }[event.key];
    if (way === undefined || here < 0) return;
    event.preventDefault();
    const next = tabs[(here + way + tabs.length) % tabs.length];
    this.open(next.dataset.tab);
    next.focus();
  }

  update(state) {
    this.current.update?.(state);
    const { updates } = state.session;
    // A key, another page or a MIDI device may have changed what is shown.
    if (this.updates !== undefined && this.updates !== updates) refresh(this.panel);
    this.updates = updates;
  }
}
