import { part, write } from './text.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 240;
const HEIGHT = 72;
/** A chart shows a period that grows with the number of samples, from the shortest to the longest. */
const SHORTEST_MS = 20_000;
const LONGEST_MS = 120_000;
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
    const plot = part(figure, 'div', 'plot');
    this.top = part(plot, 'span', 'top');
    part(plot, 'span', 'bottom', '0');
    this.svg = drawing(plot, 'svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    drawing(this.svg, 'path', { class: 'grid', d: `M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}` });
    this.area = drawing(this.svg, 'path', { class: 'area' });
    this.curve = drawing(this.svg, 'path', { class: 'curve' });
    this.newest = drawing(this.svg, 'path', { class: 'newest' });
    const scale = part(figure, 'div', 'scale');
    this.since = part(scale, 'span');
    part(scale, 'span', '', 'now');
  }

  draw(samples) {
    const { key, title, text, least } = this.options;
    const known = samples.filter((sample) => sample[key] !== null);
    const ceiling = ceilingOf(Math.max(least, ...known.map((sample) => sample[key])));
    const end = samples.at(-1)?.at ?? 0;
    const span = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, end - (samples[0]?.at ?? end)));
    const pointOf = (sample) => [
      Math.round((WIDTH - ((end - sample.at) / span) * WIDTH) * 10) / 10,
      Math.round((HEIGHT - (sample[key] / ceiling) * HEIGHT) * 10) / 10,
    ];
    const runs = runsOf(known).map((run) => run.map(pointOf));
    const [x, y] = runs.at(-1)?.at(-1) ?? [];
    this.curve.setAttribute('d', runs.map(pathOf).join(''));
    this.area.setAttribute('d', runs.map((run) => `${pathOf(run)}V${HEIGHT}H${run[0][0]}Z`).join(''));
    this.newest.setAttribute('d', x === undefined ? '' : `M${x} ${y}h0`);
    const now = known.length > 0 ? text(known.at(-1)[key]) : '–';
    write(this.value, now);
    write(this.top, text(ceiling).replace('.0 ', ' '));
    write(this.since, span < LONGEST_MS ? `${Math.round(span / 1_000)} s ago` : '2 min ago');
    this.svg.setAttribute('aria-label', `${title}, last two minutes. Now ${now}`);
  }
}

/** Returns the first of 1, 2, 5, 10, 20, 50, … that is not less than a value. */
function ceilingOf(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
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
