const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(value) {
  let unit = 0;
  let rest = value;
  while (rest >= 999.5 && unit < UNITS.length - 1) {
    rest /= 1000;
    unit++;
  }
  return `${unit === 0 || rest >= 99.95 ? Math.round(rest) : rest.toFixed(1)} ${UNITS[unit]}`;
}

export function count(value) {
  return value.toLocaleString('en');
}

/** Returns a rate as text. It may be unknown at first. */
export function rate(value) {
  return value === null ? '–' : value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function age(seconds) {
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(seconds / unit));
  if (days > 0) {
    return `${days} d ${hours % 24} h`;
  }
  if (hours > 0) {
    return `${hours} h ${minutes % 60} min`;
  }
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

/** Returns a duration in milliseconds as text. Long durations are less exact. */
export function duration(ms) {
  return ms < 1_000 ? `${ms} ms` : ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : age(Math.round(ms / 1_000));
}

/** Returns the time of day. */
export function time(at) {
  // Not `hour12: false`, with which some locales count the hour after midnight as 24.
  return new Date(at).toLocaleTimeString([], { hourCycle: 'h23' });
}

/** Returns the address of a client as text. IPv4 addresses have no IPv6 prefix. */
export function address(client) {
  return client.replace(/^::ffff:/, '') || 'unknown';
}

/** Returns the path of a stream with its labels. */
export function place({ path, labels }) {
  return labels === '' ? path : `${path} · ${labels}`;
}

/** Adds an element to another. Content is set as text, never as HTML, since much of it comes from clients. */
export function part(parent, name, className = '', text = '') {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return parent.appendChild(element);
}

/** Changes a text only if it differs, so that selections stay, and screen readers do not repeat it. */
export function write(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
