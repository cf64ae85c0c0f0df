import { open } from './body.js';
import { connect } from './client/index.js';
import { Panel } from './panel.js';
import { reasonOf } from './stream.js';

const MOST_MESSAGES = 50;
/** The status in the error of an answer that somebody has stopped. */
const STOPPED = 409;

/**
 * A chat whose answers go on without the page. The page loads what is complete, and reads the answer in progress: after a reload, after a lost connection,
 * and when another window has asked. It reads over WebSocket, since browsers limit the HTTP/1.1 connections of all windows together.
 */
export class ChatPanel extends Panel {
  constructor(section) {
    super(section);
    this.id = chatId();
    this.form = section.querySelector('form');
    this.answer = section.querySelector('#chat-answer');
    this.stopButton = section.querySelector('#chat-stop');
    this.stopButton.addEventListener('click', () => {
      this.touched = true;
      void this.cancel();
    });
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.touched = true;
      void this.start();
    });
    this.form.addEventListener('input', () => {
      this.touched = true;
    });
    this.windows = new BroadcastChannel(`chat ${this.id}`);
    this.windows.addEventListener('message', () => void this.show());
    void this.show();
  }

  /** Asks a question of the demo, after the answer in progress. */
  async demonstrate(prompt) {
    await this.show();
    if (!this.touched && this.left === undefined) {
      this.form.elements.prompt.value = prompt;
      await this.start();
    }
  }

  /** Shows the chat, and reads the answer in progress. */
  show() {
    return this.read((signal) => this.load(signal));
  }

  async start() {
    if (this.busy) {
      await this.cancel();
    }
    await this.read((signal) => this.ask(this.form.elements.prompt.value, signal));
  }

  /** Stops the answer, for all windows. */
  async cancel() {
    this.cancelled = true;
    await open(`/chat/${this.id}/stream`, { method: 'DELETE' }).catch((error) =>
      this.say('failed', `Not stopped: ${error.message}`),
    );
    await this.reading;
  }

  /** Stops reading. The answer goes on. */
  stop(why) {
    this.left = why;
    this.controller.abort();
  }

  get busy() {
    return !this.stopButton.disabled;
  }

  set busy(busy) {
    this.answer.setAttribute('aria-busy', String(busy));
    this.stopButton.disabled = !busy;
  }

  /** Reads an answer to its end, and says how it ended. The next call takes the place of this one. */
  read(request) {
    this.controller?.abort();
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.left = undefined;
    this.cancelled = false;
    this.reading = this.follow(request, signal).then(
      ([state, text]) => this.finish(signal, state, text),
      (error) => this.finish(signal, 'failed', `Failed: ${error.message}`),
    );
    return this.reading;
  }

  finish(signal, state, text) {
    // Another call may have taken the place of this one.
    if (this.controller.signal === signal) {
      this.busy = false;
      this.say(this.left === undefined ? state : 'idle', this.left ?? text);
    }
  }

  /** Resolves to how the answer ended. */
  async follow(request, signal) {
    if (!(await request(signal))) {
      return ['idle', 'Ask something'];
    }
    try {
      const outcome = await this.receive(signal);
      if (outcome) {
        return outcome;
      }
    } catch (error) {
      if (error.status === STOPPED) {
        return ['idle', this.cancelled ? 'Stopped by you' : 'Stopped in another window'];
      }
      // Removes what there is of the answer.
      await this.load(signal);
      throw new Error(`${error.body?.message ?? error.message}. Ask again`);
    }
    return this.missed(signal);
  }

  /** Reads the answer from its start, also over several connections. Resolves to how it ended, if its end has come. */
  async receive(signal) {
    const stream = connect(`/chat/${this.id}/answer`, { as: 'ws', signal });
    stream.on('state', (state, error) => this.changed(state, error));
    this.busy = true;
    this.say('live', `Answering: ${this.model}`);
    const startedAt = performance.now();
    let tokens = 0;
    let reply;
    let outcome;
    for await (const { data } of stream) {
      if (data.type === 'start') {
        reply = this.add('assistant', data.messageId, '');
      } else if (data.type === 'text-delta') {
        reply.append(data.delta);
        this.answer.scrollTop = this.answer.scrollHeight;
        tokens++;
      } else if (data.type === 'finish') {
        const seconds = (performance.now() - startedAt) / 1_000;
        outcome = ['done', `Ended well: ${tokens} tokens in ${seconds.toFixed(1)} s`];
      }
    }
    return outcome;
  }

  changed(state, error) {
    if (state === 'waiting') {
      this.say('waiting', `${reasonOf(error)}. Reconnecting…`);
    } else if (state === 'open') {
      this.say('live', `Answering: ${this.model}`);
    }
  }

  /** How an answer ended that is not there any more: it was complete before the page was connected, or its process has ended. */
  async missed(signal) {
    await this.load(signal);
    if (this.answer.lastElementChild?.className === 'reply') {
      return ['done', 'Ended well'];
    }
    throw new Error('the answer was lost with its process. Ask again');
  }

  /** Asks a question. The answer is read as any other, so its response is not read. */
  async ask(text, signal) {
    const id = randomId();
    this.busy = true;
    this.say('waiting', 'Waiting for the first token…');
    this.add('user', id, text);
    const response = await open('/chat', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ id: this.id, messages: [{ id, role: 'user', parts: [{ type: 'text', text }] }] }),
      signal,
    });
    this.windows.postMessage('asked');
    await response.body.cancel();
    return true;
  }

  /** Shows the messages of the chat. Resolves to whether an answer is in progress. */
  async load(signal) {
    const response = await open(`/chat/${this.id}`, { signal });
    const { messages, running, model } = await response.json();
    this.model = model;
    this.answer.replaceChildren();
    for (const { id, role, parts } of messages.slice(-MOST_MESSAGES)) {
      this.add(role, id, parts.map(({ text }) => text).join(''));
    }
    return running;
  }

  /** Adds a message, or replaces the one with the same id. */
  add(role, id, text) {
    const known = [...this.answer.children].find((message) => message.dataset.id === id);
    const message = known ?? document.createElement('p');
    message.className = role === 'user' ? 'question' : 'reply';
    message.dataset.id = id;
    message.replaceChildren(text);
    if (!known) {
      this.answer.append(message);
    }
    this.answer.scrollTop = this.answer.scrollHeight;
    return message;
  }
}

/** The chat of this browser, or the one in the address: processes with one Redis have the same chats. */
function chatId() {
  const id = new URLSearchParams(location.search).get('chat') ?? localStorage.getItem('chat') ?? randomId();
  localStorage.setItem('chat', id);
  return id;
}

/** 96 bits. crypto.randomUUID() is missing outside of localhost and HTTPS. */
function randomId() {
  const text = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(12))));
  return text.replaceAll('+', '-').replaceAll('/', '_');
}
