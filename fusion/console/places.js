/**
 * Places: paths as queries and the address have them. The bytes of a name that are not plain are percent-encoded, so
 * that a name which is not UTF-8 can be asked for as well.
 */

export const ROOT = "/";

const decoder = new TextDecoder();
const PLAIN = /^[A-Za-z0-9_.~-]$/;

const percent = byte => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;

/** What a node is called in a place. `raw_name`: base64 of a name that is not UTF-8. */
export function segment({name, raw_name: raw}) {
  if (!raw) return encodeURIComponent(name);
  return [...atob(raw)].map(byte => PLAIN.test(byte) ? byte : percent(byte.charCodeAt(0))).join("");
}

export const below = (place, node) => (place === ROOT ? ROOT : `${place}/`) + segment(node);

export const above = place => place.slice(0, Math.max(1, place.lastIndexOf("/")));

/** The place of a path of UTF-8 text. */
export const placeOf = path => path.split("/").map(encodeURIComponent).join("/");

/** What a segment or a place says to people. */
export function shown(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    const bytes = [];
    for (const [part] of text.matchAll(/%[0-9A-Fa-f]{2}|[^%]+|%/g))
      if (/^%../.test(part)) bytes.push(parseInt(part.slice(1), 16));
      else bytes.push(...new TextEncoder().encode(part));
    return decoder.decode(new Uint8Array(bytes));
  }
}

/** The place and all above it, the root first: [{place, name}], the root's name is "/". */
export function trail(place) {
  const steps = [{place: ROOT, name: ROOT}];
  for (const part of place.split("/").filter(Boolean))
    steps.push({place: (steps.at(-1).place === ROOT ? "" : steps.at(-1).place) + "/" + part, name: shown(part)});
  return steps;
}

/** A place as the address may have it: begins with a slash, ends without one. */
export const tidy = text => "/" + text.split("/").filter(Boolean).join("/");
