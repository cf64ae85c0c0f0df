import { BoardPanel } from './board.js';
import { ChatPanel } from './chat.js';
import { showCurl } from './curl.js';
import { ExportPanel } from './export.js';
import { LogPanel } from './log.js';
import { MetricsPanel } from './metrics.js';
import { ProtocolsPanel } from './protocols.js';

for (const element of document.querySelectorAll('.curl')) {
  showCurl(element);
}
// Where a browser does not do it itself, what scrolls is reached by keyboard.
for (const element of document.querySelectorAll('.scroll, .preview')) {
  element.tabIndex = 0;
}
new MetricsPanel(document.querySelector('#metrics'));
new ProtocolsPanel(document.querySelector('#protocols'));
new BoardPanel(document.querySelector('#board'));
new LogPanel(document.querySelector('#log'));
new ExportPanel(document.querySelector('#export'));
new ChatPanel(document.querySelector('#chat'));
