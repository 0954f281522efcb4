// Asks before what a call or stream may show ends, and ends the session or starts it again.

import { attempt } from "./api.js";
import { ask, h } from "./dom.js";
import { T } from "./texts.js";

/**
 * Ask before outputs that a call or stream may show get no more pictures; true: go on.
 *
 * `ends` tells for the name of an output whether it ends.
 */
export async function confirmed(page, { title, accept }, ends = () => true) {
  const outputs = (page.state().session?.on_air ?? []).filter(ends);
  const names = outputs.map((name) => T.outputs.names[name.split(":")[0]] ?? name).join(", ");
  const { help, cancel } = T.ending;
  return !names || Boolean(await ask(title, h("p", help(names)), accept, cancel));
}

/** End the session; the panel stays. */
export async function stop(page) {
  if (await confirmed(page, T.ending.session)) attempt("POST", "stop");
}

/** Make a button that starts the session again with what is chosen now; outputs stay open. */
export function startAgainButton(page) {
  const start = () => {
    const { source, target, outputs } = page.state().choice;
    attempt("POST", "start", { source, target, outputs });
  };
  return h("button.primary", { type: "button", onclick: start }, T.settings.restart);
}
