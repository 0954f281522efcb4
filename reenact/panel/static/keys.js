// Single keys on the page: the same as in the terminal.

import { attempt } from "./api.js";
import { toast } from "./dom.js";
import { T } from "./texts.js";

const STORED = "reenact-keys";

/** What is shown after a key, again: the actor is followed. */
export const SHOWS = { " ": "rest", f: "frozen" };

const ACTIONS = {
  n: "neutral", u: "undo", h: "hold", t: "tongue", x: "mirror", m: "motion", s: "picture",
  arrowup: "intensity=+0.1", arrowdown: "intensity=-0.1",
  arrowleft: "target=previous", arrowright: "target=next",
  0: "emotion=actor", 1: "emotion=neutral", 2: "emotion=angry", 3: "emotion=contemptuous",
  4: "emotion=disgusted", 5: "emotion=fearful", 6: "emotion=happy", 7: "emotion=sad",
  8: "emotion=surprised",
};

/** What goes on while the key is held down. */
const REPEATED = new Set(["arrowup", "arrowdown"]);

/** What a slider that has the focus does not take, so that "rest" works after it was moved. */
const isSlid = (field, key) => field.type === "range" && (key === " " || /^[a-z]$/.test(key));

export class Keys {
  constructor(page) {
    this.page = page;
    document.addEventListener("keydown", (event) => {
      const field = event.target.closest("input, select, textarea, dialog, button, a, summary");
      const key = event.key.toLowerCase();
      const typing = field && !isSlid(field, key);
      if (!this.enabled || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = this.action(key);
      if (!act) return;
      event.preventDefault();
      if (!event.repeat || REPEATED.has(key)) act();
    });
    giveFocusBack();
  }

  get enabled() {
    return localStorage.getItem(STORED) !== "off";
  }

  set enabled(on) {
    localStorage.setItem(STORED, on ? "on" : "off");
  }

  /** Return the function of a key; null if it has none now. */
  action(key) {
    const session = this.page.state()?.session;
    if (!session) return null;
    if (key === "r") return () => record(session);
    if (key in SHOWS) return () => toggle(session, SHOWS[key]);
    return key in ACTIONS ? () => perform(ACTIONS[key]) : null;
  }
}

/** Rest or freeze, or go on if that is what the page shows. Asked twice, it stays so. */
export function toggle(session, show) {
  attempt("POST", "show", { show: session.show === show ? "live" : show });
}

/** Let single keys work after a click: the clicked button or choice does not keep the focus. */
function giveFocusBack() {
  let pointed = false;
  document.addEventListener("pointerdown", () => (pointed = true), true);
  document.addEventListener("keydown", () => (pointed = false), true);
  document.addEventListener("click", () => {
    const held = document.activeElement;
    const clicked = "button, summary, [type=radio], [type=checkbox]";
    const kept = !held?.matches(clicked) || held.closest("dialog");
    if (pointed && !kept) held.blur();
  });
}

export async function perform(action) {
  const told = await attempt("POST", "act", { do: action });
  if (told) toast(told);
}

const SOUND = "reenact-sound";

/** Whether recordings have the microphone's sound. */
export const withSound = () => localStorage.getItem(SOUND) === "on";
export const setSound = (on) => localStorage.setItem(SOUND, on ? "on" : "off");

/** Start or stop the recording. */
export async function record(session) {
  const on = Boolean(session.recording);
  const body = on ? {} : { microphone: withSound() ? "" : null };
  const path = await attempt(on ? "DELETE" : "POST", "recording", body);
  if (path) toast(on ? T.outputs.recorded(path) : T.outputs.recordingTo(path));
}
