/** What stands in place of a view while the service is not ready to show the tree. */

import {element} from "./dom.js";
import {t} from "./i18n.js";
import {badge, progress, reason} from "./progress.js";

export class Waiting {
  element = element("section.waiting", {"aria-live": "polite"});
  #drawn = "";

  draw(status) {
    const drawn = JSON.stringify([status.state, status.reason, status.problem, status.progress]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.element.replaceChildren(element("h1", t("wait.title")), badge(status.state), ...reason(status), progress(status) ?? "",
      element("p.dim", t("wait.back")));
  }
}

/** The key may not read: only another one helps. */
export const forbidden = scope => element("section.waiting", {role: "alert"},
  element("h1", t("forbidden.title")), element("p", t("forbidden.text", {scope})));
