/**
 * A grid of any number of rows, of which only those in view are in the document. The focus stays on the grid itself;
 * the active row is told by aria-activedescendant.
 */

import {element, framed, setAttributes} from "./dom.js";

// A tap's click comes a moment after the finger is lifted.
const TAP_MS = 100;
// Browsers draw nothing beyond some 16 to 33 million pixels: a longer grid scrolls in larger steps.
const MOST_PIXELS = 12_000_000;
const OVERSCAN = 8;
const NARROW = matchMedia("(max-width: 44rem)");

let grids = 0;

export class Grid {
  count = 0;
  active = -1;
  #rows = new Map(); // by index
  #free = [];
  #isFilled = true;
  #isPressed = false; // then rows stay as they are: a click is one when it ends on what it began on

  /**
   * role: `grid` or `treegrid`.
   * columns: [{id, label, sort}]; `sort` says whether its heading is a button.
   * fill(row, index): puts cells into a row, which may hold those of another one.
   * handlers, all optional: choose(index), enter(index), key(event, index): whether it was of use, sort(id),
   * seen(first, last): after drawing.
   */
  constructor({role, label, columns, fill, handlers = {}}) {
    this.fill = fill;
    this.handlers = handlers;
    this.id = `grid${grids++}`;
    this.space = element("div.space", {role: "rowgroup"});
    this.headings = columns.map(column => heading(column, handlers.sort));
    this.head = element("div.row.head", {role: "row", "aria-rowindex": 1}, this.headings);
    this.element = element("div.grid", {role, tabindex: 0, "aria-label": label, "aria-colcount": columns.length},
      element("div", {role: "rowgroup"}, this.head), this.space);
    this.element.firstChild.className = "heads";
    this.element.addEventListener("scroll", framed(() => this.draw()), {passive: true});
    this.element.addEventListener("keydown", event => this.#key(event));
    this.element.addEventListener("mousedown", event => this.#press(event));
    this.element.addEventListener("click", event => this.#click(event));
    this.element.addEventListener("focus", () => this.active < 0 && this.count && this.choose(this.#first));
    new ResizeObserver(framed(() => this.draw())).observe(this.element);
    this.element.addEventListener("pointerdown", () => this.#isPressed = true);
    addEventListener("pointerup", () => this.#isPressed && setTimeout(() => this.#release(), TAP_MS));
    addEventListener("pointercancel", () => this.#release());
    NARROW.addEventListener("change", () => this.refill());
  }

  get rowHeight() {
    return NARROW.matches ? 52 : 34;
  }

  /** The rows have changed: draw them anew. */
  refill(count = this.count) {
    this.count = count;
    this.#isFilled = false;
    this.element.setAttribute("aria-rowcount", count + 1);
    this.draw();
  }

  /** Where the view begins, in pixels of a grid that is not shortened. */
  get offset() {
    return this.element.scrollTop * this.#stretch;
  }

  set offset(pixels) {
    this.element.scrollTop = pixels / this.#stretch;
  }

  sorted(id, direction) {
    for (const cell of this.headings)
      if (cell.querySelector("button")) cell.setAttribute("aria-sort", cell.dataset.column === id ? direction : "none");
  }

  /** Make a row the active one and bring it into view; -1: none. */
  choose(index, {reveal = true} = {}) {
    this.active = Math.min(index, this.count - 1);
    if (reveal && this.active >= 0) this.#reveal(this.active);
    this.draw();
    this.handlers.choose?.(this.active);
  }

  draw() {
    if (!this.element.isConnected || !this.element.clientHeight) return;
    const height = this.rowHeight, length = Math.min(this.count * height, MOST_PIXELS);
    this.element.style.setProperty("--row", `${height}px`);
    this.space.style.height = `${length}px`;
    const top = this.element.scrollTop, offset = this.offset;
    const first = Math.max(0, Math.floor(offset / height) - OVERSCAN);
    const last = Math.min(this.count, Math.ceil((offset + this.#height) / height) + OVERSCAN);
    for (const [index, row] of this.#rows)
      if (index < first || index >= last) {
        this.#rows.delete(index);
        this.#free.push(row);
      }
    for (let index = first; index < last; index++) {
      const row = this.#rows.get(index);
      this.#place(row ?? this.#take(index), index, top + index * height - offset, !row || !(this.#isFilled || this.#isPressed));
    }
    for (const row of this.#free.splice(0)) row.remove();
    this.#isFilled ||= !this.#isPressed;
    setAttributes(this.element, {"aria-activedescendant": this.#rows.has(this.active) && this.#name(this.active)});
    this.handlers.seen?.(Math.max(0, Math.floor(offset / height)), Math.min(this.count, Math.ceil((offset + this.#height) / height)));
  }

  #take(index) {
    const row = this.#free.pop() ?? this.space.appendChild(element("div.row", {role: "row"}));
    this.#rows.set(index, row);
    return row;
  }

  #place(row, index, y, toFill) {
    row.style.transform = `translateY(${y}px)`;
    row.setAttribute("aria-selected", String(index === this.active));
    if (!toFill) return;
    setAttributes(row, {id: this.#name(index), "aria-rowindex": index + 2});
    this.fill(row, index);
  }

  #name = index => `${this.id}-row${index}`;

  get #height() {
    return this.element.clientHeight - this.head.offsetHeight;
  }

  get #first() {
    return Math.min(this.count - 1, Math.ceil(this.offset / this.rowHeight));
  }

  /** Pixels of rows for a pixel of the scroll bar's way. */
  get #stretch() {
    const length = this.count * this.rowHeight;
    return length <= MOST_PIXELS ? 1 : (length - this.#height) / (MOST_PIXELS - this.#height);
  }

  #reveal(index) {
    const top = index * this.rowHeight, bottom = top + this.rowHeight;
    this.space.style.height = `${Math.min(this.count * this.rowHeight, MOST_PIXELS)}px`;
    if (top < this.offset) this.offset = top;
    else if (bottom > this.offset + this.#height) this.offset = bottom - this.#height;
  }

  #indexOf(event) {
    const row = event.target.closest?.(".row");
    for (const [index, other] of this.#rows) if (other === row) return index;
    return -1;
  }

  /** What is in rows does not take the focus: rows come and go. */
  #press(event) {
    if (event.button !== 0 || this.#indexOf(event) < 0) return;
    event.preventDefault();
    this.element.focus({preventScroll: true});
  }

  #release() {
    this.#isPressed = false;
    this.draw();
  }

  #click(event) {
    const index = this.#indexOf(event);
    if (index >= 0) this.choose(index, {reveal: false});
  }

  #key(event) {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#height / this.rowHeight) - 1);
    const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity};
    if (event.key in steps && this.count)
      this.choose(Math.max(0, Math.min(this.count - 1, Math.max(0, this.active) + steps[event.key])));
    else if (event.key === "Enter" && this.active >= 0) this.handlers.enter?.(this.active);
    else if (!this.handlers.key?.(event, this.active)) return;
    event.preventDefault();
  }
}

function heading({id, label, sort}, onSort) {
  const cell = element(`div.cell.${id}`, {role: "columnheader", "data-column": id});
  if (!sort) return (cell.append(label), cell);
  const button = element("button.plain", {type: "button"}, label);
  button.addEventListener("click", () => onSort(id));
  cell.append(button);
  return cell;
}
