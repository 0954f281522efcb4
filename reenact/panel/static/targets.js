// The gallery: pictures of the targets, adding by drag and drop, renaming, removing, training.

import { attempt, call, send } from "./api.js";
import { ask, fill, h, say, toast } from "./dom.js";
import { placePoints } from "./points.js";
import { T } from "./texts.js";

const EXPORTED = ".reenact-target";

/** The pictures to choose from, and a place to drop files; used before and during a session. */
export class TargetGallery {
  constructor(page, choose) {
    this.page = page;
    this.choose = choose;
    this.seen = null;
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
    this.element = h("div.targets", this.grid, this.jobs, this.drop, this.input);
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
    this.tellEnded(state.jobs, chosen);
    if (this.seen !== state.targets) {
      this.seen = state.targets;
      const targets = await attempt("GET", "targets");
      if (!targets) return;
      fill(this.grid, [targets, state.targets], () => targets.map((one) => this.card(one)));
    }
    this.mark(chosen);
  }

  mark(chosen, waiting = "") {
    this.chosen = chosen;
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
      onchange: () => this.choose(one.name),
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
    const item = (text, onclick) =>
      h("button.quiet", { type: "button", onclick: () => ((menu.open = false), onclick()) }, text);
    const menu = h(
      "details.menu",
      h("summary", { "aria-label": T.targets.more(one.name) }, "⋯"),
      h(
        "div.menu-items",
        item(T.targets.rename, () => this.rename(one.name, path)),
        !one.footage && item(T.targets.place, () => this.place(one.name, path)),
        one.footage && item(T.targets.train, () => attempt("POST", `${path}/train`, { minutes: 10 })),
        h(
          "a.button.quiet",
          { href: `/api/${path}/export`, download: "", onclick: () => (menu.open = false) },
          T.targets.exported,
        ),
        item(T.targets.remove, () => this.remove(one.name, path)),
      ),
    );
    menu.addEventListener("focusout", (event) => {
      if (!menu.contains(event.relatedTarget)) menu.open = false;
    });
    return menu;
  }

  async rename(name, path) {
    const field = h("input", { name: "name", value: name, required: true, maxLength: 48 });
    const content = h("label.field", h("span", T.targets.newName), field);
    const data = await ask(T.targets.rename, content, T.targets.save, T.targets.cancel);
    if (data) await attempt("PATCH", path, { name: data.get("name") });
  }

  async place(name, path) {
    if (!(await placePoints(name, path, this.seen))) return;
    toast(T.targets.placed(name));
    if (name === this.chosen) this.choose(name); // it is drawn anew
  }

  async remove(name, path) {
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
    if (!files.length) return;
    if (files.length === 1 && files[0].name.endsWith(EXPORTED)) {
      await this.bring(files[0]);
      return;
    }
    const usual = files[0].name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{M}\p{N} _-]/gu, " ").trim();
    const content = [
      h(
        "label.field",
        h("span", T.targets.name),
        h("input", { name: "name", value: usual.slice(0, 48), required: true, maxLength: 48 }),
      ),
      h("p.muted", `${T.targets.files(files.length)}: ${files.map((file) => file.name).join(", ")}`),
      h(
        "label.check",
        h("input", { type: "checkbox", name: "consent", required: true }),
        h("span", T.targets.consent),
      ),
    ];
    const data = await ask(T.targets.createTitle, content, T.targets.create, T.targets.cancel);
    if (!data) return;
    const uploads = await this.sendAll(files);
    if (uploads) {
      await attempt("POST", "targets", { name: data.get("name").trim(), uploads, consent: true });
    }
  }

  async sendAll(files) {
    const line = h("progress", { max: 1, value: 0, "aria-label": T.targets.working });
    const text = h("span");
    const row = h("div.job", h("div.row", text), line);
    this.element.insertBefore(row, this.drop);
    try {
      const uploads = [];
      for (const [number, file] of files.entries()) {
        uploads.push(
          await send(file, (share) => {
            line.value = (number + share) / files.length;
            say(text, T.targets.sending(line.value));
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
    const name = await attempt("POST", "import", { upload: uploads[0] });
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

  tellEnded(jobs, chosen) {
    this.told ??= new Set(jobs.filter((job) => job.state !== "running").map((job) => job.number));
    for (const job of jobs) {
      if (job.state === "running" || this.told.has(job.number)) continue;
      this.told.add(job.number);
      // A target that is shown is drawn anew, by the weights that it has learned.
      if (job.kind === "train" && job.state === "done" && job.target === chosen) this.choose(chosen);
      if (job.kind !== "switch" || job.state === "failed") {
        toast(job.result, { bad: job.state === "failed" });
      }
    }
  }
}

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
  const answer = await fetch(address);
  if (!answer.ok) return;
  if (picture.src) URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(await answer.blob());
  picture.hidden = false;
}

/** The tab: a click on a face fades to it. */
export class TargetsTab {
  constructor(page) {
    this.waiting = "";
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
    const job = state.jobs.find((one) => one.kind === "switch" && one.state === "running");
    this.gallery.update(state, job?.target ?? state.session?.target);
    this.gallery.mark(job?.target ?? state.session?.target, job?.target);
  }
}
