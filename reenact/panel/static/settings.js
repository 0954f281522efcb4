// Every setting as it is declared, those of plugins included; and the keys.

import { h, rich } from "./dom.js";
import { startAgainButton } from "./ending.js";
import { T } from "./texts.js";
import { settings, widget } from "./widgets.js";

export class SettingsTab {
  constructor(page) {
    this.page = page;
    this.element = h("div");
  }

  async opened() {
    const all = await settings();
    const sections = new Map();
    for (const one of all) {
      if (!sections.has(one.section)) sections.set(one.section, []);
      sections.get(one.section).push(one);
    }
    const waiting = h("div.notice", h("span", T.settings.waiting), startAgainButton(this.page));
    const mark = (now) => (waiting.hidden = !now.some((one) => one.waiting));
    mark(all);
    const changed = async (name) => {
      if (!all.find((one) => one.name === name).live) mark(await settings());
    };
    const groups = [...sections].map(([name, some]) =>
      h(
        "details.group",
        h("summary", h("strong", name), h("small", some[0].section_help)),
        some.map((one) => widget(one, { changed })),
      ),
    );
    const search = h("input", {
      type: "search", placeholder: T.settings.search, "aria-label": T.settings.search,
      oninput: () => find(groups, search.value.trim().toLowerCase()),
    });
    this.element.replaceChildren(
      h("h2", T.settings.title), h("p.muted", T.settings.help), search, waiting, ...groups,
      keysPart(this.page),
    );
  }
}

function find(groups, words) {
  for (const group of groups) {
    let any = false;
    for (const one of group.querySelectorAll(".setting")) {
      const name = one.querySelector("[data-setting]").dataset.setting;
      const fits = `${name} ${one.textContent}`.toLowerCase().includes(words);
      one.hidden = !fits;
      any ||= fits;
    }
    group.hidden = !any;
    group.open = Boolean(words) && any;
  }
}

function keysPart(page) {
  const box = h("input", {
    type: "checkbox", role: "switch", checked: page.keys.enabled,
    onchange: () => (page.keys.enabled = box.checked),
  });
  const remotes = page.state()?.session?.remotes ?? [];
  const example =
    `curl -X POST ${location.origin}/api/act -H "Authorization: Bearer TOKEN" ` +
    `-H "Content-Type: application/json" -d '{"do": "rest"}'`;
  return h(
    "section.part",
    h("h2", T.keys.title),
    h("p.muted", T.keys.help),
    h("label.switch", box, h("span", T.keys.enabled)),
    h("dl.keys", T.keys.list.map(([key, text]) => [h("dt", h("kbd", key)), h("dd", text)])),
    h("p", rich(T.keys.global)),
    remotes.map((one) => h("p", h("strong", one.name), `: ${one.error || T.keys.listening}`)),
    h("p.muted", T.keys.request),
    h("pre", { tabIndex: 0 }, example),
    h("p", h("a", { href: "/openapi.json" }, T.keys.api)),
  );
}
