import { Chart } from './chart.js';
import { connect } from './client.js';
import { Connections } from './connections.js';
import { Ended } from './ended.js';
import { Hubs } from './hubs.js';
import { Runs } from './runs.js';
import { Tallies } from './tallies.js';
import { bytes, count, rate } from './text.js';
import { Errors, SlowClients } from './trouble.js';

const KEPT_MS = 120_000;
const RETRY_MS = 3_000;
/** How long after the last key press the filter is sent to the server, in milliseconds. */
const TYPING_MS = 250;
/** The URL of the page, with the prefix of the application or of a proxy, and without a password, which `fetch()` refuses. */
const base = `${location.origin}${location.pathname}`.replace(/\/+$/, '');

const find = (selector) => document.querySelector(selector);
const [main, status, told, pause, filter, sort] = ['main', '.status', '.told', '.pause', '#filter', '#sort'].map(find);
const panelOf = (title) => find(`[aria-labelledby="${title}"]`);

const CHARTS = [
  { title: 'Open connections', key: 'open', text: (value) => count(Math.round(value)), least: 5 },
  { title: 'Sent per second', key: 'byteRate', text: byteRate, least: 1_000 },
  { title: 'Waiting for slow clients', key: 'queue', text: bytes, least: 1_000 },
  { title: 'Hub events per second', key: 'eventRate', text: rate, least: 5 },
].map((options) => new Chart(find('.charts'), options));

const ended = new Ended(panelOf('ended-title'));
const parts = [
  new Tallies(find('.tallies'), filterFor),
  new Errors(panelOf('errors-title')),
  new SlowClients(panelOf('slow-title'), filterFor),
  new Connections(panelOf('connections-title'), close),
  ended,
  new Hubs(panelOf('hubs-title')),
  new Runs(panelOf('runs-title'), stopRun),
];
let samples = [];
let feed;
let retry;

function say(state, text) {
  status.dataset.state = state;
  main.dataset.stale = String(state !== 'live');
  if (status.textContent !== text) {
    status.textContent = text;
  }
}

function draw(added) {
  const others = samples.filter(({ at }) => !added.some((sample) => sample.at === at));
  const all = [...others, ...added].sort((a, b) => a.at - b.at);
  samples = all.filter(({ at }) => at > all.at(-1).at - KEPT_MS);
  for (const chart of CHARTS) {
    chart.draw(samples);
  }
}

function show(snapshot) {
  say('live', 'Live');
  draw([snapshot]);
  for (const each of parts) {
    each.show(snapshot);
  }
}

/** Follows the feed with the current filter and order. While the tab is hidden, it disconnects: without viewers, the server takes no snapshots. */
async function watch() {
  disconnect();
  const query = new URLSearchParams({ filter: filter.value, sort: sort.value });
  const stream = connect(`${base}/events?${query}`, { hidden: 'pause' });
  feed = stream;
  stream.on('state', (state) => {
    if (state === 'waiting' && document.hidden) {
      say('idle', 'Paused while the tab is hidden');
    } else if (state === 'waiting') {
      say('waiting', 'Connection lost. Reconnecting…');
    }
  });
  const [state, text] = await read(stream);
  if (feed === stream) {
    say(state, text);
    retry = setTimeout(watch, RETRY_MS);
  }
}

/** Shows what a feed sends. Resolves to what there is to say when it is over. */
async function read(stream) {
  try {
    for await (const { type, data } of stream) {
      if (type === 'snapshot') {
        show(data);
      } else {
        ended.begin();
        draw(data);
      }
    }
  } catch {
    return ['failed', 'The server refuses the feed. Trying again…'];
  }
  return ['waiting', 'The server has closed the feed. Reconnecting…'];
}

function byteRate(value) {
  return `${bytes(value)}/s`;
}

function filterFor(text) {
  filter.value = text;
  reconnect();
  filter.scrollIntoView({ block: 'nearest' });
}

function disconnect() {
  clearTimeout(retry);
  feed?.close();
  feed = undefined;
}

/** Connects with the current filter and order, unless the page is paused. */
function reconnect() {
  if (pause.getAttribute('aria-pressed') === 'true') {
    say('idle', 'Paused by you');
  } else {
    void watch();
  }
}

function command(path, id) {
  return fetch(`${base}/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ id }),
  }).catch((error) => ({ ok: false, status: error.message }));
}

/** Stops a run. */
async function stopRun(key, name) {
  const answer = await command('runs/stop', key);
  told.textContent = answer.ok ? `Stopping a run of ${name}.` : `A run of ${name} was not stopped: ${answer.status}.`;
}

/** Closes a stream. */
async function close(id, route) {
  const answer = await command('close', id);
  told.textContent = answer.ok
    ? `Closing ${route}, stream ${id}.`
    : `${route}, stream ${id} was not closed: ${answer.status}.`;
  return answer.ok;
}

pause.addEventListener('click', () => {
  const paused = pause.getAttribute('aria-pressed') !== 'true';
  pause.setAttribute('aria-pressed', String(paused));
  pause.textContent = paused ? 'Go on' : 'Pause';
  if (paused) {
    disconnect();
    say('idle', 'Paused by you');
  } else {
    say('waiting', 'Connecting…');
    void watch();
  }
});

let typing;
filter.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(reconnect, TYPING_MS);
});
sort.addEventListener('change', reconnect);
find('form').addEventListener('submit', (event) => event.preventDefault());
// Makes scrollable areas focusable for the keyboard in browsers that do not do so themselves.
for (const element of document.querySelectorAll('.scroll')) {
  element.tabIndex = 0;
}
void watch();
