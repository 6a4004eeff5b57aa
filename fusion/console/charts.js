/** Lines of what happened in the last minutes. */

import {element, setAttributes, svg} from "./dom.js";
import {duration} from "./format.js";
import {t} from "./i18n.js";

const WIDTH = 600, HEIGHT = 120, TOP = 6;

export class LineChart {
  #points = [];
  #end = 0;
  #span = 1;

  /** value(number): says a value. */
  constructor({title, value}) {
    this.title = title;
    this.value = value;
    this.now = element("span.now", "–");
    this.most = element("span.most");
    this.from = element("span");
    this.area = svg("path.area");
    this.line = svg("path.line");
    this.mark = svg("line.mark", {y1: 0, y2: HEIGHT, hidden: true});
    this.drawing = svg("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img"},
      [1, 2, 3].map(part => svg("line.rule", {x1: 0, x2: WIDTH, y1: HEIGHT * part / 4, y2: HEIGHT * part / 4})), this.area, this.line, this.mark);
    this.element = element("figure.chart", element("figcaption", element("span", title), this.now),
      element("div.plot", this.drawing, this.most),
      element("div.axis", {"aria-hidden": "true"}, this.from, element("span", t("chart.now"))));
    this.drawing.addEventListener("pointermove", event => this.#point(event));
    this.drawing.addEventListener("pointerleave", () => this.#unpoint());
  }

  /** points: [[at, number or null]] in seconds, in order; null leaves a gap. The chart shows `span` seconds before `end`. */
  draw(points, end, span) {
    this.#points = points;
    this.#end = end;
    this.#span = span;
    this.from.textContent = t("chart.from", {n: duration(span)});
    const most = Math.max(0, ...points.map(([, number]) => number ?? 0));
    const x = at => (WIDTH * (1 - (end - at) / span)).toFixed(1);
    const y = number => (HEIGHT - (HEIGHT - TOP) * (most ? number / most : 0)).toFixed(1);
    let line = "", area = "", last = null;
    for (const [at, number] of points) {
      if (number !== null) {
        line += `${last === null ? "M" : "L"}${x(at)} ${y(number)}`;
        area += last === null ? `M${x(at)} ${HEIGHT}L${x(at)} ${y(number)}` : `L${x(at)} ${y(number)}`;
      } else if (last !== null) area += `L${x(last)} ${HEIGHT}Z`;
      last = number === null ? null : at;
    }
    if (last !== null) area += `L${x(last)} ${HEIGHT}Z`;
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    const now = points.at(-1)?.[1] ?? null;
    this.most.textContent = most ? this.value(most) : "";
    if (this.mark.hasAttribute("hidden")) this.now.textContent = now === null ? "–" : this.value(now);
    const label = now === null ? `${this.title}: ${t("chart.none")}` : t("chart.label", {title: this.title, now: this.value(now), most: this.value(most)});
    this.drawing.setAttribute("aria-label", label);
  }

  #point(event) {
    const box = this.drawing.getBoundingClientRect();
    const wanted = this.#end - this.#span * (1 - (event.clientX - box.left) / box.width);
    const near = this.#points.filter(([, number]) => number !== null)
      .reduce((best, point) => best && Math.abs(best[0] - wanted) <= Math.abs(point[0] - wanted) ? best : point, null);
    if (!near) return;
    const x = WIDTH * (1 - (this.#end - near[0]) / this.#span);
    setAttributes(this.mark, {x1: x, x2: x, hidden: false});
    this.now.textContent = this.value(near[1]);
  }

  #unpoint() {
    setAttributes(this.mark, {hidden: true});
    this.draw(this.#points, this.#end, this.#span);
  }
}
