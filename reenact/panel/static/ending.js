// Ends the session, or starts it again; asks first while a call or stream may show it.

import { attempt } from "./api.js";
import { ask, h } from "./dom.js";
import { T } from "./texts.js";

/** End the session; the panel stays. */
export async function stop(page) {
  if (await agreed(page, T.ending.stop)) attempt("POST", "stop");
}

/** Make a button that starts the session again with what is chosen now. */
export function startAgainButton(page) {
  const start = async () => {
    if (!(await agreed(page, T.ending.restart))) return;
    const { source, target, outputs } = page.state().choice;
    attempt("POST", "start", { source, target, outputs });
  };
  return h("button.primary", { type: "button", onclick: start }, T.settings.restart);
}

/** Return whether the session may end: at once, unless an output is on the air. */
async function agreed(page, { title, accept }) {
  const outputs = page.state().session?.on_air ?? [];
  if (!outputs.length) return true;
  const names = outputs.map((name) => T.outputs.names[name.split(":")[0]] ?? name).join(", ");
  return Boolean(await ask(title, h("p", T.ending.help(names)), accept, T.ending.cancel));
}
