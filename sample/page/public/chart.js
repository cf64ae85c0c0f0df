const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 240;
const HEIGHT = 72;
const SPAN_MS = 60_000;
/** Samples further apart than this are not joined: nothing is known of the time between. */
const GAP_MS = 2_500;

function child(parent, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  return parent.appendChild(element);
}

function part(parent, name, className, text = '') {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return parent.appendChild(element);
}

/** The last minute of one figure. Point at it to read a value. */
export class Chart {
  /** @param {{ title: string, value: (sample: object) => number, text: (value: number) => string, least: number, most?: number }} options */
  constructor(container, options) {
    this.options = options;
    const figure = part(container, 'figure', 'chart');
    part(figure, 'figcaption', '', options.title);
    const value = part(figure, 'div', 'value');
    this.value = part(value, 'span', '', '–');
    this.when = part(value, 'span', 'when');
    this.svg = child(figure, 'svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    this.area = child(this.svg, 'path', { class: 'area' });
    this.curve = child(this.svg, 'path', { class: 'curve' });
    this.cursor = child(this.svg, 'line', { class: 'cursor', y1: 0, y2: HEIGHT, visibility: 'hidden' });
    const scale = part(figure, 'div', 'scale');
    part(scale, 'span', '', '1 min ago');
    this.top = part(scale, 'span', 'top');
    this.svg.addEventListener('pointermove', (event) => this.point(event));
    this.svg.addEventListener('pointerleave', () => this.point(undefined));
  }

  draw(samples) {
    const { title, value, least, most, text } = this.options;
    this.end = samples.at(-1)?.at ?? 0;
    this.ceiling = most ?? Math.max(least, ...samples.map(value)) * 1.15;
    this.samples = samples.map((sample) => ({ sample, x: this.x(sample.at), y: this.y(value(sample)) }));
    const runs = this.runs();
    this.curve.setAttribute('d', runs.map((run) => path(run)).join(''));
    this.area.setAttribute('d', runs.map((run) => `${path(run)}V${HEIGHT}H${run[0].x}Z`).join(''));
    this.top.textContent = `top ${text(this.ceiling)}`;
    const newest = samples.at(-1);
    this.svg.setAttribute('aria-label', `${title}, last minute. Now ${newest ? text(value(newest)) : 'unknown'}`);
    this.read();
  }

  x(at) {
    return Math.round((WIDTH - ((this.end - at) / SPAN_MS) * WIDTH) * 10) / 10;
  }

  y(value) {
    return Math.round((HEIGHT - Math.min(1, value / this.ceiling) * (HEIGHT - 2)) * 10) / 10;
  }

  runs() {
    const runs = [];
    let last = Number.NEGATIVE_INFINITY;
    for (const point of this.samples) {
      if (point.sample.at - last > GAP_MS) {
        runs.push([]);
      }
      runs.at(-1).push(point);
      last = point.sample.at;
    }
    return runs;
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    this.pointed = event && ((event.clientX - box.left) / box.width) * WIDTH;
    this.read();
  }

  /** Shows the value that is pointed at, or the newest. */
  read() {
    const { value, text } = this.options;
    const points = this.samples ?? [];
    const pointed = this.pointed !== undefined && points.length > 0;
    const shown = pointed
      ? points.reduce((a, b) => (Math.abs(b.x - this.pointed) < Math.abs(a.x - this.pointed) ? b : a))
      : points.at(-1);
    this.cursor.setAttribute('visibility', pointed ? 'visible' : 'hidden');
    this.cursor.setAttribute('x1', shown?.x ?? 0);
    this.cursor.setAttribute('x2', shown?.x ?? 0);
    this.value.textContent = shown ? text(value(shown.sample)) : '–';
    this.when.textContent = pointed ? `${Math.round((this.end - shown.sample.at) / 1000)} s ago` : '';
  }
}

function path(points) {
  return `M${points.map(({ x, y }) => `${x} ${y}`).join('L')}`;
}
