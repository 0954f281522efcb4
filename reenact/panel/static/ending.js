// Ends the session, after asking while a call or stream may show it, or starts it again.

import { attempt } from "./api.js";
import { ask, h } from "./dom.js";
import { T } from "./texts.js";

/** End the session; the panel stays. */
export async function stop(page) {
  const outputs = page.state().session?.on_air ?? [];
  const names = outputs.map((name) => T.outputs.names[name.split(":")[0]] ?? name).join(", ");
  const { title, help, accept, cancel } = T.ending;
  if (names && !(await ask(title, h("p", help(names)), accept, cancel))) return;
  attempt("POST", "stop");
}

/** Make a button that starts the session again with what is chosen now; outputs stay open. */
export function startAgainButton(page) {
  const start = () => {
    const { source, target, outputs } = page.state().choice;
    attempt("POST", "start", { source, target, outputs });
  };
  return h("button.primary", { type: "button", onclick: start }, T.settings.restart);
}
