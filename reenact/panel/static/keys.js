// Single keys on the page: the same as in the terminal.

import { attempt } from "./api.js";
import { toast } from "./dom.js";
import { T } from "./texts.js";

const STORED = "reenact-keys";

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
    const show = (what) =>
      attempt("POST", "show", { show: session.show === what ? "live" : what });
    const does = {
      " ": () => show("rest"),
      f: () => show("frozen"),
      n: () => attempt("POST", "neutral").then(() => toast(T.calibrate.done)),
      u: () => attempt("DELETE", "neutral").then(() => toast(T.calibrate.undone)),
      x: () => this.change("fusion.mirror", (one) => !one.value),
      r: () => record(session),
      m: () => attempt("POST", "motion"),
      arrowup: () => this.change("drive.intensity", (one) => Math.min(one.value + 0.1, one.max)),
      arrowdown: () => this.change("drive.intensity", (one) => Math.max(one.value - 0.1, one.min)),
    };
    if (/^[0-8]$/.test(key)) this.change("drive.emotion", (one) => one.choices[Number(key)]);
    else if (key in does) does[key]();
    else return false;
    return true;
  }

  /** Change a setting to what `next` makes of its description. */
  async change(name, next) {
    const one = (await attempt("GET", "settings"))?.find((setting) => setting.name === name);
    if (one) await attempt("PATCH", "settings", { values: { [name]: next(one) } });
  }
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
