"""A web page for blind ratings of pictures, as in Table II of Akram 2020.

Each question shows a still, names an emotion, and shows the pictures of all renderers in random
order. The rater picks the one with the best quality, the truest expression, and the most likeness.
The page is one file and needs no server. Answers stay in the browser; the results give each
renderer's share of the votes and a CSV file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reenact.evaluation.contact_sheet import SheetRow
from reenact.imaging import encoded
from reenact.storage import atomic_write
from reenact.types import Image

ATTRIBUTES: Final = {
    "quality": "Which picture has the best quality?",
    "realism": "In which picture does the expression look most real?",
    "identity": "Which picture looks most like the same person?",
}
"""The questions by their column in the CSV file."""


def write_rating_page(path: Path, columns: Sequence[str], rows: Sequence[SheetRow]) -> None:
    """Write the page.

    Args:
        path: path of the HTML file.
        columns: headings of the rows: the still, then emotions; neutral is not asked.
        rows: labelled "STILL, RENDERER", see `emotions.run`.

    Raises:
        SinkError: the file cannot be written.
    """
    questions: dict[tuple[str, str], dict[str, str]] = {}
    stills: dict[str, str] = {}
    for row in rows:
        still, _, renderer = row.label.rpartition(", ")
        stills[still] = _embedded(row.pictures[0])
        for emotion, picture in list(zip(columns, row.pictures, strict=True))[1:]:
            if emotion != "neutral":
                questions.setdefault((still, emotion), {})[renderer] = _embedded(picture)
    content = {
        "attributes": ATTRIBUTES,
        "stills": stills,
        "questions": [
            {"still": still, "emotion": emotion, "pictures": pictures}
            for (still, emotion), pictures in questions.items()
        ],
    }
    text = json.dumps(content)
    # Answers are kept in the browser for these pictures alone.
    page = _PAGE.replace("KEY", hashlib.sha256(text.encode()).hexdigest()).replace("CONTENT", text)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _embedded(picture: Image) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encoded(picture, ".jpg", 92)).decode()


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Rate the pictures</title>
<style>
body { font: 16px sans-serif; margin: 2em auto; max-width: 70em; text-align: center }
img { width: 220px; margin: 4px; border: 4px solid transparent }
figure { display: inline-block; margin: 4px } button { margin: 2px; padding: .4em .8em }
button.chosen { background: #26c; color: white }
table { margin: auto; border-collapse: collapse } td, th { border: 1px solid #999; padding: .3em }
</style>
<h1>Rate the pictures</h1><p id="where"></p><div id="question"></div>
<p><button id="next">Next</button> <button id="table">Results so far</button>
<button id="again">Forget my answers</button></p><div id="results"></div>
<script>
const content = CONTENT;
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const key = "reenact-rating-KEY";
const shuffled = list => {
  const mixed = [...list];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
};
const fresh = () => ({
  at: 0, answers: {},
  order: shuffled(content.questions.keys()),
  places: content.questions.map(question => shuffled(Object.keys(question.pictures))),
});
let state = JSON.parse(localStorage.getItem(key)) || fresh();
const save = () => localStorage.setItem(key, JSON.stringify(state));
const make = (tag, text, parent) => {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
};
const find = id => document.getElementById(id);
const number = () => state.order[state.at];
const complete = () =>
  Object.keys(state.answers[number()] || {}).length === Object.keys(content.attributes).length;

function show() {
  const box = find("question");
  box.replaceChildren();
  if (state.at >= state.order.length) {
    find("where").textContent = "Done. Thank you!";
    find("next").disabled = true;
    return results();
  }
  const question = content.questions[number()], places = state.places[number()];
  find("where").textContent = `${state.at + 1} of ${state.order.length}: ${question.emotion}`;
  const pictures = [["the person", content.stills[question.still]],
    ...places.map((name, place) => [letters[place], question.pictures[name]])];
  for (const [label, source] of pictures) {
    const figure = make("figure", "", box);
    make("img", "", figure).src = source;
    make("figcaption", label, figure);
  }
  for (const [attribute, text] of Object.entries(content.attributes)) {
    const line = make("p", text + " ", box);
    places.forEach((name, place) => {
      const button = make("button", letters[place], line);
      button.className = (state.answers[number()] || {})[attribute] === name ? "chosen" : "";
      button.onclick = () => {
        state.answers[number()] = { ...state.answers[number()], [attribute]: name };
        save();
        show();
      };
    });
  }
  find("next").disabled = !complete();
}

function results() {
  const box = find("results");
  box.replaceChildren();
  const names = Object.keys(content.questions[0].pictures);
  const attributes = Object.keys(content.attributes);
  const table = make("table", "", box), head = make("tr", "", table);
  for (const text of ["renderer", ...attributes, "all"]) make("th", text, head);
  const given = Object.values(state.answers);
  const share = (name, asked) => {
    const votes = given.flatMap(answer => asked.map(one => answer[one]).filter(Boolean));
    return votes.length ? (votes.filter(one => one === name).length / votes.length).toFixed(2) : "";
  };
  for (const name of names) {
    const row = make("tr", "", table);
    const cells = [...attributes.map(one => share(name, [one])), share(name, attributes)];
    for (const text of [name, ...cells]) make("td", text, row);
  }
  const lines = [["still", "emotion", ...attributes].join()];
  for (const [index, answer] of Object.entries(state.answers)) {
    const { still, emotion } = content.questions[index];
    lines.push([still, emotion, ...attributes.map(one => answer[one] || "")].join());
  }
  const link = make("a", "ratings.csv", make("p", "", box));
  link.download = "ratings.csv";
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], { type: "text/csv" }));
}

find("next").onclick = () => { state.at++; save(); show(); };
find("table").onclick = results;
find("again").onclick = () => {
  state = fresh();
  save();
  find("results").replaceChildren();
  show();
};
show();
</script>
</html>
"""
