/** The part of the tree that has been looked at: directories with those of their entries that were loaded. */

import {Failure, ask, query} from "./api.js";
import {below} from "./places.js";

const PAGE = 1000;
const FIELDS = "name,content_type,size,modified_time";
// So many largest entries of a directory are measured at once.
const MEASURED = 1000;
// A directory with more entries stays in stored order.
export const MOST_SORTED = 250_000;

const collator = new Intl.Collator(undefined, {numeric: true});
const byName = (one, other) => other.isDirectory - one.isDirectory || collator.compare(one.name, other.name);
const KEYS = {size: entry => entry.bytes ?? -1, modified: entry => entry.modified};

/** A file or directory. `bytes`: of a directory all that is below it, null until it was measured. */
export class Entry {
  isOpen = false;
  listing = null; // of a directory that was opened
  page = null; // of its parent's listing
  bytes = null;
  round = -1; // of its parent's measurements

  constructor(place, node, depth) {
    this.place = place;
    this.depth = depth;
    this.update(node);
  }

  update({name, content_type: type, size, modified_time: modified}) {
    this.name = name;
    this.isDirectory = type === "directory";
    this.modified = modified;
    if (!this.isDirectory) this.bytes = size;
  }

  open() {
    this.isOpen = true;
    return this.listing ??= new Listing(this);
  }
}

/** The entries of a directory, page by page in stored order. What is new comes at the end. */
export class Listing {
  entries = new Map(); // by place
  pages = [];
  next = "start"; // the cursor of the page after those loaded; null: there is none
  round = 0;
  #tag = null; // of the measurements
  #loading = null;
  #byName = null; // all entries; null: some have come or gone since
  #names = []; // the same, before that
  #sorted = null;
  #sortedBy = "";

  constructor(owner) {
    this.owner = owner;
  }

  get isComplete() {
    return this.next === null;
  }

  get isLoading() {
    return this.#loading !== null;
  }

  /** Load the next page. Throws Failure. */
  more() {
    return this.#loading ??= this.#more().finally(() => this.#loading = null);
  }

  /** Load all there is, up to MOST_SORTED entries; `onPage` is called after each page. */
  async all(onPage) {
    while (!this.isComplete && this.entries.size < MOST_SORTED) {
      await this.more();
      onPage();
    }
  }

  /** Load a page again. What is gone from it goes, what is new comes. Returns whether anything changed. */
  async refresh(page) {
    const answer = await this.#ask(page);
    if (!answer) return true;
    if (answer.document) this.#take(page, answer);
    return answer.document !== null;
  }

  /** Measure the largest entries. Returns whether anything changed. */
  async measure() {
    const parameters = {path: this.owner.place, top: MEASURED};
    const {document, tag} = await ask(`/views/fs/du?${query(parameters)}`, {tag: this.#tag});
    if (!document) return false;
    this.#tag = tag;
    this.round++;
    this.owner.bytes = document.bytes;
    for (const child of document.largest_children) {
      const entry = this.entries.get(below(this.owner.place, child));
      if (entry) Object.assign(entry, {bytes: child.bytes, round: this.round});
    }
    this.#sortedBy = "";
    return true;
  }

  /** Measure one directory that is not among the largest. */
  async measureOne(entry) {
    entry.round = this.round;
    const {document} = await ask(`/views/fs/stats?${query({path: entry.place})}`);
    entry.bytes = document.bytes;
    this.#sortedBy = "";
  }

  /** All loaded entries: sorted when the directory is complete, else as stored. */
  ordered({column, descending}) {
    if (!this.isComplete || this.entries.size > MOST_SORTED) return this.pages.flatMap(page => [...page.entries]);
    const sortedBy = `${column} ${descending}`;
    if (this.#sortedBy !== sortedBy || !this.#byName) {
      this.#sortNames();
      this.#sorted = column === "name" ? descending ? this.#byName.toReversed() : this.#byName : sortedOn(KEYS[column], this.#byName, descending);
      this.#sortedBy = sortedBy;
    }
    return this.#sorted;
  }

  /** To compare names takes long, and what is sorted nearly is sorted fast: begin with what was sorted before. */
  #sortNames() {
    if (this.#byName) return;
    const known = this.#names.filter(entry => this.entries.get(entry.place) === entry);
    const seen = new Set(known);
    const added = [...this.entries.values()].filter(entry => !seen.has(entry));
    this.#byName = this.#names = added.length ? known.concat(added).sort(byName) : known;
  }

  async #more() {
    const page = {listing: this, cursor: this.next, tag: null, entries: new Set()};
    const answer = await this.#ask(page);
    if (!answer) return;
    this.pages.push(page);
    this.#take(page, answer);
  }

  /** null when the cursor has expired: then all pages that were there are loaded anew. */
  async #ask(page) {
    const parameters = {path: this.owner.place, recursive: false, limit: PAGE, fields: FIELDS, cursor: page.cursor};
    try {
      return await ask(`/views/fs/tree?${query(parameters)}`, {tag: page.tag});
    } catch (failure) {
      if (!(failure instanceof Failure) || failure.code !== "cursor_expired") throw failure;
    }
    await this.#again();
    return null;
  }

  async #again() {
    const {entries} = this, wanted = this.pages.length;
    this.pages = [];
    this.next = "start";
    for (const entry of entries.values()) entry.page = null;
    do await this.#more();
    while (!this.isComplete && this.pages.length < wanted);
    for (const [place, entry] of entries) if (!entry.page) entries.delete(place);
    this.#byName = null;
  }

  #take(page, {document, tag, cursor}) {
    page.tag = tag;
    this.owner.update(document);
    if (page === this.pages.at(-1)) this.next = cursor;
    const found = new Set();
    for (const node of document.children ?? []) {
      const place = below(this.owner.place, node);
      let entry = this.entries.get(place);
      if (entry && entry.isDirectory === (node.content_type === "directory")) entry.update(node);
      else this.entries.set(place, entry = new Entry(place, node, this.owner.depth + 1)); // another thing of that name
      if (entry.page !== page) entry.page?.entries.delete(entry);
      entry.page = page;
      found.add(entry);
    }
    for (const entry of page.entries) if (!found.has(entry) && entry.page === page && this.entries.get(entry.place) === entry) this.entries.delete(entry.place);
    page.entries = found;
    this.#byName = null;
  }
}

/** Equals stay in the order they are in. */
const sortedOn = (key, entries, descending) =>
  entries.toSorted(descending ? (one, other) => key(other) - key(one) : (one, other) => key(one) - key(other));

/** A row that stands for no entry: what follows is not loaded, or there is nothing. */
export class Note {
  constructor(listing, depth) {
    this.listing = listing;
    this.depth = depth;
  }
}

/** The rows that open directories make, below `root`, which has none itself. Each entry is told its parent row's entry. */
export function rows(root, order) {
  const found = [];
  const add = owner => {
    const {listing} = owner;
    for (const entry of listing.ordered(order)) {
      entry.parent = owner;
      found.push(entry);
      if (entry.isOpen && entry.listing) add(entry);
    }
    if (!listing.isComplete || !listing.entries.size) found.push(new Note(listing, owner.depth + 1));
  };
  add(root);
  return found;
}
