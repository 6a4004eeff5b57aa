/** What the service says of itself, once a second while the page can be seen. */

import {ask} from "./api.js";

const EVERY_MS = 1000;
export const SPAN_SECONDS = 300;

/** Events: `status` after each answer; `revision` when the tree has changed; `failure`, with `detail` the Failure. */
export class Feed extends EventTarget {
  status = null;
  samples = []; // {at, rows, latency, queue}: seconds, rows per second, milliseconds or null, batches
  #timer = 0;
  #isRunning = false;
  #isPolling = false;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(this.#timer) : this.poll());
  }

  start() {
    this.#isRunning = true;
    return this.poll();
  }

  stop() {
    this.#isRunning = false;
    this.status = null;
    this.samples = [];
    clearTimeout(this.#timer);
  }

  /** Ask now. Returns whether there was an answer. */
  async poll() {
    clearTimeout(this.#timer);
    if (this.#isPolling || !this.#isRunning) return false;
    this.#isPolling = true;
    try {
      const {document: status} = await ask("/status");
      if (this.#isRunning) this.#take(status);
      return true;
    } catch (failure) {
      if (this.#isRunning) this.dispatchEvent(new CustomEvent("failure", {detail: failure}));
      return false;
    } finally {
      this.#isPolling = false;
      if (this.#isRunning && !document.hidden) this.#timer = setTimeout(() => this.poll(), EVERY_MS);
    }
  }

  #take(status) {
    const before = this.status;
    this.status = status;
    this.#sample(before, status);
    this.dispatchEvent(new Event("status"));
    if (before && (before.revision !== status.revision || before.state !== status.state)) this.dispatchEvent(new Event("revision"));
  }

  #sample(before, {time: at, started, totals, queue, last_event_latency_ms: latency}) {
    if (before && (before.started !== started || before.time > at)) this.samples = []; // started again
    else if (before && at > before.time) {
      const rows = Math.max(0, totals.rows - before.totals.rows) / (at - before.time);
      this.samples.push({at, rows, latency, queue: queue.batches});
    }
    while (this.samples.length && this.samples[0].at < at - SPAN_SECONDS) this.samples.shift();
  }
}
