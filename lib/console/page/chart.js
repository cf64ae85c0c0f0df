import { part, write } from './text.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 240;
const HEIGHT = 72;
const SPAN_MS = 120_000;
/** Samples with a greater distance are not connected by a line, since no samples were taken between them. */
const GAP_MS = 3_500;

export function drawing(parent, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  return parent.appendChild(element);
}

/** A chart of one figure over the last two minutes. */
export class Chart {
  /** @param {{ title: string, key: string, text: (value: number) => string, least: number }} options */
  constructor(container, options) {
    this.options = options;
    const figure = part(container, 'figure', 'chart');
    part(figure, 'figcaption', '', options.title);
    this.value = part(figure, 'div', 'value', '–');
    this.svg = drawing(figure, 'svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    this.area = drawing(this.svg, 'path', { class: 'area' });
    this.curve = drawing(this.svg, 'path', { class: 'curve' });
    const scale = part(figure, 'div', 'scale');
    part(scale, 'span', '', '2 min ago');
    this.top = part(scale, 'span');
  }

  draw(samples) {
    const { key, title, text, least } = this.options;
    const known = samples.filter((sample) => sample[key] !== null);
    const newest = known.at(-1);
    const ceiling = Math.max(least, ...known.map((sample) => sample[key])) * 1.15;
    const end = samples.at(-1)?.at ?? 0;
    const runs = runsOf(known).map((run) =>
      run.map((sample) => [
        Math.round((WIDTH - ((end - sample.at) / SPAN_MS) * WIDTH) * 10) / 10,
        Math.round((HEIGHT - (sample[key] / ceiling) * (HEIGHT - 2)) * 10) / 10,
      ]),
    );
    this.curve.setAttribute('d', runs.map(pathOf).join(''));
    this.area.setAttribute('d', runs.map((run) => `${pathOf(run)}V${HEIGHT}H${run[0][0]}Z`).join(''));
    const now = newest ? text(newest[key]) : '–';
    write(this.value, now);
    write(this.top, newest ? `top ${text(ceiling)}` : '');
    this.svg.setAttribute('aria-label', `${title}, last two minutes. Now ${now}`);
  }
}

function runsOf(samples) {
  const runs = [];
  let last = Number.NEGATIVE_INFINITY;
  for (const sample of samples) {
    if (sample.at - last > GAP_MS) {
      runs.push([]);
    }
    runs.at(-1).push(sample);
    last = sample.at;
  }
  return runs;
}

function pathOf(points) {
  return `M${points.map(([x, y]) => `${x} ${y}`).join('L')}`;
}
