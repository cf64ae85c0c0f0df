/** @typedef {'idle' | 'live' | 'waiting' | 'failed' | 'done'} State */

/** Says what becomes of a stream. What a panel shows has `start()` and `stop()`. */
export class Panel {
  constructor(section) {
    this.section = section;
    this.line = section.querySelector('.status');
    /** One button or switch: it starts what is off and stops what is on. */
    this.toggle = section.querySelector('.toggle');
    this.toggle?.addEventListener('click', () => void (this.running ? this.stop() : this.start()));
  }

  /** @param {State} state @param {string} text */
  say(state, text) {
    this.line.dataset.state = state;
    // The same again would be read aloud again.
    if (this.line.textContent !== text) {
      this.line.textContent = text;
    }
    this.section.dataset.stale = String(state === 'waiting' || state === 'failed');
  }

  set on(on) {
    this.running = on;
    if (this.toggle.hasAttribute('aria-checked')) {
      this.toggle.setAttribute('aria-checked', String(on));
    } else {
      this.toggle.textContent = on ? 'Stop' : 'Start';
    }
  }
}

/** Adds a row to what scrolls, and keeps so many of them. Whoever scrolled up to read something is left there. */
export function addAtEnd(scroll, rows, row, kept) {
  const atEnd = scroll.scrollTop + scroll.clientHeight > scroll.scrollHeight - 8;
  rows.append(row);
  while (rows.childElementCount > kept) {
    rows.firstElementChild.remove();
  }
  if (atEnd) {
    scroll.scrollTop = scroll.scrollHeight;
  }
}

/** Waits, or is woken by the signal. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

export function clock(at = Date.now()) {
  return new Date(at).toLocaleTimeString([], { hourCycle: 'h23' });
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(count) {
  const power = count < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}
