/** A process that has sent no sample for this time is gone. */
const GONE_MS = 10_000;

/** The processes that send figures. If there are several, it shows a button for each, which chooses the process whose figures the page shows. */
export class Processes {
  /** When the last sample of each process arrived. */
  arrivals = new Map();
  buttons = new Map();
  /** The process that the page is connected to. */
  own = '';
  /** The process that somebody chose. */
  chosen = '';

  constructor(container, changed) {
    this.container = container;
    this.changed = changed;
  }

  get names() {
    return [...this.arrivals.keys()].sort();
  }

  get shown() {
    return [this.chosen, this.own].find((name) => this.arrivals.has(name)) ?? this.names[0];
  }

  /** The name of a process, if there are several. Its port is enough if all of them are on the same host. */
  label(name) {
    const hosts = new Set(this.names.map(hostOf));
    if (this.arrivals.size < 2) {
      return '';
    }
    return hosts.size > 1 ? name : name.slice(hostOf(name).length);
  }

  connected(name) {
    this.own = name;
    this.mark();
  }

  arrived(name) {
    const now = performance.now();
    const before = this.names.join();
    this.arrivals.set(name, now);
    for (const [each, at] of this.arrivals) {
      if (now - at > GONE_MS) {
        this.arrivals.delete(each);
      }
    }
    if (this.names.join() !== before) {
      this.list();
    }
  }

  choose(name) {
    this.chosen = name;
    this.mark();
    this.changed();
  }

  /** Keeps the buttons that there are, so that the focus is not lost. */
  list() {
    const { names } = this;
    for (const [name, button] of this.buttons) {
      if (!this.arrivals.has(name)) {
        button.remove();
        this.buttons.delete(name);
      }
    }
    for (const [at, name] of names.entries()) {
      if (!this.buttons.has(name)) {
        this.buttons.set(name, this.button(name));
        this.container.insertBefore(this.buttons.get(name), this.container.querySelectorAll('button')[at] ?? null);
      }
    }
    this.container.hidden = names.length < 2;
    this.mark();
  }

  button(name) {
    const button = document.createElement('button');
    button.type = 'button';
    button.addEventListener('click', () => this.choose(name));
    return button;
  }

  mark() {
    const { shown } = this;
    for (const [name, button] of this.buttons) {
      button.textContent = this.label(name);
      button.setAttribute('aria-pressed', String(name === shown));
    }
  }
}

function hostOf(name) {
  return name.slice(0, name.lastIndexOf(':'));
}
