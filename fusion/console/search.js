/** Search as one types, in all names or below a place, with filters. */

import {ask, query} from "./api.js";
import {Details} from "./details.js";
import {element, icon, setAttributes} from "./dom.js";
import {bytes, count, day} from "./format.js";
import {Grid} from "./grid.js";
import {t} from "./i18n.js";
import {located} from "./locate.js";
import {ROOT, shown, tidy} from "./places.js";
import {Refresher} from "./refresher.js";

const PAGE = 200;
// Typing goes on in less than this.
const PAUSE_MS = 150;
const UNITS = {B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4};
const ORDERS = {path: ["path", "asc"], name: ["name", "asc"], size: ["size", "desc"], time: ["modified_time", "desc"]};
// What the address holds of a search.
const HELD = ["pattern", "type", "match", "below", "least", "most", "after", "before", "sort"];

export class Search {
  #nodes = [];
  #total = 0;
  #cursor = null;
  #tag = null;
  #isLoading = false;
  #abort = new AbortController();
  #timer = 0;
  #chosen = null;

  constructor({report, go}) {
    this.report = report;
    this.go = go;
    this.details = new Details();
    this.grid = new Grid({
      role: "grid",
      label: t("search.results"),
      columns: ["name", "size", "modified"].map(id => ({id, label: t(`column.${id}`)})),
      fill: (row, index) => this.#fill(row, this.#nodes[index]),
      handlers: {
        choose: index => this.#choose(this.#nodes[index]),
        enter: index => this.report.of(this.#open(this.#nodes[index])),
        seen: (_, last) => last >= this.#nodes.length && this.report.of(this.#more()),
      },
    });
    this.grid.element.addEventListener("dblclick", () => this.report.of(this.#open(this.#nodes[this.grid.active])));
    this.form = this.#form();
    this.found = element("p.found", {role: "status"});
    this.element = element("section.search", element("h1.unseen", t("view.search")), this.form, this.found,
      element("div.panes", this.grid.element, this.details.element));
    this.refresher = new Refresher(() => this.report.of(this.#again()));
  }

  async show({parameters}) {
    const fields = this.form.elements;
    const isOther = HELD.some(name => (parameters.get(name) ?? "") !== this.#held(name));
    if (isOther) for (const name of HELD) fields[name].value = parameters.get(name) ?? fields[name].dataset.default ?? "";
    if (!matchMedia("(pointer: coarse)").matches) fields.pattern.focus();
    if (isOther || !this.#tag) await this.#begin();
    else this.grid.draw();
  }

  refresh() {
    return this.refresher.ask();
  }

  // The form

  #form() {
    const field = (label, input, unit = "") => {
      input.id = `search-${input.name}`;
      return element("div.field", element("label", {for: input.id}, t(label)), element("span.joined", input, unit));
    };
    const select = (name, values, label) => field(label,
      element("select", {name, "data-default": values[0]}, values.map(value => element("option", {value}, t(`${label}.${value}`)))));
    const size = (name, label) => field(label, element("input", {name, type: "number", min: 0, step: "any", inputmode: "decimal"}),
      element("select", {name: `${name}-unit`, "aria-label": t("search.unit")}, Object.keys(UNITS).map(unit => element("option", {selected: unit === "MiB"}, unit))));
    const date = (name, label) => field(label, element("input", {name, type: "date"}));
    const form = element("form.filters", {role: "search"},
      element("label.wide", element("span.unseen", t("view.search")), icon("search"), element("input", {
        name: "pattern", type: "search", placeholder: t("search.pattern"), autocomplete: "off", autocapitalize: "off", spellcheck: "false"})),
      element("details", element("summary", t("search.filters")), element("div.fields",
        select("type", ["file", "directory", "any"], "search.type"), select("match", ["name", "path"], "search.match"),
        select("sort", ["path", "name", "size", "time"], "search.sort"),
        field("search.below", element("input", {name: "below", placeholder: ROOT, spellcheck: "false", autocomplete: "off"})),
        size("least", "search.least"), size("most", "search.most"), date("after", "search.after"), date("before", "search.before"))));
    form.querySelector("details").open = matchMedia("(min-width: 44rem)").matches;
    form.addEventListener("submit", event => event.preventDefault());
    form.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#changed(), PAUSE_MS);
    });
    form.elements.pattern.addEventListener("keydown", event => {
      if (event.key !== "ArrowDown" || !this.grid.count) return;
      event.preventDefault();
      this.grid.element.focus();
    });
    return form;
  }

  #changed() {
    const held = HELD.map(name => [name, this.#held(name)]).filter(([, value]) => value);
    history.replaceState(null, "", `#/search${held.length ? "?" : ""}${new URLSearchParams(held)}`);
    return this.report.of(this.#begin());
  }

  /** What the address has of a field: nothing when it is as usual. Sizes are in bytes there. */
  #held(name) {
    const field = this.form.elements[name];
    return field.value === field.dataset.default ? "" : field.value;
  }

  #question(cursor) {
    const fields = this.form.elements;
    const size = name => fields[name].value === "" ? null : Math.round(Number(fields[name].value) * UNITS[fields[`${name}-unit`].value]);
    const seconds = name => fields[name].value === "" ? null : new Date(`${fields[name].value}T00:00`).getTime() / 1000;
    const below = fields.below.value.trim();
    const [sort, order] = ORDERS[fields.sort.value];
    return query({
      pattern: fields.pattern.value, match: fields.match.value, type: fields.type.value, path: below && encoded(below),
      min_size: size("least"), max_size: size("most"), modified_after: seconds("after"), modified_before: seconds("before"),
      sort, order, limit: PAGE, cursor,
    });
  }

  // Pages

  async #begin() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#tag = this.#cursor = null;
    if (!this.form.elements.pattern.value) return this.#take([], null);
    try {
      await this.#load(1);
      this.grid.offset = 0;
    } catch (failure) {
      if (failure.status !== 404 && failure.status !== 422) throw failure;
      this.#take([], failure.detail);
    }
  }

  /** The same question again: as many pages as there are, when anything changed. */
  async #again() {
    if (this.form.elements.pattern.value && this.#tag) await this.#load(Math.max(1, Math.ceil(this.#nodes.length / PAGE)));
  }

  async #load(pages) {
    const {signal} = this.#abort;
    const chosen = this.#chosen?.path;
    const first = await ask(`/views/fs/search?${this.#question("start")}`, {tag: this.#tag, signal});
    if (!first.document) return;
    const nodes = first.document;
    let {cursor} = first;
    while (--pages && cursor) {
      const next = await ask(`/views/fs/search?${this.#question(cursor)}`, {signal});
      nodes.push(...next.document);
      ({cursor} = next);
    }
    this.#tag = first.tag;
    this.#cursor = cursor;
    this.#total = first.total;
    this.#take(nodes, null);
    this.#select(chosen);
  }

  async #more() {
    if (!this.#cursor || this.#isLoading) return;
    this.#isLoading = true;
    const {signal} = this.#abort;
    try {
      const {document, cursor} = await ask(`/views/fs/search?${this.#question(this.#cursor)}`, {signal});
      this.#nodes.push(...document);
      this.#cursor = cursor;
    } finally {
      this.#isLoading = false;
    }
    this.grid.refill(this.#nodes.length);
  }

  #take(nodes, problem) {
    this.#nodes = nodes;
    this.grid.active = -1;
    this.grid.refill(nodes.length);
    const isAsked = this.form.elements.pattern.value !== "";
    this.element.classList.toggle("idle", !nodes.length);
    this.found.textContent = problem ?? (!isAsked ? t("search.hint") : nodes.length ? t("search.found", {count: this.#total, n: count(this.#total)}) : t("search.none"));
    if (!nodes.length) this.details.clear();
  }

  // Rows

  #select(path) {
    const index = this.#nodes.findIndex(node => node.path === path);
    if (index < 0) this.#chosen = null;
    this.grid.active = index;
    this.grid.refill();
  }

  #fill(row, node) {
    setAttributes(row, {"aria-expanded": null});
    const isDirectory = node.content_type === "directory";
    const parent = node.path.slice(0, node.path.lastIndexOf("/")) || ROOT;
    row.replaceChildren(
      element("span.cell.name", {role: "gridcell", title: node.path}, element(isDirectory ? "span.kind.directory" : "span.kind", icon(isDirectory ? "explore" : "file")),
        element("span.two", element("span.name", this.#marked(node.name)), element("span.dim.parent", parent))),
      element("span.cell.size", {role: "gridcell"}, isDirectory ? "" : bytes(node.size)),
      element("span.cell.modified", {role: "gridcell"}, day(node.modified_time)));
  }

  /** The name with the part that was looked for. */
  #marked(name) {
    const pattern = this.form.elements.pattern.value;
    const lower = name.toLowerCase();
    const begin = /[*?[]/.test(pattern) || lower.length !== name.length ? -1 : lower.indexOf(pattern.toLowerCase());
    if (begin < 0) return name;
    const end = begin + pattern.length;
    return [name.slice(0, begin), element("mark", name.slice(begin, end)), name.slice(end)];
  }

  #choose(node) {
    this.#chosen = node ?? null;
    if (!node) return this.details.clear();
    this.report.of(located(node).then(place => place && this.#chosen === node ? this.details.show(place) : null));
  }

  async #open(node) {
    const place = node && await located(node);
    if (place) this.go(`#/explore${place}`);
  }
}

/** A path that a person typed: what is percent-encoded already stays as it is. */
const encoded = text => tidy(shown(text) === text || /%(?![0-9A-Fa-f]{2})/.test(text) ? text.split("/").map(encodeURIComponent).join("/") : text);
