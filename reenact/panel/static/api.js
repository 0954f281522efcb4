// The way to the program: requests, files, and the socket that brings state and pictures.

import { toast } from "./dom.js";
import { T } from "./texts.js";

/** Send a request; returns its value. Throws an Error with the program's sentence. */
export async function call(method, path, body) {
  const options = { method, headers: {} };
  if (method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  const answer = await fetch(`/api/${path}`, options);
  if (answer.status === 401) throw new Error(T.unauthorised);
  const result = await answer.json();
  if (!answer.ok) throw new Error(result.error);
  return result.value;
}

/** Like `call`, but tells an error to the user and returns undefined. */
export async function attempt(method, path, body) {
  try {
    return (await call(method, path, body)) ?? null;
  } catch (error) {
    toast(error.message, { bad: true });
    return undefined;
  }
}

const TYPES = {
  jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp",
  avif: "image/avif", gif: "image/gif", bmp: "image/bmp", tif: "image/tiff", tiff: "image/tiff",
  mp4: "video/mp4", m4v: "video/mp4", mov: "video/quicktime", webm: "video/webm",
  mkv: "video/x-matroska", avi: "video/x-msvideo",
};

/** Send a file and tell the share that has gone; returns its identifier. */
export function send(file, progress = () => {}) {
  const ending = file.name.split(".").pop().toLowerCase();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/uploads?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", TYPES[ending] ?? "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(event.total, 1));
    request.onload = () =>
      request.status === 200
        ? resolve(request.response.value)
        : reject(new Error(request.response?.error ?? request.statusText));
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
    this.socket.onclose = () => {
      this.onlost();
      setTimeout(() => this.open(), 1500);
    };
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
    if (this.socket.readyState === WebSocket.OPEN) {
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
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send('{"drawn": true}');
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
