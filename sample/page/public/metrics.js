import { Chart } from './chart.js';
import { bytes } from './panel.js';
import { Processes } from './processes.js';

const KEPT_MS = 60_000;

const percent = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const share = ({ memory }) => (100 * memory.used) / memory.total;

const CHARTS = [
  { title: 'CPU of the machine', value: ({ cpu }) => cpu.machine, text: percent, most: 100 },
  { title: 'Memory of the machine', value: share, text: percent, most: 100 },
  { title: 'Event-loop delay, p99', value: ({ loop }) => loop.p99, text: ms, least: 5 },
  { title: 'Memory of the process', value: ({ memory }) => memory.rss, text: bytes, least: 1e6 },
];

/**
 * The charts of the figures that each process of the server measures once for all clients. It shows one process, and what any of the lanes
 * receives.
 */
export class Metrics {
  /** The samples of the last minute, by process. */
  samples = new Map();
  /** What is known of the machine of a process. */
  about = new Map();

  constructor(section) {
    this.processes = new Processes(section.querySelector('.processes'), () => this.draw());
    this.charts = CHARTS.map((options) => new Chart(section.querySelector('.charts'), options));
    this.detail = section.querySelector('.machine');
    this.subscribers = section.querySelector('.watching');
  }

  machine({ process, cpu, cores, nest, node, platform }) {
    this.processes.connected(process);
    this.about.set(process, `${cores} × ${cpu} · Nest ${nest} · Node.js ${node} on ${platform} · `);
  }

  watching({ watching }) {
    this.subscribers.textContent = watching === 1 ? '1 subscriber' : `${watching} subscribers`;
  }

  sample(sample) {
    const { process } = sample;
    const known = this.samples.get(process) ?? [];
    if (known.some(({ at }) => at === sample.at)) {
      // Another lane was faster.
      return;
    }
    const all = [...known, sample].sort((a, b) => a.at - b.at);
    this.samples.set(
      process,
      all.filter(({ at }) => at > all.at(-1).at - KEPT_MS),
    );
    this.processes.arrived(process);
    if (process === this.processes.shown) {
      this.draw();
    }
  }

  draw() {
    const { shown } = this.processes;
    const samples = this.samples.get(shown);
    for (const chart of this.charts) {
      chart.draw(samples);
    }
    const { streams, n } = samples.at(-1);
    const open = `${streams} ${streams === 1 ? 'stream' : 'streams'} open`;
    this.detail.textContent = `${this.about.get(shown) ?? ''}${open} · sample #${n}`;
  }
}
