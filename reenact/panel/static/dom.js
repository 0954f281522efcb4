// Small helpers to build the page; no text is ever parsed as HTML.

/** Make an element: h("button.primary", {onclick}, "Text", child). */
export function h(name, ...parts) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const part of parts.flat(Infinity)) {
    if (part === null || part === undefined || part === false) continue;
    if (part instanceof Node || typeof part !== "object") element.append(part);
    else assign(element, part);
  }
  return element;
}

function assign(element, properties) {
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && key !== "form") element[key] = value;
    else if (value === false || value === null || value === undefined) element.removeAttribute(key);
    else element.setAttribute(key, value === true ? "" : value);
  }
}

/** Set a text only if it differs, so that screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replace the children only if `key` differs from the last call's. */
export function fill(element, key, make) {
  const text = JSON.stringify(key);
  if (element.dataset.key === text) return;
  element.dataset.key = text;
  element.replaceChildren(...[make()].flat(Infinity).filter((part) => part));
}

/** Return the parts of a text in which `...` is code. */
export function rich(text) {
  return text.split("`").map((part, number) => (number % 2 ? h("code", part) : part));
}

let count = 0;

/** Return an id that no other element has. */
export const unique = (prefix) => `${prefix}-${++count}`;

/** Return a name after that of a file, made of the signs that names of targets and presets may have. */
export function suggestedName(file) {
  const plain = file.normalize("NFC").replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{M}\p{N} _-]+/gu, " ");
  const begun = plain.replace(/^[^\p{L}\p{N}]+/u, "").replace(/ +/g, " ");
  return [...begun].slice(0, 48).join("").trim();
}

/** Show a message for a while, with an action if one is given. */
export function toast(text, { bad = false, action = "", act = () => {} } = {}) {
  const note = h(`div.toast${bad ? ".bad" : ""}`, h("span", rich(text)));
  const gone = () => note.remove();
  if (action) {
    note.append(h("button.quiet", { type: "button", onclick: () => (gone(), act()) }, action));
  }
  document.getElementById("toasts").append(note);
  setTimeout(gone, Math.max(action ? 12000 : bad ? 9000 : 4500, 70 * text.length));
}

/**
 * Ask in a dialog; resolves with the form's data, or null.
 *
 * If `check` throws for the data, the dialog shows the error and stays open.
 */
export function ask(title, content, accept, cancel, check = async () => {}) {
  return new Promise((resolve) => {
    const label = unique("dialog");
    const problem = h("p.problem", { role: "alert" });
    const submit = async (event) => {
      event.preventDefault();
      const data = new FormData(form);
      try {
        await check(data);
        end(data);
      } catch (error) {
        problem.replaceChildren(...rich(error.message));
      }
    };
    const form = h(
      "form.dialog-form",
      { method: "dialog", onsubmit: submit },
      h("h2", { id: label }, title),
      content,
      problem,
      h(
        "div.row.end",
        h("button.quiet", { type: "button", onclick: () => end(null) }, cancel),
        h("button.primary", { type: "submit" }, accept),
      ),
    );
    const dialog = h("dialog", { "aria-labelledby": label, oncancel: () => end(null) }, form);
    const toasts = document.getElementById("toasts");
    const end = (value) => (document.body.append(toasts), dialog.remove(), resolve(value));
    dialog.append(toasts); // nothing outside an open dialog can be seen or clicked
    document.body.append(dialog);
    dialog.showModal();
  });
}
