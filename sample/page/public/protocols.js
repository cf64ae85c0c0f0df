import { Lane } from './lanes.js';
import { Metrics } from './metrics.js';
import { Panel } from './panel.js';

/** What the client calls each of the protocols. */
const LANES = { SSE: 'sse', NDJSON: 'ndjson', WebSocket: 'ws' };
const list = new Intl.ListFormat('en');

/** One stream over several protocols, and whether they bring the same. */
export class ProtocolsPanel extends Panel {
  constructor(section) {
    super(section);
    this.detail = section.querySelector('.compared');
    const metrics = new Metrics(section);
    const listener = {
      machine: (data) => metrics.machine(data),
      watching: (data) => metrics.watching(data),
      sample: (data) => metrics.sample(data),
      changed: () => this.compare(),
      label: (process) => metrics.processes.label(process),
    };
    this.lanes = Object.entries(LANES).map(([name, as]) => ({
      name,
      panel: new Lane(section.querySelector(`#${name.toLowerCase()}`), as, listener),
    }));
    section.querySelector('.lanes').addEventListener('click', () => this.switched());
    this.start();
  }

  start() {
    for (const { panel } of this.lanes.filter(({ panel }) => !panel.running)) {
      void panel.start();
    }
    this.switched();
  }

  stop(why) {
    for (const { panel } of this.lanes) {
      panel.stop(why);
    }
    this.switched();
  }

  switched() {
    this.on = this.lanes.every(({ panel }) => panel.running);
    this.compare();
  }

  /** Compares from the first to the last sample that all lanes had the time to bring. The clocks of several processes may differ. */
  compare() {
    const lanes = this.lanes.filter(({ panel }) => panel.running && panel.tally.kept.length > 0);
    const kept = lanes.map(({ panel }) => panel.tally.kept.map((sample) => ({ key: keyOf(sample), sample })));
    const inAll = ({ key }) => kept.every((samples) => samples.some((other) => other.key === key));
    const from = kept.map(([first]) => first).find(inAll);
    const to = kept.map((samples) => samples.at(-1)).find(inAll);
    const common = from && to ? kept.map((samples) => between(samples, from.key, to.key)) : [];
    this.judge(list.format(lanes.map(({ name }) => name)), common);
  }

  judge(names, [one = [], ...others]) {
    if (others.length === 0 || one.length === 0) {
      const off = this.lanes.every(({ panel }) => !panel.running);
      this.say('idle', off ? 'All are switched off' : 'Waiting for two protocols to bring the same samples');
      return;
    }
    const same = others.every((other) => JSON.stringify(other) === JSON.stringify(one));
    const what = same ? 'bring the same samples in the same order' : 'do not bring the same samples';
    this.say(same ? 'live' : 'failed', `${names} ${what}`);
    this.detail.textContent = `${one.length} compared`;
  }
}

function keyOf({ process, n, at }) {
  return `${process} ${n} ${at}`;
}

function between(samples, from, to) {
  const keys = samples.map(({ key }) => key);
  return samples.slice(keys.indexOf(from), keys.indexOf(to) + 1).map(({ sample }) => sample);
}
