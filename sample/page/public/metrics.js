import { Chart } from './chart.js';
import { bytes, clock, Panel } from './panel.js';

const KEPT_MS = 60_000;
const REFUSED_RETRY_MS = 3_000;

const percent = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const share = ({ memory }) => (100 * memory.used) / memory.total;

const CHARTS = [
  { title: 'CPU of the machine', value: ({ cpu }) => cpu.machine, text: percent, least: 0, most: 100 },
  { title: 'Memory of the machine', value: share, text: percent, least: 0, most: 100 },
  { title: 'Event-loop delay, p99', value: ({ loop }) => loop.p99, text: ms, least: 5 },
  { title: 'Memory of this process', value: ({ memory }) => memory.rss, text: bytes, least: 1e6 },
];

/** The browser's own EventSource: it reconnects by itself, unless the server refuses. */
export class MetricsPanel extends Panel {
  samples = [];
  machine = '';
  lost = 0;

  constructor(section) {
    super(section);
    this.charts = CHARTS.map((options) => new Chart(section.querySelector('.charts'), options));
    this.detail = section.querySelector('.machine');
    this.start();
  }

  start() {
    this.on = true;
    this.say('waiting', this.lost === 0 ? 'Connecting…' : 'Reconnecting…');
    this.events = new EventSource('/metrics');
    this.events.addEventListener('open', () => this.opened());
    this.events.addEventListener('machine', ({ data }) => this.describe(JSON.parse(data)));
    this.events.addEventListener('sample', ({ data }) => this.add(JSON.parse(data)));
    this.events.addEventListener('error', (event) => this.failed(event));
  }

  stop() {
    clearTimeout(this.retry);
    this.events.close();
    this.lost = 0;
    this.on = false;
    this.say('idle', 'Stopped by you');
  }

  opened() {
    this.say('live', this.lost === 0 ? 'Live' : `Live again since ${clock()}, after the connection was lost`);
  }

  /** The one name is for two things: an event the server sent has data, a lost connection has none. */
  failed({ data }) {
    if (data !== undefined) {
      this.say('failed', `Failed. The server reports: ${data}`);
      return;
    }
    this.lost++;
    if (this.events.readyState === EventSource.CONNECTING) {
      this.say('waiting', `Connection lost, ${clock()}. The browser is reconnecting…`);
    } else {
      this.say('failed', `The server refused the stream, ${clock()}. Trying again in 3 s…`);
      this.retry = setTimeout(() => this.start(), REFUSED_RETRY_MS);
    }
  }

  describe({ cpu, cores, node, platform }) {
    this.machine = `${cores} × ${cpu} · Node.js ${node} on ${platform}`;
  }

  add(sample) {
    // What a reconnected stream sends again takes the place of what is there.
    const others = this.samples.filter(({ at }) => at < sample.at && at > sample.at - KEPT_MS);
    this.samples = [...others, sample];
    for (const chart of this.charts) {
      chart.draw(this.samples);
    }
    const { streams, cpu, loop } = sample;
    const open = `${streams} ${streams === 1 ? 'stream' : 'streams'} open`;
    this.detail.textContent = `${this.machine} · ${open} · this process: CPU ${percent(cpu.process)}, event loop busy ${percent(loop.busy)}`;
  }
}
