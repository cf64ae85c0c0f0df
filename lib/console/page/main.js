import { Chart } from './chart.js';
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
/** The path of the page, with the prefix of the application or of a proxy. */
const base = location.pathname.replace(/\/+$/, '');

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
let events;
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

function connect() {
  clearTimeout(retry);
  events?.close();
  const query = new URLSearchParams({ filter: filter.value, sort: sort.value });
  events = new EventSource(`${base}/events?${query}`);
  events.addEventListener('history', ({ data }) => {
    ended.begin();
    draw(JSON.parse(data));
  });
  events.addEventListener('snapshot', ({ data }) => show(JSON.parse(data)));
  events.addEventListener('error', () => {
    if (events.readyState === EventSource.CONNECTING) {
      say('waiting', 'Connection lost. Reconnecting…');
    } else {
      say('failed', 'The server refuses the feed. Trying again…');
      retry = setTimeout(connect, RETRY_MS);
    }
  });
}

function byteRate(value) {
  return `${bytes(value)}/s`;
}

function filterFor(text) {
  filter.value = text;
  reconnect();
  filter.scrollIntoView({ block: 'nearest' });
}

function disconnect(why) {
  clearTimeout(retry);
  events.close();
  say('idle', why);
}

/** Connects with the current filter and order, unless the page is paused. */
function reconnect() {
  if (pause.getAttribute('aria-pressed') === 'true') {
    say('idle', 'Paused by you');
  } else {
    connect();
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
    disconnect('Paused by you');
  } else {
    say('waiting', 'Connecting…');
    connect();
  }
});

// Without viewers, the server takes no snapshots.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    disconnect('Paused while the tab is hidden');
  } else {
    reconnect();
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
connect();
