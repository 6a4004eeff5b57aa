/** The datastore at a glance: its state, how much there is, what comes in, who tells it. */

import {LineChart} from "./charts.js";
import {element} from "./dom.js";
import {ago, bytes, compact, count, decimal, duration, milliseconds, time} from "./format.js";
import {known, t} from "./i18n.js";
import {badge, progress, reason} from "./progress.js";
import {SPAN_SECONDS} from "./status.js";

// What the charts show while there is no more.
const SHORT_SECONDS = 60;

export class Overview {
  constructor({feed}) {
    this.feed = feed;
    this.state = element("section.card.lead", {"aria-live": "polite"});
    this.tiles = element("dl.tiles");
    this.rate = new LineChart({title: t("overview.rate"), value: number => t("overview.rate.unit", {n: compact(number)})});
    this.latency = new LineChart({title: t("overview.latency"), value: milliseconds});
    this.queue = new LineChart({title: t("overview.queue"), value: compact});
    this.sessions = element("section.card.sessions");
    this.breaker = element("section.card.breaker");
    this.service = element("section.card.service");
    this.element = element("section.overview", element("h1.unseen", t("view.overview")), this.state, this.breaker, this.tiles,
      element("section.charts", [this.rate, this.latency, this.queue].map(chart => element("div.card", chart.element))),
      this.sessions, this.service);
    this.drawn = new Map();
  }

  show() {
    this.update(this.feed.status);
  }

  refresh() {}

  /** What the service says has come. */
  update(status) {
    if (!status) return;
    this.#once(this.state, [status.state, status.reason, status.problem, status.progress, status.datastore], () => [
      element("h2", {translate: "no"}, status.datastore), badge(status.state), ...reason(status), progress(status) ?? ""]);
    this.#once(this.tiles, [status.files, status.directories, status.bytes, status.nodes, status.bytes_per_node, status.revision], () => tiles(status));
    const {samples} = this.feed;
    const span = samples.length && samples[0].at < status.time - SHORT_SECONDS ? SPAN_SECONDS : SHORT_SECONDS;
    for (const [chart, name] of [[this.rate, "rows"], [this.latency, "latency"], [this.queue, "queue"]])
      chart.draw(samples.map(sample => [sample.at, sample[name]]), status.time, span);
    this.#once(this.sessions, [status.sessions, Math.floor(status.time)], () => [
      element("h2", t("overview.sessions")), status.sessions.length ? sessions(status) : element("p.dim", t("overview.sessions.none"))]);
    this.#once(this.breaker, status.breaker, () => breaker(status.breaker));
    this.#once(this.service, [status.totals, status.durability, status.scopes], () => service(status));
  }

  /** What stays the same is left alone, for whoever selects or listens to it. */
  #once(place, values, make) {
    const drawn = JSON.stringify(values);
    if (this.drawn.get(place) === drawn) return;
    this.drawn.set(place, drawn);
    place.replaceChildren(...make().flat(Infinity));
  }
}

function tiles({files, directories, bytes: total, nodes, bytes_per_node: perNode, revision}) {
  const tile = (name, value, note = "") => element("div.card", element("dt", t(name)), element("dd", value === null ? "–" : value),
    element("dd.dim", note));
  return [
    tile("overview.files", files === null ? null : count(files), t("overview.revision", {n: count(revision)})),
    tile("overview.directories", directories === null ? null : count(directories)),
    tile("overview.bytes", total === null ? null : bytes(total), files ? t("overview.average", {size: bytes(total / files)}) : ""),
    tile("overview.memory", bytes(perNode * nodes), t("overview.memory.note", {n: decimal(perNode)})),
  ];
}

function sessions({sessions: all, time: now}) {
  const names = ["task", "address", "opened", "heard", "timeout"];
  const cells = session => [
    [element("span", {translate: "no"}, session.task_id), session.authoritative ? [" ", element("span.tag", t("overview.authoritative"))] : ""],
    session.client_ip, time(session.created_at), ago(Math.max(0, now - session.last_activity)), duration(session.session_timeout_seconds)];
  return element("table.cards", element("thead", element("tr", names.map(name => element("th", {scope: "col"}, t(`overview.${name}`))))),
    element("tbody", all.map(session => element("tr", cells(session).map((cell, number) =>
      element("td", {"data-label": t(`overview.${names[number]}`)}, cell))))));
}

function breaker({tripped, reason: told}) {
  return [element("h2", t("overview.breaker")),
    element("p", element(`span.dot.${tripped ? "bad" : "good"}`), t(tripped ? "overview.breaker.open" : "overview.breaker.closed")),
    tripped && told ? element("p.dim", t("overview.breaker.reason", {reason: told})) : ""];
}

function service(status) {
  const {rows, batches, body_bytes: pushed} = status.totals;
  const facts = [
    ["overview.version", status.version],
    ["overview.running", time(status.started)],
    ["overview.durability", known(`durability.${status.durability}`) ?? status.durability],
    ["overview.pushed", t("overview.pushed.text", {rows: count(rows), batches: count(batches), bytes: bytes(pushed)})],
    ["overview.scopes", status.scopes.join(", ")],
  ];
  return [element("h2", t("overview.service")), element("dl.facts", facts.map(([name, value]) => element("div", element("dt", t(name)), element("dd", value))))];
}
