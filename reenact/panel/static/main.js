// Puts the page together: the first choices while nothing runs, the live view while it does.

import { Live, draw } from "./api.js";
import { h, say, toast } from "./dom.js";
import { stop as end } from "./ending.js";
import { JobNews } from "./jobs.js";
import { Keys, perform, toggle } from "./keys.js";
import { LiveView } from "./live.js";
import { StartView } from "./start.js";
import { T } from "./texts.js";

const main = document.getElementById("main");
const summary = document.getElementById("summary");
const actions = document.getElementById("actions");

// Only the word is announced: the figures change twice a second.
const word = h("span", { role: "status" });
const figures = h("span");
const pill = h("span.pill", h("span", word, figures));
summary.append(pill);

function status(kind, text, numbers = "") {
  pill.className = `pill ${kind}`;
  say(word, text);
  say(figures, numbers);
}

let state = null;
let view = null;
let told = "";
const news = new JobNews();

const live = new Live({
  onstate(next) {
    // The program was started again, and knows nothing of what this page has asked for.
    if (state && state.run !== next.run) return location.reload();
    state = next;
    news.tell(state);
    if (state.error && state.error !== told) toast(state.error, { bad: true });
    told = state.error;
    show();
  },
  onfeatures: (features) => view?.features?.(features),
  onpicture: (kind, picture) => {
    const canvas = view?.canvases[kind];
    if (canvas) draw(canvas, picture);
    view?.drawn?.(kind);
  },
  onlost: (why) => status("bad", why),
});

const page = { live, state: () => state, keys: null };
page.keys = new Keys(page);

const button = (kind, label, help, onclick) =>
  h(`button.${kind}`, { type: "button", title: help, onclick }, label);

// The second click of a double click says nothing new.
const showing = (show) => (event) => event.detail < 2 && toggle(state.session, show);
const rest = button("danger", T.actions.rest, T.actions.restHelp, showing("rest"));
const freeze = button("quiet", T.actions.freeze, T.actions.freezeHelp, showing("frozen"));
const stop = button("quiet", T.actions.stop, T.actions.stopHelp, () => end(page));
const hold = button("quiet", T.actions.hold, T.actions.holdHelp, (event) => {
  if (event.detail < 2) perform("hold");
});
actions.append(rest, freeze, hold, stop);

function show() {
  const running = state.phase === "running" && state.session !== null;
  const wanted = running ? LiveView : StartView;
  if (!(view instanceof wanted)) {
    view?.end?.();
    view = new wanted(page);
    main.replaceChildren(view.element);
  }
  view.update(state);
  actions.hidden = !running;
  if (!running) {
    status(state.phase === "starting" ? "warn" : "", T.phases[state.phase]);
    document.title = T.title;
    return;
  }
  const session = state.session;
  // Several faces are no fault: one of them is followed. A recording's background is none either.
  const bad = session.problems.some((one) => !["faces", "recording"].includes(one.where));
  const paused = session.show !== "live";
  const kind = bad ? "bad" : paused || session.problems.length > 0 ? "warn" : "good";
  status(kind, T.shows[session.show], ` · ${T.status.fps(session.fps)} · ${T.status.ms(session.delay_ms)}`);
  say(rest, session.show === "rest" ? T.actions.resume : T.actions.rest);
  rest.className = session.show === "rest" ? "primary" : "danger";
  rest.title = session.show === "rest" ? T.actions.resumeHelp : T.actions.restHelp;
  say(freeze, session.show === "frozen" ? T.actions.resume : T.actions.freeze);
  say(hold, session.held ? T.actions.letGo : T.actions.hold);
  document.title = `${T.title} – ${session.target}`;
}

// A file that is dropped beside the gallery is not opened in place of the page.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
}
