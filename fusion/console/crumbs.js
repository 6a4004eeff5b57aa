/** Where one is in the tree, and the way up. */

import {element} from "./dom.js";
import {t} from "./i18n.js";
import {trail} from "./places.js";

/** view: which one the links lead to. */
export function crumbs(view, place) {
  const steps = trail(place);
  return element("nav.crumbs", {"aria-label": t("explore.place")}, element("ol", steps.map((step, number) =>
    element("li", element("a", {href: `#/${view}${step.place}`, "aria-current": number === steps.length - 1 && "location"}, step.name)))));
}
