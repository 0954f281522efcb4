// Ends the session, or starts it again.

import { attempt } from "./api.js";
import { h } from "./dom.js";
import { T } from "./texts.js";

/** End the session; the panel stays. */
export function stop() {
  attempt("POST", "stop");
}

/** Make a button that starts the session again with what is chosen now. */
export function startAgainButton(page) {
  const start = () => {
    const { source, target, outputs } = page.state().choice;
    attempt("POST", "start", { source, target, outputs });
  };
  return h("button.primary", { type: "button", onclick: start }, T.settings.restart);
}
