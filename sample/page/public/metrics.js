import { Chart } from './chart.js';
import { EventsPanel } from './events.js';
import { bytes } from './panel.js';

const KEPT_MS = 60_000;

const percent = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const share = ({ memory }) => (100 * memory.used) / memory.total;

const CHARTS = [
  { title: 'CPU of the machine', value: ({ cpu }) => cpu.machine, text: percent, least: 0, most: 100 },
  { title: 'Memory of the machine', value: share, text: percent, least: 0, most: 100 },
  { title: 'Event-loop delay, p99', value: ({ loop }) => loop.p99, text: ms, least: 5 },
  { title: 'Memory of this process', value: ({ memory }) => memory.rss, text: bytes, least: 1e6 },
];

/** What the server measures once for all who watch. */
export class MetricsPanel extends EventsPanel {
  path = '/metrics';
  words = { done: 'measured', one: 'event', several: 'events' };
  samples = [];
  machine = '';

  constructor(section) {
    super(section);
    this.charts = CHARTS.map((options) => new Chart(section.querySelector('.charts'), options));
    this.detail = section.querySelector('.machine');
    this.watching = section.querySelector('.watching');
    this.start();
  }

  listen(events) {
    events.addEventListener('machine', ({ data }) => this.describe(JSON.parse(data)));
    events.addEventListener('watching', ({ data }) => this.count(JSON.parse(data)));
    events.addEventListener('sample', ({ data, lastEventId }) => this.add(JSON.parse(data), lastEventId));
  }

  stop() {
    super.stop();
    this.watching.textContent = '';
  }

  count({ watching }) {
    this.watching.textContent = watching === 1 ? '1 is watching' : `${watching} are watching`;
  }

  describe({ cpu, cores, node, platform }) {
    this.machine = `${cores} × ${cpu} · Node.js ${node} on ${platform}`;
  }

  add(sample, id) {
    // What a reconnected stream sends again takes the place of what is there.
    const others = this.samples.filter(({ at }) => at < sample.at && at > sample.at - KEPT_MS);
    this.samples = [...others, sample];
    for (const chart of this.charts) {
      chart.draw(this.samples);
    }
    const { streams, cpu, loop } = sample;
    const open = `${streams} ${streams === 1 ? 'stream' : 'streams'} open`;
    this.detail.textContent = `${this.machine} · ${open} · this process: CPU ${percent(cpu.process)}, event loop busy ${percent(loop.busy)} · event ${id}`;
  }
}
