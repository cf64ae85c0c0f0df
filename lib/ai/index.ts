export { agUi } from './ag-ui.format.js';
export { AnthropicErrorFilter, OpenAiErrorFilter, TextErrorFilter } from './error-filters.js';
export { type FromTextOptions, fromText, type TextToken, type UiTextChunk } from './from-text.js';
export { messages } from './messages.format.js';
export { chatCompletions, responses } from './openai.formats.js';
export { uiMessages } from './ui-messages.format.js';
export { webRequest } from './web-request.js';
