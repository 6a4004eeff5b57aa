/** A state in words, and how far it has come. */

import {element} from "./dom.js";
import {count} from "./format.js";
import {known, language, t} from "./i18n.js";

/** The state's name with its colour. */
export const badge = state => element(`span.state.${state}`, {translate: "no"}, element("span.dot"), known(`state.${state}`) ?? state);

/** Why it is so, in the page's language; the service's own words besides where they say more. */
export function reason({state, reason: told, problem}) {
  const own = known(`why.${state}`);
  const sentences = language() === "en" ? [element("p", told || own || state)]
    : [element("p", own ?? told ?? state), told && own ? element("p.dim", {lang: "en"}, told) : ""];
  return [...sentences, problem && problem !== told ? element("p.problem", {lang: "en"}, problem) : ""];
}

/** null without any. */
export function progress({progress: made}) {
  if (!made) return null;
  const isOpen = !made.total;
  const values = {done: count(made.done), total: count(made.total ?? 0)};
  const bar = element("progress", {"aria-label": t("progress.label"), max: isOpen ? null : made.total, value: isOpen ? null : Math.min(made.done, made.total)});
  return element("div.progress", bar, element("p.dim", known(`progress.${made.phase}${isOpen ? ".open" : ""}`, values) ?? values.done));
}
