/** How large and how old the files below a place are. */

import {Failure, ask, query} from "./api.js";
import {crumbs} from "./crumbs.js";
import {element} from "./dom.js";
import {bytes, count, duration} from "./format.js";
import {t} from "./i18n.js";
import {above, shown} from "./places.js";
import {Refresher} from "./refresher.js";

const KINDS = ["size", "age"];

export class Histograms {
  #place = null;

  constructor({report}) {
    this.report = report;
    this.place = element("div.place");
    this.tables = Object.fromEntries(KINDS.map(kind => [kind, element("section.card.histogram")]));
    this.element = element("section.histograms", element("h1.unseen", t("view.histograms")), this.place, element("div.two-up", Object.values(this.tables)));
    this.refresher = new Refresher(() => this.report.of(this.#load()));
  }

  async show({place}) {
    if (this.#place === place) return;
    this.#place = place;
    this.place.replaceChildren(crumbs("histograms", place));
    await this.#load();
  }

  refresh() {
    return this.refresher.ask();
  }

  async #load() {
    const place = this.#place;
    try {
      const answers = await Promise.all(KINDS.map(by => ask(`/views/fs/histogram?${query({path: place, by})}`)));
      if (this.#place === place) answers.forEach(({document}) => this.#draw(document));
    } catch (failure) {
      if (!(failure instanceof Failure) || failure.status !== 404) throw failure;
      this.tables.age.replaceChildren();
      this.tables.size.replaceChildren(element("p.dim", t("explore.gone", {path: shown(place)}), " ",
        element("a", {href: `#/histograms${above(place)}`}, t("explore.gone.up", {path: shown(above(place))}))));
    }
  }

  #draw({by, files, bytes: total, buckets}) {
    const heading = element("h2", {id: `by-${by}`}, t(`histograms.${by}`));
    if (!files) return this.tables[by].replaceChildren(heading, element("p.dim", t("histograms.none")));
    const filled = buckets.map(bucket => bucket.files > 0);
    const shownBuckets = buckets.slice(filled.indexOf(true), filled.lastIndexOf(true) + 1);
    const most = name => Math.max(...shownBuckets.map(bucket => bucket[name])) || 1;
    const mostFiles = most("files"), mostBytes = most("bytes");
    const columns = [t(`histograms.range.${by}`), t("histograms.files"), t("histograms.bytes")];
    this.tables[by].replaceChildren(heading, element("p.dim", `${t("files", {count: files, n: count(files)})}, ${bytes(total)}`),
      element("table", {"aria-labelledby": `by-${by}`}, element("thead", element("tr", columns.map(name => element("th", {scope: "col"}, name)))),
        element("tbody", shownBuckets.map(bucket => element("tr", element("th", {scope: "row"}, range(by, bucket)),
          cell("files", bucket.files / mostFiles, count(bucket.files)), cell("bytes", bucket.bytes / mostBytes, bytes(bucket.bytes)))))));
  }
}

function cell(kind, share, text) {
  const fill = element(`span.fill.${kind}`);
  fill.style.width = `${share * 100}%`;
  return element("td", element("span", element("span.bar", share > 0 && fill), element("span.amount", text)));
}

function range(by, {from, to}) {
  if (by === "size") {
    if (to === 1) return t("size.none");
    const [low, high] = [from, to].map(bound => bytes(bound ?? 0, {isBound: true}));
    return to === null ? t("size.beyond", {from: low}) : `${low} – ${high}`;
  }
  if (from === null) return t("age.future");
  if (from === 0) return t("age.within", {to: duration(to)});
  return to === null ? t("age.beyond", {from: duration(from)}) : t("age.between", {from: duration(from), to: duration(to)});
}
