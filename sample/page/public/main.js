import { watchAttention } from './attention.js';
import { BoardPanel } from './board.js';
import { ChatPanel } from './chat.js';
import { showCurl } from './curl.js';
import { Demo } from './demo.js';
import { ExportPanel } from './export.js';
import { LogPanel } from './log.js';
import { ProtocolsPanel } from './protocols.js';

const find = (selector) => document.querySelector(selector);

for (const element of document.querySelectorAll('.curl')) {
  showCurl(element);
}
// Where a browser does not do it itself, what scrolls is reached by keyboard.
for (const element of document.querySelectorAll('.scroll, .preview')) {
  element.tabIndex = 0;
}

const chat = new ChatPanel(find('#chat'));
const board = new BoardPanel(find('#board'));
const exporter = new ExportPanel(find('#export'));
new ProtocolsPanel(find('#protocols'));
new LogPanel(find('#log'));
const demo = new Demo({ chat, exporter, board });
const toggle = find('#demo-switch');

/** Whether the demo runs. With `?demo=off` in its address, the page does nothing by itself but listen. */
function play(on) {
  toggle.setAttribute('aria-checked', String(on));
  if (on) {
    demo.start();
  } else {
    demo.stop();
  }
}

const isOn = () => toggle.getAttribute('aria-checked') === 'true';

toggle.addEventListener('click', () => play(!isOn()));
play(new URLSearchParams(location.search).get('demo') !== 'off');
watchAttention(
  () => demo.stop(),
  () => {
    if (isOn()) {
      demo.start();
    }
  },
);
