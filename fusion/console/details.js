/** What is known about one node. */

import {ask, query} from "./api.js";
import {element, icon} from "./dom.js";
import {bytes, count, time} from "./format.js";
import {t} from "./i18n.js";
import {shown} from "./places.js";

export class Details {
  element = element("aside.details", {"aria-label": t("details")});
  #place = null;
  #abort = new AbortController();

  constructor() {
    this.clear();
  }

  clear() {
    this.#place = null;
    this.element.replaceChildren(element("p.dim", t("details.none")), element("p.dim.keys", t("explore.keys")));
  }

  /** Show the node at a place; again, when it may have changed. Throws Failure. */
  async show(place) {
    this.#abort.abort();
    this.#abort = new AbortController();
    const {signal} = this.#abort;
    const isNew = place !== this.#place;
    this.#place = place;
    try {
      const [node, sums] = await Promise.all([
        ask(`/views/fs/tree?${query({path: place, max_depth: 0})}`, {signal}),
        ask(`/views/fs/stats?${query({path: place})}`, {signal}),
      ]);
      this.#draw(place, node.document, sums.document, isNew);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 404) this.clear();
      else throw error;
    }
  }

  #draw(place, node, sums, isNew) {
    const isDirectory = node.content_type === "directory";
    const facts = [
      ["details.kind", t(`kind.${node.content_type}`)],
      ["details.size", sums.bytes < 1024 ? bytes(sums.bytes) : `${bytes(sums.bytes)} (${count(sums.bytes)} B)`],
      isDirectory && ["details.contains", t("details.contains.text", {
        files: t("files", {count: sums.files, n: count(sums.files)}),
        directories: t("directories", {count: sums.directories - 1, n: count(sums.directories - 1)}),
      })],
      ["details.modified", time(node.modified_time)],
      ["details.created", time(node.created_time)],
    ].filter(Boolean);
    const list = element("dl", facts.map(([name, value]) => [element("dt", t(name)), element("dd", value)]));
    if (!isNew) {
      this.element.querySelector("dl")?.replaceWith(list);
      return;
    }
    const copy = element("button.quiet", {type: "button"}, icon("copy"), element("span", t("details.copy")));
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(shown(place)).catch(() => {});
      copy.lastChild.textContent = t("details.copied");
    });
    const links = isDirectory ? [
      element("a", {href: `#/explore${place}`}, t("details.open")),
      element("a", {href: `#/map${place}`}, t("details.map")),
      element("a", {href: `#/search?below=${encodeURIComponent(place)}`}, t("details.search")),
    ] : [];
    this.element.replaceChildren(
      element("h2", node.name || "/"), element("p.path", {translate: "no"}, shown(place)), list, element("p.actions", copy, links));
  }
}
