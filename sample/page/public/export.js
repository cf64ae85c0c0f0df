import { chunks, open } from './body.js';
import { bytes, Panel } from './panel.js';

const PREVIEW = 1_500;

/** What came so far: shown at most once a frame, however fast it comes. */
class Progress {
  constructor(section) {
    this.bar = section.querySelector('progress');
    this.count = section.querySelector('#export-bytes');
    this.speed = section.querySelector('#export-speed');
    this.preview = section.querySelector('.preview');
  }

  begin(total) {
    Object.assign(this, { total, received: 0, text: '', startedAt: performance.now() });
    this.decoder = new TextDecoder();
    this.show();
  }

  add(chunk) {
    this.received += chunk.byteLength;
    this.text = (this.text + this.decoder.decode(chunk, { stream: true })).slice(-PREVIEW);
    this.frame ??= requestAnimationFrame(() => this.show());
  }

  show() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    const { total, received } = this;
    const seconds = (performance.now() - this.startedAt) / 1_000;
    this.bar.value = total ? received / total : 0;
    this.count.textContent = `${this.so} (${Math.floor((100 * received) / (total || 1))} %)`;
    this.speed.textContent = received ? `${bytes(received / seconds)}/s` : '';
    this.preview.textContent = this.text;
    this.preview.scrollTop = this.preview.scrollHeight;
  }

  /** How much of how much. */
  get so() {
    return `${bytes(this.received)} of ${bytes(this.total)}`;
  }
}

/** Text by fetch(), with the length told in a header: a stream has no `Content-Length`. */
export class ExportPanel extends Panel {
  constructor(section) {
    super(section);
    this.progress = new Progress(section);
    this.file = section.querySelector('#export-file');
    this.rate = section.querySelector('#export-rate');
    this.toggle.addEventListener('click', () => {
      this.touched = true;
    });
    section.addEventListener('change', () => {
      this.touched = true;
    });
  }

  async start() {
    const { progress } = this;
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.on = true;
    this.say('waiting', 'Connecting…');
    progress.begin(0);
    try {
      await this.download(signal);
      const whole = progress.received === progress.total;
      this.say(
        whole ? 'done' : 'failed',
        whole
          ? `Ended well: all ${bytes(progress.total)} came`
          : `Failed: the server ended early, after ${progress.so}`,
      );
    } catch (error) {
      const after = progress.total ? `, after ${progress.so}` : '';
      this.say(signal.aborted ? 'idle' : 'failed', `${signal.aborted ? this.why : `Failed: ${error.message}`}${after}`);
    }
    progress.show();
    this.on = false;
  }

  stop(why = 'Stopped by you') {
    this.why = why;
    this.controller?.abort();
  }

  async download(signal) {
    const query = new URLSearchParams({ file: this.file.value });
    if (this.rate.value) {
      query.set('rate', this.rate.value);
    }
    const response = await open(`/export?${query}`, { signal });
    this.progress.begin(Number(response.headers.get('X-Export-Bytes')));
    this.say('live', 'Streaming…');
    for await (const chunk of chunks(response)) {
      this.progress.add(chunk);
    }
  }
}
