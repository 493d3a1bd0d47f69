// SPDX-License-Identifier: Apache-2.0
// Latency from capture to display, measured: the time of each frame is painted into it, the server sends it back.

const BITS = 24, CHECK = 6, ROWS = 8;
export const PERIOD = 2 ** BITS; // milliseconds
const TICKS = 90; // of RTP time stamps, a millisecond
const KEPT = 64, ENOUGH = 20;

/** Paint milliseconds (an integer below PERIOD) into the last rows of a canvas. */
export function paintTime(context, milliseconds) {
  const { width, height } = context.canvas;
  const bits = milliseconds.toString(2).padStart(BITS, "0");
  const ones = [...bits].filter((bit) => bit === "1").length;
  const code = bits + ones.toString(2).padStart(CHECK, "0");
  const side = Math.floor(width / code.length);
  context.fillStyle = "#000";
  context.fillRect(0, height - ROWS, side * code.length, ROWS);
  context.fillStyle = "#fff";
  [...code].forEach((bit, i) => bit === "1" && context.fillRect(i * side, height - ROWS, side, ROWS));
}

/**
 * Which frame a shown picture was made of. The server stamps pictures with `origin + 90 * time`, and sends each
 * time through a data channel; the origin is unknown and constant: it is the difference that most pictures share.
 */
export class FrameTimes {
  #recent = [];
  #votes = new Map();
  #pictures = 0;
  #origin = null;

  add(time) {
    this.#recent.push(time);
    if (this.#recent.length > KEPT) this.#recent.shift();
  }

  /** The time of the frame behind a picture, by its RTP time stamp; null while it is not known. */
  find(stamp) {
    if (this.#origin === null) {
      this.#vote(stamp);
      return null;
    }
    const time = ((stamp - this.#origin) >>> 0) / TICKS;
    if (Number.isInteger(time) && time < PERIOD) return time;
    this.#origin = null;
    return null;
  }

  #vote(stamp) {
    this.#pictures += 1;
    for (const time of this.#recent) {
      const origin = (stamp - TICKS * time) >>> 0;
      this.#votes.set(origin, (this.#votes.get(origin) || 0) + 1);
    }
    if (this.#pictures < ENOUGH) return;
    const [first, second] = [...this.#votes].sort((a, b) => b[1] - a[1]);
    if (first && first[1] > ENOUGH / 2 && (!second || first[1] > 1.1 * second[1])) this.#origin = first[0];
    if (this.#origin !== null || this.#pictures > 10 * ENOUGH) {
      this.#votes.clear();
      this.#pictures = 0;
    }
  }
}

/** Milliseconds that passed since a painted time, which begins anew every PERIOD. */
export const since = (now, time) => (((Math.round(now) - time) % PERIOD) + PERIOD) % PERIOD;

/** The latest values, and percentiles of them. */
export class Latest {
  #values = [];

  add(value) {
    this.#values.push(value);
    if (this.#values.length > 100) this.#values.shift();
  }

  percentile(share) {
    if (!this.#values.length) return null;
    const sorted = [...this.#values].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  }
}
