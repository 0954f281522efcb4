// The gallery: pictures of the targets, adding by drag and drop, renaming, removing, training.

import { attempt, call, send } from "./api.js";
import { ask, fill, h, say, suggestedName, toast } from "./dom.js";
import { placePoints } from "./points.js";
import { T } from "./texts.js";

const EXPORTED = ".reenact-target";
const MAX_FILES = 32;
const TAKE_S = 20;

/**
 * The pictures to choose from, and a place to drop files; used before and during a session.
 *
 * `choose` is called with the name of a target that is clicked, `renamed` with an old and a new one.
 */
export class TargetGallery {
  constructor(page, choose, renamed = () => {}) {
    this.page = page;
    this.choose = choose;
    this.renamed = renamed;
    this.seen = null;
    this.names = new Set();
    this.gone = [];
    this.problem = "";
    this.grid = h("div.gallery", { role: "radiogroup", "aria-label": T.targets.title });
    this.jobs = h("div.jobs");
    this.input = h("input.hidden", {
      type: "file",
      multiple: true,
      accept: `image/*,video/*,${EXPORTED}`,
      tabIndex: -1,
      "aria-label": T.targets.addHelp,
      onchange: () => (this.add([...this.input.files]), (this.input.value = "")),
    });
    this.drop = h(
      "button.drop",
      { type: "button", onclick: () => this.input.click() },
      h("strong", T.targets.add),
      h("span", T.targets.addHelp),
    );
    this.filming = h("button.quiet", { type: "button", onclick: () => this.film() }, T.targets.film);
    this.element = h("div.targets", this.grid, this.jobs, this.drop, this.filming, this.input);
    for (const kind of ["dragover", "dragenter"]) {
      this.element.addEventListener(kind, (event) => {
        event.preventDefault();
        this.drop.classList.add("over");
      });
    }
    this.element.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      this.drop.classList.remove("over");
      this.add([...event.dataTransfer.files]);
    });
  }

  async update(state, chosen) {
    const jobs = state.jobs.filter((job) => job.state === "running" && job.kind !== "switch");
    this.showJobs(jobs);
    this.mark(chosen);
    if (this.seen === state.targets || this.asking) return;
    this.asking = true;
    let targets;
    try {
      targets = await call("GET", "targets");
    } catch ({ message, offline }) {
      // The next state asks again; what it is told twice is shown once.
      if (message !== this.problem && !offline) toast(message, { bad: true });
      this.problem = message;
      return;
    } finally {
      this.asking = false;
    }
    this.problem = "";
    this.seen = state.targets;
    const names = new Set(targets.map((one) => one.name));
    this.gone = [...this.names, ...this.gone].filter((name) => !names.has(name));
    this.names = names;
    fill(this.grid, [targets, state.targets], () => targets.map((one) => this.card(one)));
    this.mark(this.chosen, this.waiting);
  }

  /** Whether a target was renamed or removed since the page was opened. */
  lacks(name) {
    return this.gone.includes(name);
  }

  mark(chosen, waiting = "") {
    this.chosen = chosen;
    this.waiting = waiting;
    for (const card of this.grid.children) {
      card.querySelector("input").checked = card.dataset.name === chosen;
      card.classList.toggle("chosen", card.dataset.name === chosen);
      card.classList.toggle("waiting", card.dataset.name === waiting);
    }
  }

  card(one) {
    const kind = one.built_in ? "builtIn" : one.trained ? "trained" : one.footage ? "canTrain" : "plain";
    const input = h("input.hidden", {
      type: "radio",
      name: "target",
      value: one.name,
      // Not onchange: a state from before the last click may still mark this card.
      onclick: ({ detail }) => detail < 2 && this.choose(one.name),
    });
    const picture = h("img", {
      src: `/api/targets/${encodeURIComponent(one.name)}/picture?${this.seen}`,
      alt: "",
      loading: "lazy",
      width: 256,
      height: 256,
    });
    const label = h("label.target", input, picture, h("span.name", one.name), h("small", T.targets[kind]));
    const card = h("div.target-card", { "data-name": one.name }, label);
    if (!one.built_in) card.append(this.menu(one));
    return card;
  }

  menu(one) {
    const path = `targets/${encodeURIComponent(one.name)}`;
    const videos = h("input.hidden", {
      type: "file",
      multiple: true,
      accept: "video/*",
      tabIndex: -1,
      "aria-label": T.targets.extendHelp,
      onchange: () => (this.extend(path, [...videos.files]), (videos.value = "")),
    });
    const item = (text, onclick) =>
      h("button.quiet", { type: "button", onclick: () => ((menu.open = false), onclick()) }, text);
    const menu = h(
      "details.menu",
      h("summary", { "aria-label": T.targets.more(one.name) }, "⋯"),
      h(
        "div.menu-items",
        item(T.targets.rename, () => this.rename(one.name, path)),
        one.one_picture && item(T.targets.place, () => this.place(one.name, path)),
        item(T.targets.keep, () => this.keep(one.name, path)),
        one.own && item(T.targets.forget, () => this.forget(one.name, path)),
        item(T.targets.extend, () => videos.click()),
        one.footage && item(T.targets.train, () => attempt("POST", `${path}/train`, { minutes: 10 })),
        h(
          "a.button.quiet",
          { href: `/api/${path}/export`, download: "", onclick: () => (menu.open = false) },
          T.targets.exported,
        ),
        item(T.targets.remove, () => this.remove(one, path)),
      ),
      videos,
    );
    const summary = menu.firstChild;
    const items = menu.children[1];
    menu.addEventListener("toggle", () => {
      if (!menu.open) return;
      items.style.right = "";
      const hidden = this.grid.getBoundingClientRect().left - items.getBoundingClientRect().left;
      if (hidden > 0) items.style.right = `${-hidden}px`; // in the first column
    });
    menu.addEventListener("focusout", ({ relatedTarget }) => {
      // Safari gives clicked buttons no focus; then there is no element that gets it.
      if (relatedTarget && !menu.contains(relatedTarget)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      summary.focus();
    });
    return menu;
  }

  async rename(name, path) {
    const field = h("input", { name: "name", value: name, required: true, maxLength: 48 });
    const content = h("label.field", h("span", T.targets.newName), field);
    const wanted = () => field.value.trim().normalize("NFC");
    const check = () => call("PATCH", path, { name: wanted() });
    if (await ask(T.targets.rename, content, T.targets.save, T.targets.cancel, check)) {
      this.renamed(name, wanted());
    }
  }

  async place(name, path) {
    if (!(await placePoints(name, path, this.seen))) return;
    toast(T.targets.placed(name));
    if (name === this.chosen) this.choose(name); // it is drawn anew
  }

  async keep(name, path) {
    const kept = await attempt("POST", `${path}/settings`);
    if (kept) toast(kept.length ? T.targets.kept(name, kept) : T.targets.keptNothing(name));
  }

  async forget(name, path) {
    if ((await attempt("DELETE", `${path}/settings`)) === undefined) return;
    toast(T.targets.forgotten(name));
    if (name === this.chosen) this.choose(name); // with the usual settings
  }

  async remove({ name, trained, footage }, path) {
    if (trained || footage) {
      const content = h("p", T.targets.removeHelp(name));
      if (!(await ask(T.targets.remove, content, T.targets.remove, T.targets.cancel))) return;
    }
    if ((await attempt("DELETE", path)) === undefined) return;
    toast(T.targets.removed(name), {
      action: T.targets.undo,
      act: async () => {
        const back = await attempt("POST", `${path}/restore`);
        if (back !== undefined) toast(T.targets.restored(name));
      },
    });
  }

  async add(files) {
    const isExported = (file) => file.name.toLowerCase().endsWith(EXPORTED);
    const material = files.filter((file) => !isExported(file));
    for (const file of files.filter(isExported)) await this.bring(file);
    if (material.length > MAX_FILES) toast(T.targets.tooMany(MAX_FILES), { bad: true });
    else if (material.length) await this.make(material);
  }

  async make(files) {
    const faces = T.targets.faces.map(([value, text]) => h("option", { value }, text));
    const face = h("select", { name: "face" }, faces);
    const content = [
      h("label.field", h("span", T.targets.face), face),
      h("p.muted", `${T.targets.files(files.length)}: ${files.map((file) => file.name).join(", ")}`),
    ];
    const name = await this.agreed(suggestedName(files[0].name), content, T.targets.create);
    const uploads = name && (await this.sendAll(files));
    if (uploads) {
      await attempt("POST", "targets", { name, uploads, face: face.value, consent: true });
    }
  }

  /** Add videos of its face to a target. */
  async extend(path, files) {
    const uploads = files.length && (await this.sendAll(files));
    if (uploads) await attempt("POST", `${path}/videos`, { uploads });
  }

  /** Make a target of a recording of the camera. */
  async film() {
    const name = await this.agreed("", [h("p.muted", T.targets.filmHelp)], T.targets.filmStart(TAKE_S));
    if (!name) return;
    this.filming.disabled = true;
    const begun = performance.now();
    const { row, show } = this.working();
    const timer = setInterval(() => {
      const past = Math.min((performance.now() - begun) / 1000, TAKE_S);
      show(past / TAKE_S, T.targets.filming(Math.round(TAKE_S - past)));
    }, 250);
    const upload = await attempt("POST", "takes", { seconds: TAKE_S });
    clearInterval(timer);
    row.remove();
    this.filming.disabled = false;
    if (upload) await attempt("POST", "targets", { name, uploads: [upload], consent: true });
  }

  /** Ask for the name of a new target and for consent; returns the name, or "". */
  async agreed(usual, content, accept) {
    const field = h("input", { name: "name", value: usual, required: true, maxLength: 48 });
    const asked = [
      h("label.field", h("span", T.targets.name), field),
      content,
      h(
        "label.check",
        h("input", { type: "checkbox", name: "consent", required: true }),
        h("span", T.targets.consent),
      ),
    ];
    const check = () => isFree(field);
    const said = await ask(T.targets.createTitle, asked, accept, T.targets.cancel, check);
    return said ? field.value.trim() : "";
  }

  /** Show a line of progress; returns its row, and what sets its share and text. */
  working() {
    const line = h("progress", { max: 1, value: 0, "aria-label": T.targets.working });
    const text = h("span");
    const row = h("div.job", h("div.row", text), line);
    this.element.insertBefore(row, this.drop);
    const show = (share, words) => {
      line.value = share;
      say(text, words);
    };
    return { row, show };
  }

  async sendAll(files) {
    const { row, show } = this.working();
    try {
      const uploads = [];
      for (const [number, file] of files.entries()) {
        uploads.push(
          await send(file, (share) => {
            const sent = (number + share) / files.length;
            show(sent, T.targets.sending(sent));
          }),
        );
      }
      return uploads;
    } catch (error) {
      toast(error.message, { bad: true });
      return null;
    } finally {
      row.remove();
    }
  }

  async bring(file) {
    const uploads = await this.sendAll([file]);
    if (!uploads) return;
    const [upload] = uploads;
    try {
      toast(T.targets.imported(await call("POST", "import", { upload })));
    } catch (error) {
      if (error.status === 409) await this.bringAs(upload, file, error.message);
      else toast(error.message, { bad: true });
    }
  }

  /** Store an exported target under another name than its own, which is taken. */
  async bringAs(upload, file, problem) {
    const usual = suggestedName(file.name);
    const field = h("input", { name: "name", value: usual, required: true, maxLength: 48 });
    const content = [h("p", problem), h("label.field", h("span", T.targets.newName), field)];
    const check = () => isFree(field);
    if (!(await ask(T.targets.importTitle, content, T.targets.save, T.targets.cancel, check))) return;
    const name = await attempt("POST", "import", { upload, name: field.value.trim() });
    if (name) toast(T.targets.imported(name));
  }

  showJobs(jobs) {
    fill(this.jobs, jobs.map((job) => job.number), () => jobs.map((job) => jobRow(job)));
    for (const job of jobs) {
      const row = this.jobs.querySelector(`[data-job="${job.number}"]`);
      const left = job.left_s === null ? "" : ` · ${T.targets.minutesLeft(job.left_s)}`;
      say(row.querySelector(".step"), `${job.target}: ${job.step || T.targets.working}${left}`);
      const line = row.querySelector("progress");
      if (job.progress === null) line.removeAttribute("value");
      else line.value = job.progress;
      const button = row.querySelector("button");
      if (button) say(button, job.stopping ? T.targets.stopping : T.targets.stop);
      const picture = row.querySelector("img");
      if (picture && Date.now() - (picture.looked ?? 0) > 5000) lookAt(picture, job);
    }
  }
}

/** Throw unless a new target can have the name in a field. */
const isFree = (field) => call("POST", "names", { name: field.value.trim() });

document.addEventListener("pointerdown", (event) => {
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

function jobRow(job) {
  const training = job.kind === "train";
  const stop = () => attempt("DELETE", `jobs/${job.number}`);
  return h(
    "div.job",
    { "data-job": job.number },
    h(
      "div.row",
      h("span.step"),
      training && h("button.quiet", { type: "button", onclick: stop }, T.targets.stop),
    ),
    h("progress", { max: 1, "aria-label": T.targets.working }),
    training && h("img.training", { alt: T.targets.preview(job.target), hidden: true }),
  );
}

async function lookAt(picture, job) {
  picture.looked = Date.now();
  const address = `/api/targets/${encodeURIComponent(job.target)}/training?${Date.now()}`;
  const answer = await fetch(address).catch(() => null);
  if (answer?.status !== 200) return; // there is none yet, or the program has ended
  if (picture.src) URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(await answer.blob());
  picture.hidden = false;
}

/** The tab: a click on a face fades to it. */
export class TargetsTab {
  constructor(page) {
    this.gallery = new TargetGallery(page, (name) => this.switch(name));
    this.element = h(
      "div",
      h("h2", T.targets.title),
      h("p.muted", T.targets.help),
      this.gallery.element,
    );
  }

  async switch(name) {
    try {
      await call("POST", "target", { name });
    } catch (error) {
      toast(error.message, { bad: true });
    }
  }

  update(state) {
    const switches = state.jobs.filter((one) => one.kind === "switch" && one.state === "running");
    const wanted = switches.at(-1)?.target; // of several, the last one counts
    this.gallery.update(state, wanted ?? state.session?.target);
    this.gallery.mark(wanted ?? state.session?.target, wanted);
  }
}
