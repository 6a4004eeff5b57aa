/** Does its work when asked to, one at a time, and rests in between: a slow answer is not asked for all the time. */

const REST = 3; // times as long as the work took

export class Refresher {
  #isRunning = false;
  #isAsked = false;

  constructor(work) {
    this.work = work;
  }

  async ask() {
    this.#isAsked = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#isAsked) {
      this.#isAsked = false;
      const began = performance.now();
      await this.work();
      const rest = (performance.now() - began) * REST;
      await new Promise(resolve => setTimeout(resolve, rest));
    }
    this.#isRunning = false;
  }
}
