import { open, records } from './body.js';
import { Panel } from './panel.js';

/** Tokens by fetch(): NDJSON, because its last record can tell of an error. */
export class ChatPanel extends Panel {
  constructor(section) {
    super(section);
    this.form = section.querySelector('form');
    this.answer = section.querySelector('#chat-answer');
    this.stopButton = section.querySelector('#chat-stop');
    this.stopButton.addEventListener('click', () => {
      this.touched = true;
      this.stop();
    });
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.touched = true;
      void this.start();
    });
    this.form.addEventListener('input', () => {
      this.touched = true;
    });
  }

  /** Asks a question of the demo. */
  demonstrate(prompt) {
    this.form.elements.prompt.value = prompt;
    return this.start();
  }

  async start() {
    this.stop();
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.answer.replaceChildren();
    this.busy = true;
    this.say('waiting', 'Waiting for the first token…');
    const [state, text] = await this.ask(signal).catch((error) =>
      signal.aborted ? ['idle', this.why] : ['failed', `Failed: ${error.message}`],
    );
    // Another question may have taken the place of this one.
    if (this.controller.signal === signal) {
      this.say(state, text);
      this.busy = false;
    }
  }

  stop(why = 'Stopped by you') {
    this.why = why;
    this.controller?.abort();
  }

  set busy(busy) {
    this.answer.setAttribute('aria-busy', String(busy));
    this.stopButton.disabled = !busy;
  }

  async ask(signal) {
    const response = await open('/chat', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/x-ndjson' },
      body: JSON.stringify({ prompt: this.form.elements.prompt.value }),
      signal,
    });
    const model = response.headers.get('X-Chat-Model');
    const startedAt = performance.now();
    let tokens = 0;
    this.say('live', `Answering: ${model}`);
    for await (const token of records(response)) {
      this.answer.append(token);
      this.answer.scrollTop = this.answer.scrollHeight;
      tokens++;
    }
    const seconds = (performance.now() - startedAt) / 1_000;
    return ['done', `Ended well: ${tokens} tokens in ${seconds.toFixed(1)} s`];
  }
}
