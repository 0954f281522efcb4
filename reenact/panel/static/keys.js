// Single keys on the page: the same as in the terminal.

import { attempt } from "./api.js";
import { toast } from "./dom.js";
import { T } from "./texts.js";

const STORED = "reenact-keys";

const ACTIONS = {
  " ": "rest", f: "freeze", n: "neutral", u: "undo", x: "mirror", m: "motion",
  arrowup: "intensity=+0.1", arrowdown: "intensity=-0.1",
  0: "emotion=actor", 1: "emotion=neutral", 2: "emotion=angry", 3: "emotion=contemptuous",
  4: "emotion=disgusted", 5: "emotion=fearful", 6: "emotion=happy", 7: "emotion=sad",
  8: "emotion=surprised",
};

export class Keys {
  constructor(page) {
    this.page = page;
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, select, textarea, dialog, button, a, [role=tab]");
      if (!this.enabled || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (this.press(event.key.toLowerCase())) event.preventDefault();
    });
  }

  get enabled() {
    return localStorage.getItem(STORED) !== "off";
  }

  set enabled(on) {
    localStorage.setItem(STORED, on ? "on" : "off");
  }

  /** Do what a key does; returns whether it does anything. */
  press(key) {
    const session = this.page.state()?.session;
    if (!session) return false;
    if (key === "r") record(session);
    else if (key in ACTIONS) perform(ACTIONS[key]);
    else return false;
    return true;
  }
}

async function perform(action) {
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
