/** Where the bytes are: a map of the largest entries of a directory and of what is in them, and the same as lists. */

import {Failure, ask, query} from "./api.js";
import {crumbs} from "./crumbs.js";
import {element, framed} from "./dom.js";
import {bytes, percent} from "./format.js";
import {t} from "./i18n.js";
import {located} from "./locate.js";
import {above, below, shown} from "./places.js";
import {Refresher} from "./refresher.js";
import {squarify} from "./treemap.js";

const TOP = 60;
const INNER_TOP = 24;
// Directories as large as this part of the whole show what is in them.
const INNER_SHARE = 0.02;
const MOST_INNER = 24;
const MOST_LEVELS = 3;
const HUES = 8;
const HEADING = 22; // pixels
const LEAST = 3;

export class MapView {
  #place = null;
  #whole = null;
  #inner = new Map(); // by place: the same of directories in it
  #tags = new Map(); // by place: [tag, document]

  constructor({report}) {
    this.report = report;
    this.place = element("div.place");
    this.map = element("div.map", {role: "list"});
    this.lists = element("div.lists");
    this.element = element("section.usage", element("h1.unseen", t("view.map")), this.place, element("div.panes", this.map, this.lists));
    new ResizeObserver(framed(() => this.#drawMap())).observe(this.map);
    this.refresher = new Refresher(() => this.report.of(this.#load()));
  }

  async show({place}) {
    if (this.#place !== place) {
      this.#place = place;
      this.#whole = null;
      this.#tags.clear();
      this.place.replaceChildren(crumbs("map", place));
      await this.#load();
    } else this.#drawMap();
  }

  refresh() {
    return this.refresher.ask();
  }

  async #load() {
    const place = this.#place;
    try {
      const whole = await this.#usage(place, TOP);
      if (this.#place !== place || whole === this.#whole) return;
      const inner = await this.#within(whole, place);
      if (this.#place !== place) return;
      this.#whole = whole;
      this.#inner = inner;
      this.#drawMap();
      await this.#drawLists();
    } catch (failure) {
      if (!(failure instanceof Failure) || failure.status !== 404) throw failure;
      this.#whole = null;
      this.lists.replaceChildren();
      this.map.replaceChildren(element("p.dim", t("explore.gone", {path: shown(place)}), " ",
        element("a", {href: `#/map${above(place)}`}, t("explore.gone.up", {path: shown(above(place))}))));
    }
  }

  /** The same of the largest directories, level by level. */
  async #within(whole, place) {
    const found = new Map();
    let level = [[place, whole]];
    for (let depth = 1; depth < MOST_LEVELS; depth++) {
      const large = level.flatMap(([above, usage]) => usage.largest_children
        .filter(child => child.content_type === "directory" && child.bytes >= whole.bytes * INNER_SHARE)
        .map(child => below(above, child))).slice(0, MOST_INNER - found.size);
      level = await Promise.all(large.map(async within => [within, await this.#usage(within, INNER_TOP).catch(unlessGone)]));
      level = level.filter(([, usage]) => usage);
      for (const [within, usage] of level) found.set(within, usage);
    }
    return found;
  }

  async #usage(place, top) {
    const [before, known] = this.#tags.get(place) ?? [null, null];
    const {document, tag} = await ask(`/views/fs/du?${query({path: place, top})}`, {tag: before});
    if (!document) return known;
    this.#tags.set(place, [tag, document]);
    return document;
  }

  #drawMap() {
    if (!this.#whole || !this.map.clientWidth) return;
    const box = {x: 0, y: 0, width: this.map.clientWidth, height: this.map.clientHeight};
    this.map.setAttribute("aria-label", t("map.label", {path: shown(this.#place)}));
    const focused = this.map.contains(document.activeElement) ? document.activeElement.hash : null;
    if (!this.#whole.bytes) this.map.replaceChildren(element("p.dim", t("map.empty")));
    else this.map.replaceChildren(...this.#tiles(this.#whole, this.#place, box, 0));
    if (focused) [...this.map.querySelectorAll("a")].find(tile => tile.hash === focused)?.focus({preventScroll: true});
  }

  /** Tiles for the children of a directory; `hue` is that of the child of the place which they belong to, if not its own. */
  #tiles(usage, place, box, depth, hue = null) {
    const children = usage.largest_children.filter(child => child.bytes > 0);
    const rest = usage.bytes - children.reduce((sum, child) => sum + child.bytes, 0);
    const parts = [...children, ...(rest > 0 ? [{bytes: rest, isRest: true}] : [])].sort((one, other) => other.bytes - one.bytes);
    const boxes = squarify(parts.map(part => part.bytes), box);
    return parts.flatMap((part, index) => {
      const inner = boxes[index];
      if (inner.width < LEAST || inner.height < LEAST) return [];
      if (part.isRest) return [tile(element("div.tile.rest", {role: "listitem"}), inner, t("map.rest"), rest)];
      return this.#tile(part, below(place, part), inner, depth, hue ?? index % HUES);
    });
  }

  #tile(child, place, box, depth, hue) {
    const share = percent(child.bytes / this.#whole.bytes);
    const isDirectory = child.content_type === "directory";
    const link = element(`a.tile.hue${hue}.depth${depth}`, {
      href: isDirectory ? `#/map${place}` : `#/explore${place}`, title: `${child.path}\n${bytes(child.bytes)}, ${share}`,
      "aria-label": `${child.name}, ${bytes(child.bytes)}, ${share}`});
    const item = element("div.place-of-tile", {role: "listitem"}, tile(link, box, child.name, child.bytes, share));
    const inside = this.#inner.get(place);
    if (!inside?.bytes || box.height < HEADING * 2.5 || box.width < HEADING * 3) return [item];
    link.classList.add("outer");
    const within = {x: box.x + 3, y: box.y + HEADING, width: box.width - 6, height: box.height - HEADING - 3};
    return [item, ...this.#tiles(inside, place, within, depth + 1, hue)];
  }

  async #drawLists() {
    const {largest_children: children, largest_files: files, bytes: total} = this.#whole;
    const list = (name, nodes, size) => nodes.length && element("section", element("h2", t(name)), element("ol.largest", nodes.map(([node, place]) =>
      element("li", element("a", {href: `#/${node.content_type === "directory" ? "map" : "explore"}${place}`, title: node.path}, node.name),
        element("span", bytes(size(node))), element("span.dim", total ? percent(size(node) / total) : "")))));
    const placed = await Promise.all(files.slice(0, 20).map(async node => [node, await located(node)]));
    this.lists.replaceChildren(
      list("map.children", children.slice(0, 12).map(child => [child, below(this.#place, child)]), node => node.bytes) || "",
      list("map.files", placed.filter(([, place]) => place), node => node.size) || "");
  }
}

function unlessGone(failure) {
  if (!(failure instanceof Failure) || failure.status !== 404) throw failure;
  return null;
}

/** Put a tile where it belongs, with as much text as fits. */
function tile(target, {x, y, width, height}, name, size, share) {
  Object.assign(target.style, {left: `${x}px`, top: `${y}px`, width: `${Math.max(1, width - 1)}px`, height: `${Math.max(1, height - 1)}px`});
  if (width > 42 && height > 18) target.append(element("span.label", name));
  if (width > 60 && height > 38) target.append(element("span.amount", share ? `${bytes(size)} · ${share}` : bytes(size)));
  return target;
}
