/** The answers of a model, which all contestants send. */

const WORDS = [
  'The',
  'cat',
  'sat',
  'on',
  'a',
  'mat',
  'and',
  'thought',
  'about',
  'streams',
  ',',
  'which',
  'never',
  'end',
  '.',
  'Ω',
];

/** How many tokens were produced in this process. */
let count = 0;
/** Increases when all answers that are in progress have to end. */
let generation = 0;

export const produced = () => count;

/** Ends all answers in progress. Those at a rate end with their next token. */
export function endAnswers() {
  generation++;
}

/** @param {number} ms */
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {number} index */
function token(index) {
  count++;
  return { type: 'text-delta', id: '0', delta: ` ${WORDS[index & 15]}` };
}

/**
 * One token after the other, at a rate. The answers that are started at the same time are spread over the interval, as those of users are.
 * @param {number} perSecond
 */
async function* paced(perSecond) {
  const began = generation;
  const interval = 1_000 / perSecond;
  await later(Math.random() * interval);
  for (let index = 0; began === generation; index++) {
    yield token(index);
    await later(interval);
  }
}

/**
 * A number of tokens at once.
 * @param {number} tokens
 */
async function* burst(tokens) {
  for (let index = 0; index < tokens; index++) {
    yield token(index);
  }
}

/**
 * A number of tokens at once, and then none for ever.
 * @param {number} tokens
 */
async function* held(tokens) {
  yield* burst(tokens);
  await new Promise(() => undefined);
}

const KINDS = { paced, burst, held };

/**
 * Returns an answer: `paced-50` has 50 tokens per second, `burst-100` has 100 tokens at once and ends, and `held-100` does not end.
 * @param {string} plan
 * @returns {AsyncGenerator<{ type: string, id: string, delta: string }, void>}
 */
export function answer(plan) {
  const [kind, number] = plan.split('-');
  return KINDS[/** @type {keyof typeof KINDS} */ (kind)](Number(number));
}

/** @param {object} chunk */
export const frame = (chunk) => `data: ${JSON.stringify(chunk)}\n\n`;

/** The headers of a UI message stream. */
export const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache, no-transform',
  'x-vercel-ai-ui-message-stream': 'v1',
};

/**
 * Returns the parts of a path such as `/start/<id>/<plan>`.
 * @param {string | undefined} url
 */
export function partsOf(url = '') {
  const [, action, id, plan] = url.split('/');
  return { action, id, plan };
}
