/** The wake behind a moving arrow: where it was in the last half second, thinner and paler with age. */

const WAKE_MS = 550;
const POINTS_LIMIT = 40;
const STEP_PX = 3;
const WIDTH_PX = 7;

export class Wake {
  /** @type {{ x: number, y: number, at: number }[]} oldest first */
  #points = [];

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} now
   * @returns {boolean} whether there is anything to draw
   */
  follow(x, y, now) {
    const last = this.#points.at(-1);
    if (!last || Math.hypot(x - last.x, y - last.y) >= STEP_PX) this.#points.push({ x, y, at: now });
    const fresh = this.#points.findIndex((point) => now - point.at < WAKE_MS);
    // The newest point stays even when old: the next stroke starts there.
    this.#points = this.#points.slice(Math.max(fresh < 0 ? this.#points.length - 1 : fresh, this.#points.length - POINTS_LIMIT));
    return this.#points.length > 1;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} hue
   * @param {number} now
   */
  draw(context, hue, now) {
    // Round ends would overlap and show as beads, because the strokes are translucent.
    context.lineCap = 'butt';
    for (const [index, point] of this.#points.entries()) {
      const before = this.#points[index - 1];
      if (!before) continue;
      const life = Math.max(0, 1 - (now - point.at) / WAKE_MS);
      context.strokeStyle = `hsl(${hue} 74% 50% / ${(life * 0.55).toFixed(2)})`;
      context.lineWidth = 1 + WIDTH_PX * life;
      context.beginPath();
      context.moveTo(before.x, before.y);
      context.lineTo(point.x, point.y);
      context.stroke();
    }
  }
}

/**
 * Makes the canvas as large as the window, in the pixels of the screen, and empty.
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D | null}
 */
export function clearedContext(canvas) {
  const scale = Math.min(2, devicePixelRatio);
  const width = Math.round(innerWidth * scale);
  const height = Math.round(innerHeight * scale);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext('2d');
  context?.setTransform(scale, 0, 0, scale, 0, 0);
  context?.clearRect(0, 0, innerWidth, innerHeight);
  return context;
}
