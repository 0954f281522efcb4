// The way to the program: requests, files, and the socket that brings state and pictures.

import { toast } from "./dom.js";
import { T } from "./texts.js";

/** Send a request; returns its value. Throws an Error with the program's sentence and status, or `offline`. */
export async function call(method, path, body) {
  const options = { method, headers: {} };
  if (method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  const [status, text] = await fetch(`/api/${path}`, options)
    .then(async (answer) => [answer.status, await answer.text()])
    .catch(() => [503, ""]);
  if (status === 503) throw Object.assign(new Error(T.offline), { offline: true });
  return taken(status, text);
}

/** Return the value in an answer; throws if the request was refused, by the API or before it. */
function taken(status, text) {
  if (status === 401) throw new Error(T.unauthorised);
  if (status === 200) return JSON.parse(text).value;
  let told = text;
  try {
    told = JSON.parse(text).error;
  } catch {
    // The sentence is plain text.
  }
  throw Object.assign(new Error(told), { status });
}

/**
 * Like `call`, but tells an error to the user and returns undefined.
 *
 * That the program has ended stands at the top of the page already.
 */
export async function attempt(method, path, body) {
  try {
    return (await call(method, path, body)) ?? null;
  } catch (error) {
    if (!error.offline) toast(error.message, { bad: true });
    return undefined;
  }
}

const TYPES = {
  jpg: "image/jpeg", jpeg: "image/jpeg", jpe: "image/jpeg", jfif: "image/jpeg", png: "image/png",
  webp: "image/webp", avif: "image/avif", gif: "image/gif", bmp: "image/bmp", tif: "image/tiff",
  tiff: "image/tiff", heic: "image/heic", heif: "image/heic", hif: "image/heic",
  mp4: "video/mp4", m4v: "video/mp4", mov: "video/quicktime", webm: "video/webm",
  mkv: "video/x-matroska", avi: "video/x-msvideo", wmv: "video/x-ms-wmv", mpg: "video/mpeg",
  mpeg: "video/mpeg", ts: "video/mp2t", mts: "video/mp2t", m2ts: "video/mp2t", "3gp": "video/3gpp",
};

/** Send a file and tell the share that has gone; returns its identifier. */
export function send(file, progress = () => {}) {
  const ending = file.name.split(".").pop().toLowerCase();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/uploads?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", TYPES[ending] ?? "application/octet-stream");
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(event.total, 1));
    request.onload = () => {
      try {
        resolve(taken(request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new Error(T.offline));
    request.send(file);
  });
}

const KINDS = ["output", "actor"];

/** Keeps the socket open and hands on what comes. */
export class Live {
  constructor({ onstate, onfeatures, onpicture, onlost }) {
    Object.assign(this, { onstate, onfeatures, onpicture, onlost });
    this.watching = new Set();
    document.addEventListener("visibilitychange", () => this.tell());
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/api/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.tell();
    this.socket.onmessage = (event) => this.take(event.data);
    this.socket.onclose = async () => {
      setTimeout(() => this.open(), 1500);
      // A socket does not tell why it was refused.
      const refused = await fetch("/api/state").then((answer) => answer.status === 401, () => false);
      if (!this.connected) this.onlost(refused ? T.unauthorised : T.offline);
    };
  }

  get connected() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  /** Ask for a kind of picture, or for the features; or no longer. */
  watch(what, on) {
    if (this.watching.has(what) === on) return;
    if (on) this.watching.add(what);
    else this.watching.delete(what);
    this.tell();
  }

  /** Tell what is watched: nothing while the page is hidden. */
  tell() {
    if (this.connected) {
      this.socket.send(JSON.stringify({ watch: document.hidden ? [] : [...this.watching] }));
    }
  }

  async take(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.state) this.onstate(message.state);
      if (message.features) this.onfeatures(message.features);
      return;
    }
    const kind = KINDS[new Uint8Array(data, 0, 1)[0]];
    try {
      const picture = await createImageBitmap(new Blob([data.slice(1)], { type: "image/jpeg" }));
      this.onpicture(kind, picture);
      picture.close();
    } finally {
      if (this.connected) this.socket.send('{"drawn": true}');
    }
  }
}

/** Draw a picture on a canvas at its own size. */
export function draw(canvas, picture) {
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  canvas.getContext("2d").drawImage(picture, 0, 0);
}
