const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 240;
const HEIGHT = 48;
/** A chart shows a period that grows with the number of samples, from the shortest to the longest. */
const SHORTEST_MS = 10_000;
const LONGEST_MS = 60_000;
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
  /** @param {{ title: string, value: (sample: object) => number, text: (value: number) => string, least?: number, most?: number }} options */
  constructor(container, options) {
    this.options = options;
    const figure = part(container, 'figure', 'chart');
    part(figure, 'figcaption', '', options.title);
    const value = part(figure, 'div', 'value');
    this.value = part(value, 'span', '', '–');
    this.when = part(value, 'span', 'when');
    const plot = part(figure, 'div', 'plot');
    this.top = part(plot, 'span', 'top');
    part(plot, 'span', 'bottom', '0');
    this.svg = child(plot, 'svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    child(this.svg, 'path', { class: 'grid', d: `M0 0H${WIDTH}M0 ${HEIGHT}H${WIDTH}` });
    this.area = child(this.svg, 'path', { class: 'area' });
    this.curve = child(this.svg, 'path', { class: 'curve' });
    this.dot = child(this.svg, 'path', { class: 'dot' });
    this.svg.addEventListener('pointermove', (event) => this.point(event));
    this.svg.addEventListener('pointerleave', () => this.point(undefined));
  }

  draw(samples) {
    const { title, value, least = 0, most, text } = this.options;
    this.end = samples.at(-1).at;
    this.span = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, this.end - samples[0].at));
    this.ceiling = most ?? ceilingOf(Math.max(least, ...samples.map(value)));
    this.points = samples.map((sample) => ({ sample, x: this.x(sample.at), y: this.y(value(sample)) }));
    const runs = this.runs();
    this.curve.setAttribute('d', runs.map((run) => path(run)).join(''));
    this.area.setAttribute('d', runs.map((run) => `${path(run)}V${HEIGHT}H${run[0].x}Z`).join(''));
    this.top.textContent = text(this.ceiling).replace('.0 ', ' ');
    this.svg.setAttribute('aria-label', `${title}, last minute. Now ${text(value(samples.at(-1)))}`);
    this.read();
  }

  x(at) {
    return Math.round((WIDTH - ((this.end - at) / this.span) * WIDTH) * 10) / 10;
  }

  y(value) {
    return Math.round((HEIGHT - Math.min(1, value / this.ceiling) * HEIGHT) * 10) / 10;
  }

  runs() {
    const runs = [];
    let last = Number.NEGATIVE_INFINITY;
    for (const point of this.points) {
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
    const { points = [], pointed, options } = this;
    if (points.length === 0) {
      return;
    }
    const nearest = (a, b) => (Math.abs(b.x - pointed) < Math.abs(a.x - pointed) ? b : a);
    const shown = pointed === undefined ? points.at(-1) : points.reduce(nearest);
    this.dot.setAttribute('d', `M${shown.x} ${shown.y}h0`);
    this.value.textContent = options.text(options.value(shown.sample));
    this.when.textContent = pointed === undefined ? '' : `${Math.round((this.end - shown.sample.at) / 1000)} s ago`;
  }
}

/** Returns the first of 1, 2, 5, 10, 20, 50, … that is not less than a value. */
function ceilingOf(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function path(points) {
  return `M${points.map(({ x, y }) => `${x} ${y}`).join('L')}`;
}
