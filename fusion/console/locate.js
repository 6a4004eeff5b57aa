/** The place of a node that an answer tells the path of. */

import {ask, query} from "./api.js";
import {ROOT, below, placeOf, segment} from "./places.js";

const UNKNOWN = "\uFFFD"; // stands for a byte that is not UTF-8
const PAGE = 10_000;

/** null when the node, or what it is in, is not there any more. Throws Failure. */
export async function located(node) {
  if (!node.path.includes(UNKNOWN)) return placeOf(node.path);
  const names = node.path.split("/").slice(1, -1);
  let place = ROOT;
  for (const name of names) {
    const next = name.includes(UNKNOWN) ? await child(place, name) : {name};
    if (!next) return null;
    place = below(place, next);
  }
  return (place === ROOT ? ROOT : `${place}/`) + segment(node);
}

/** The first child that is shown like this. */
async function child(place, name) {
  for (let cursor = "start"; cursor;) {
    const parameters = {path: place, recursive: false, fields: "name", limit: PAGE, cursor};
    const answer = await ask(`/views/fs/tree?${query(parameters)}`);
    const found = answer.document.children?.find(node => node.name === name);
    if (found) return found;
    cursor = answer.cursor;
  }
  return null;
}
