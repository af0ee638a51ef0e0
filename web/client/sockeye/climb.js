/**
 * Back up: while a connection lives on a transport that is not the best, a better one is tried beside it, now and then. It takes over
 * when it has opened, was greeted, and held for five seconds; until then nothing is given up.
 *
 *     resting ──pause over, or the network changed──> trying ──opened──> proving ──held──> ready
 *        ^                                              └─ failed ─┬────────┘ cut
 *        └─────────────── twice the pause, up to a cap ────────────┘
 */

import { CLIMB_AFTER_MS, CLIMB_CAP_MS, CONNECT_DEADLINE_MS, HURRY_MS, PROVE_MS } from './limits.js';

/** @import { Json } from './border.js' */
/** @import { Dial, Ladder } from './ladder.js' */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * @typedef {object} Climber
 * @property {(dial: Dial, proved: (greeting: Json) => void) => void} prove it has opened: ask it for a sign of life
 * @property {(dial: Dial, greeting: Json) => void} ready it is good: use it
 */

export class Climb {
  #ladder;
  #climber;
  #firstMs;
  #failures = 0;
  /** @type {Timer | undefined} */
  #timer;
  /** @type {Dial | undefined} */
  #dial;

  /** @param {Ladder} ladder @param {Climber} climber @param {number} [firstMs] */
  constructor(ladder, climber, firstMs = CLIMB_AFTER_MS) {
    this.#ladder = ladder;
    this.#climber = climber;
    this.#firstMs = firstMs;
  }

  /** There is a connection; is there a better one? */
  start() {
    this.stop();
    if (!this.#ladder.isBelow) this.#failures = 0;
    else this.#rest();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const dial = this.#dial;
    this.#dial = undefined;
    dial?.close(1000);
  }

  /** The network has changed: there is no need to sit out the pause. */
  hurry() {
    if (!this.#timer || this.#dial) return;
    this.#failures = 0;
    clearTimeout(this.#timer);
    if (this.#ladder.isBelow) this.#timer = setTimeout(() => this.#try(), HURRY_MS * Math.random());
  }

  #rest() {
    const pause = Math.min(CLIMB_CAP_MS, this.#firstMs * 2 ** this.#failures);
    this.#timer = setTimeout(() => this.#try(), pause * (0.75 + 0.25 * Math.random()));
  }

  #try() {
    const dial = this.#ladder.climb();
    this.#dial = dial;
    const over = (/** @type {() => void} */ then) => {
      // One that was given up is told of its end as well, when the timer is the next pause already.
      if (this.#dial !== dial) return;
      clearTimeout(this.#timer);
      // Nothing rests now: what is ready may wait for its moment, and a change of the network shall not dial beside it.
      this.#timer = undefined;
      this.#dial = undefined;
      then();
    };
    const failed = () => over(() => {
      this.#failures += 1;
      dial.close(1000);
      this.#rest();
    });
    this.#timer = setTimeout(failed, CONNECT_DEADLINE_MS + PROVE_MS);
    dial.onclose = failed;
    dial.onopen = () => this.#climber.prove(dial, (greeting) => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => over(() => this.#climber.ready(dial, greeting)), PROVE_MS);
    });
    dial.start();
  }
}
