/** Requests to the service as the key that signed in. The key is kept in session storage and sent in a header alone. */

const KEY = "fusion-key";
const LEAST_PAUSE_SECONDS = 1;
// Whoever gets one of these may simply ask again.
const PASSING = ["overloaded", "interrupted", "revision_not_reached"];

/** Events: `unauthorized`; `pause`, with `detail` the seconds to wait, 0 when it is over. */
export const service = new EventTarget();

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: value => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** An answer that is an error. `status` 0: none came. `code` and `detail` are the service's. */
export class Failure extends Error {
  constructor(status, {code = "", detail = ""} = {}) {
    super(detail || `status ${status}`);
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

/** The query of these parameters; those that are null or empty are left out. Values that are encoded already stay so. */
export function query(parameters) {
  const parts = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return parts.map(([name, value]) => `${name}=${name === "path" ? value : encodeURIComponent(value)}`).join("&");
}

/**
 * GET a JSON document: {document, revision, tag, cursor, total}; the document is null when `tag` names what is there still.
 * Waits where the service asks for that. Throws Failure, and AbortError when `signal` says so.
 */
export async function ask(path, {tag = null, signal = null} = {}) {
  for (;;) {
    const answer = await send(path, tag, signal);
    if (answer.ok || answer.status === 304) return await read(answer);
    const failure = new Failure(answer.status, await answer.json().catch(() => ({})));
    if (answer.status === 401) service.dispatchEvent(new Event("unauthorized"));
    if (answer.status !== 429 && !PASSING.includes(failure.code)) throw failure;
    await pause(Number(answer.headers.get("Retry-After")) || LEAST_PAUSE_SECONDS, signal);
  }
}

async function send(path, tag, signal) {
  const headers = {"X-API-Key": encodedKey()};
  if (tag) headers["If-None-Match"] = tag;
  try {
    return await fetch(path, {headers, signal, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer"});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0);
  }
}

/** Header values are bytes: a key beyond ASCII goes as its UTF-8. */
function encodedKey() {
  return String.fromCharCode(...new TextEncoder().encode(key.get() ?? ""));
}

async function read(answer) {
  const {headers} = answer;
  const total = headers.get("X-Total-Count");
  return {
    document: answer.status === 304 ? null : await answer.json().catch(() => { throw new Failure(0); }),
    revision: Number(headers.get("X-Fusion-Revision")),
    tag: headers.get("ETag"),
    cursor: headers.get("X-Fusion-Cursor"),
    total: total === null ? null : Number(total),
  };
}

async function pause(seconds, signal) {
  service.dispatchEvent(new CustomEvent("pause", {detail: seconds}));
  await new Promise(resolve => setTimeout(resolve, seconds * 1000));
  signal?.throwIfAborted();
  service.dispatchEvent(new CustomEvent("pause", {detail: 0}));
}
