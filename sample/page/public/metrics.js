import { Chart } from './chart.js';
import { bytes } from './panel.js';

const KEPT_MS = 60_000;

const percent = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const share = ({ memory }) => (100 * memory.used) / memory.total;

const CHARTS = [
  { title: 'CPU of the machine', value: ({ cpu }) => cpu.machine, text: percent, most: 100 },
  { title: 'Memory of the machine', value: share, text: percent, most: 100 },
  { title: 'Event-loop delay, p99', value: ({ loop }) => loop.p99, text: ms, least: 5 },
  { title: 'Memory of this process', value: ({ memory }) => memory.rss, text: bytes, least: 1e6 },
];

/** The charts of the figures that the server measures once for all clients. It shows what any of the lanes receives. */
export class Metrics {
  samples = [];
  about = '';

  constructor(section) {
    this.charts = CHARTS.map((options) => new Chart(section.querySelector('.charts'), options));
    this.detail = section.querySelector('.machine');
    this.subscribers = section.querySelector('.watching');
  }

  machine({ cpu, cores, nest, node, platform }) {
    this.about = `${cores} × ${cpu} · Nest ${nest} · Node.js ${node} on ${platform}`;
  }

  watching({ watching }) {
    this.subscribers.textContent = watching === 1 ? '1 subscriber' : `${watching} subscribers`;
  }

  sample(sample) {
    if (this.samples.some(({ at }) => at === sample.at)) {
      // Another lane was faster.
      return;
    }
    const all = [...this.samples, sample].sort((a, b) => a.at - b.at);
    const newest = all.at(-1);
    this.samples = all.filter(({ at }) => at > newest.at - KEPT_MS);
    for (const chart of this.charts) {
      chart.draw(this.samples);
    }
    const open = `${newest.streams} ${newest.streams === 1 ? 'stream' : 'streams'} open`;
    this.detail.textContent = `${this.about} · ${open} · sample #${newest.n}`;
  }
}
