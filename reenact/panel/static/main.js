// Puts the page together: the first choices while nothing runs, the live view while it does.

import { Live, attempt, draw } from "./api.js";
import { h, say, toast } from "./dom.js";
import { Keys } from "./keys.js";
import { LiveView } from "./live.js";
import { StartView } from "./start.js";
import { T } from "./texts.js";

const main = document.getElementById("main");
const summary = document.getElementById("summary");
const actions = document.getElementById("actions");

const pill = h("span.pill", { role: "status" });
summary.append(pill);

let state = null;
let view = null;
let told = "";

const live = new Live({
  onstate(next) {
    state = next;
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
  onlost() {
    say(pill, T.offline);
    pill.className = "pill bad";
  },
});

const page = { live, state: () => state, keys: null };
page.keys = new Keys(page);

const button = (kind, label, help, onclick) =>
  h(`button.${kind}`, { type: "button", title: help, onclick }, label);

const rest = button("danger", T.actions.rest, T.actions.restHelp, () => page.keys.press(" "));
const freeze = button("quiet", T.actions.freeze, T.actions.freezeHelp, () => page.keys.press("f"));
const stop = button("quiet", T.actions.stop, T.actions.stopHelp, () => attempt("POST", "stop"));
actions.append(rest, freeze, stop);

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
    say(pill, T.phases[state.phase]);
    pill.className = `pill ${state.phase === "starting" ? "warn" : ""}`;
    document.title = T.title;
    return;
  }
  const session = state.session;
  // Several faces are no fault: one of them is followed.
  const bad = session.problems.some((one) => one.where !== "faces");
  const paused = session.show !== "live";
  say(pill, `${T.shows[session.show]} · ${T.status.fps(session.fps)} · ${T.status.ms(session.delay_ms)}`);
  pill.className = `pill ${bad ? "bad" : paused || session.problems.length > 0 ? "warn" : "good"}`;
  say(rest, session.show === "rest" ? T.actions.resume : T.actions.rest);
  rest.className = session.show === "rest" ? "primary" : "danger";
  rest.title = session.show === "rest" ? T.actions.resumeHelp : T.actions.restHelp;
  say(freeze, session.show === "frozen" ? T.actions.resume : T.actions.freeze);
  document.title = `${T.title} – ${session.target}`;
}
