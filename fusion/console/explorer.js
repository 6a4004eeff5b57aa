/** The tree: directories open in place or are gone into, entries are loaded as they come into view. */

import {Failure} from "./api.js";
import {crumbs} from "./crumbs.js";
import {Details} from "./details.js";
import {element, icon, setAttributes} from "./dom.js";
import {bytes, count, day, percent} from "./format.js";
import {Grid} from "./grid.js";
import {t} from "./i18n.js";
import {ROOT, above, shown} from "./places.js";
import {Refresher} from "./refresher.js";
import {Entry, MOST_SORTED, Note, rows} from "./tree.js";

const REMEMBERED = 20; // directories one was in
const MEASURED_AT_ONCE = 6;

export class Explorer {
  #order = {column: "name", descending: false};
  #rows = [];
  #root = null;
  #chosen = null;
  #remembered = new Map(); // place: {root, offset, chosen}
  #isSorting = false;
  #seen = [0, 0];

  constructor({report, go}) {
    this.report = report;
    this.go = go;
    this.details = new Details();
    this.grid = new Grid({
      role: "treegrid",
      label: t("explore.tree"),
      columns: ["name", "share", "size", "modified"].map(id => ({id, label: t(`column.${id}`), sort: id !== "share"})),
      fill: (row, index) => this.#fill(row, this.#rows[index]),
      handlers: {
        choose: index => this.#choose(this.#rows[index]),
        enter: index => this.#enter(this.#rows[index]),
        key: (event, index) => this.#key(event, this.#rows[index]),
        sort: column => this.#sort(column),
        seen: (first, last) => this.#look(first, last),
      },
    });
    this.grid.element.addEventListener("click", event => event.target.closest(".twist") && this.#toggle(this.#rows[this.grid.active]));
    this.grid.element.addEventListener("dblclick", event => !event.target.closest(".twist, a") && this.#enter(this.#rows[this.grid.active]));
    this.place = element("div.place");
    this.notice = element("div.notice", {role: "status"});
    this.element = element("section.explorer", element("h1.unseen", t("view.explore")), this.place, this.notice,
      element("div.panes", this.grid.element, this.details.element));
    this.refresher = new Refresher(() => this.report.of(this.#refresh()));
  }

  /** Show what is at a place; a file in its directory, chosen. */
  async show({place}) {
    if (this.#root?.place !== place) {
      this.#remember();
      await this.#enterPlace(place);
    } else this.grid.draw();
    this.grid.element.focus({preventScroll: true});
  }

  refresh() {
    return this.refresher.ask();
  }

  async #enterPlace(place, file = null) {
    this.#heading(place);
    const before = this.#remembered.get(place);
    const root = before?.root ?? new Entry(place, {name: shown(place), content_type: "directory", modified_time: 0}, 0);
    this.#root = root;
    this.#chosen = file ? null : before?.chosen ?? null;
    try {
      const listing = root.open();
      if (!listing.pages.length) await listing.more();
      if (this.#root !== root) return;
      if (!root.isDirectory) return await this.#enterPlace(above(place), place);
      if (file) await this.#find(listing, file);
    } catch (failure) {
      if (failure instanceof Failure && failure.status === 404) return this.#gone(place);
      throw failure;
    }
    if (this.#root !== root) return;
    this.#flatten();
    this.grid.offset = before?.offset ?? 0;
    this.#showChosen(file !== null);
    this.grid.draw();
    await this.#measure([root]);
    if (before) this.refresh();
  }

  #remember() {
    if (!this.#root?.listing?.pages.length) return;
    const {place} = this.#root;
    this.#remembered.delete(place);
    this.#remembered.set(place, {root: this.#root, offset: this.grid.offset, chosen: this.#chosen});
    if (this.#remembered.size > REMEMBERED) this.#remembered.delete(this.#remembered.keys().next().value);
  }

  /** Choose a file that an address named, wherever in its directory it is. */
  async #find(listing, place) {
    while (!listing.entries.has(place) && !listing.isComplete) await listing.more();
    this.#chosen = listing.entries.get(place) ?? null;
  }

  #heading(place) {
    const up = element("a.quiet.up", {href: `#/explore${above(place)}`, "aria-label": t("explore.up"), title: t("explore.up")}, icon("chevron"));
    this.place.replaceChildren(place === ROOT ? "" : up, crumbs("explore", place));
  }

  #gone(place) {
    this.#root = null;
    this.#rows = [];
    this.grid.refill(0);
    this.details.clear();
    this.notice.replaceChildren(t("explore.gone", {path: shown(place)}), " ",
      place === ROOT ? "" : element("a", {href: `#/explore${above(place)}`}, t("explore.gone.up", {path: shown(above(place))})));
  }

  // Rows

  /** Make the rows anew; what was at the top of the view stays there. */
  #flatten() {
    const height = this.grid.rowHeight, offset = this.grid.offset;
    const top = this.#rows[Math.floor(offset / height)];
    this.#rows = rows(this.#root, this.#order);
    this.grid.sorted(this.#order.column, this.#order.descending ? "descending" : "ascending");
    const isLarge = !this.#root.listing.isComplete || this.#root.listing.entries.size > MOST_SORTED;
    // By its place: what is loaded twice at once is another entry of the same.
    this.grid.active = this.#chosen ? this.#rows.findIndex(row => row.place === this.#chosen.place) : -1;
    this.#chosen = this.#rows[this.grid.active] ?? null;
    this.grid.refill(this.#rows.length);
    const now = top && offset >= height ? this.#rows.indexOf(top) : -1;
    if (now >= 0) this.grid.offset = now * height + offset % height;
    this.#notice(isLarge);
  }

  #notice(isLarge) {
    const {listing} = this.#root;
    if (!isLarge) this.notice.replaceChildren();
    else if (this.#isSorting) this.notice.replaceChildren(t("explore.loading.all", {n: count(listing.entries.size)}));
    else if (listing.entries.size >= MOST_SORTED) this.notice.replaceChildren(t("explore.toomany", {n: count(MOST_SORTED)}));
    else if (!this.notice.querySelector("button")) {
      const button = element("button.quiet", {type: "button"}, t("explore.all"));
      button.addEventListener("click", () => {
        this.grid.element.focus({preventScroll: true}); // the button goes
        this.#loadAll();
      });
      this.notice.replaceChildren(t("explore.unsorted"), " ", button);
    }
  }

  #fill(row, entry) {
    if (entry instanceof Note) return this.#fillNote(row, entry);
    const {isDirectory, depth} = entry;
    setAttributes(row, {"aria-level": depth, "aria-expanded": isDirectory && String(entry.isOpen)});
    const share = entry.parent.bytes ? Math.min(1, (entry.bytes ?? 0) / entry.parent.bytes) : 0;
    const fill = element("span.fill");
    fill.style.width = `${share * 100}%`;
    const name = isDirectory ? element("a.name", {href: `#/explore${entry.place}`, tabindex: -1, draggable: "false"}, entry.name)
      : element("span.name", entry.name);
    const cell = element("span.cell.name", {role: "gridcell", title: entry.name},
      isDirectory ? element("span.twist", icon("chevron")) : element("span.twist"),
      element(isDirectory ? "span.kind.directory" : "span.kind", icon(isDirectory ? "explore" : "file")), name);
    cell.style.setProperty("--level", depth - 1);
    row.className = `row${entry.isOpen ? " open" : ""}`;
    row.replaceChildren(cell,
      element("span.cell.share", {role: "gridcell"}, element("span.bar", share > 0 && fill), element("span.share-text", share ? percent(share) : "")),
      element("span.cell.size", {role: "gridcell"}, entry.bytes === null ? "…" : bytes(entry.bytes)),
      element("span.cell.modified", {role: "gridcell"}, day(entry.modified)));
  }

  #fillNote(row, {listing, depth}) {
    setAttributes(row, {"aria-level": depth, "aria-expanded": null});
    const text = listing.isComplete ? t("explore.empty")
      : listing.entries.size ? t("explore.more", {n: count(listing.entries.size)}) : t("explore.loading");
    const cell = element("span.cell.name.dim", {role: "gridcell", "aria-colspan": 4}, element("span.twist"), text);
    cell.style.setProperty("--level", depth - 1);
    row.className = "row note";
    row.replaceChildren(cell);
  }

  // What a person does

  #choose(entry) {
    this.#chosen = entry instanceof Entry ? entry : null;
    this.#showDetails();
  }

  #showChosen(isNamed) {
    if (isNamed && this.grid.active >= 0) this.grid.choose(this.grid.active);
    else this.#showDetails();
  }

  #showDetails() {
    if (this.#chosen) this.report.of(this.details.show(this.#chosen.place));
    else this.details.clear();
  }

  #enter(entry) {
    if (!(entry instanceof Entry) || !entry.isDirectory) return;
    this.go(`#/explore${entry.place}`);
  }

  #key(event, entry) {
    if (event.key === "Backspace") {
      if (this.#root && this.#root.place !== ROOT) this.go(`#/explore${above(this.#root.place)}`);
      return true;
    }
    if (!entry) return false;
    const isDirectory = entry instanceof Entry && entry.isDirectory;
    if (event.key === "ArrowRight" && isDirectory) {
      if (!entry.isOpen) this.#toggle(entry);
      else if (this.#rows[this.grid.active + 1]?.depth > entry.depth) this.grid.choose(this.grid.active + 1);
    } else if (event.key === "ArrowLeft") {
      if (isDirectory && entry.isOpen) this.#toggle(entry);
      else if (entry.parent && entry.parent !== this.#root) this.grid.choose(this.#rows.indexOf(entry.parent));
    } else if (event.key === " " && isDirectory) this.#toggle(entry);
    else return false;
    return true;
  }

  #toggle(entry) {
    if (!(entry instanceof Entry) || !entry.isDirectory) return;
    if (entry.isOpen) entry.isOpen = false;
    else this.report.of(this.#open(entry));
    this.#flatten();
  }

  async #open(entry) {
    const listing = entry.open();
    if (!listing.pages.length) await listing.more();
    else await this.#refreshListing(listing, listing.pages);
    this.#flatten();
    await this.#measure([entry]);
  }

  #sort(column) {
    const isSame = this.#order.column === column;
    this.#order = {column, descending: isSame ? !this.#order.descending : column !== "name"};
    this.#flatten();
    this.#loadAll();
  }

  /** All of the directory shown, so that it can be sorted. */
  async #loadAll() {
    const {listing} = this.#root ?? {};
    if (!listing || listing.isComplete || this.#isSorting) return;
    this.#isSorting = true;
    await this.report.of(listing.all(() => this.#root?.listing === listing && this.#notice(true)));
    this.#isSorting = false;
    if (this.#root?.listing !== listing) return;
    this.#flatten();
    await this.report.of(this.#measure([this.#root]));
  }

  // What comes into view

  /** Load and measure what is in view and was not yet. */
  #look(first, last) {
    this.#seen = [first, last];
    const seen = this.#rows.slice(first, last);
    for (const row of seen)
      if (row instanceof Note && !row.listing.isComplete && !row.listing.isLoading && row.listing.pages.length)
        this.report.of(row.listing.more().then(() => this.#root && this.#flatten()));
    if (seen.some(row => isUnmeasured(row))) this.measurer.ask();
  }

  measurer = new Refresher(() => this.report.of(this.#measureSeen()));

  async #measureSeen() {
    const wanted = this.#rows.slice(...this.#seen).filter(isUnmeasured);
    while (wanted.length) {
      await Promise.all(wanted.splice(0, MEASURED_AT_ONCE).map(entry => entry.page.listing.measureOne(entry).catch(unlessGone)));
      this.grid.refill();
    }
  }

  async #measure(owners) {
    await Promise.all(owners.map(owner => owner.listing?.measure().catch(unlessGone)));
    if (!this.#root) return;
    if (this.#order.column === "size") this.#flatten();
    else this.grid.refill();
  }

  /** Something in the tree has changed: see what of it is in view. */
  async #refresh() {
    const root = this.#root;
    if (!root?.listing?.pages.length) return;
    const listings = new Map([[root.listing, new Set()]]);
    for (const row of this.#rows.slice(...this.#seen)) {
      const listing = row instanceof Note ? row.listing : row.page.listing;
      if (!listings.has(listing)) listings.set(listing, new Set());
      if (row instanceof Entry) listings.get(listing).add(row.page);
    }
    try {
      await Promise.all([...listings].map(([listing, pages]) => this.#refreshListing(listing, pages).catch(failure => {
        if (listing === root.listing) throw failure;
        unlessGone(failure);
      })));
    } catch (failure) {
      if (!(failure instanceof Failure) || failure.status !== 404) throw failure;
      if (this.#root === root) this.#gone(root.place);
      return;
    }
    if (this.#root !== root) return;
    this.#flatten();
    await this.#measure([...listings.keys()].map(listing => listing.owner));
    if (this.#chosen) await this.details.show(this.#chosen.place);
  }

  /** Some pages, and the last one, where what is new comes. */
  async #refreshListing(listing, pages) {
    for (const page of new Set([...pages, ...listing.pages.slice(-1)]))
      if (listing.pages.includes(page)) await listing.refresh(page);
  }
}

const isUnmeasured = row => row instanceof Entry && row.isDirectory && row.page?.listing.round > 0 && row.round !== row.page.listing.round;

function unlessGone(failure) {
  if (!(failure instanceof Failure) || failure.status !== 404) throw failure;
}
