/** Words with the characters that join them (don't, Last-Event-ID, text/plain, 16.5), and separate punctuation. */
const TOKEN = /[\p{L}\p{N}]+(?:['’\-/._][\p{L}\p{N}]+)*|[.,;:?!()]/gu;
const ENDS = new Set(['.', '?', '!']);
const NO_SPACE_BEFORE = /^[.,;:?!)]$/;
/** Words that do not indicate the subject of a sentence. */
const COMMON = new Set(
  'a an and are as at be but by can do does for from has have how i if in is it its me my not of on or so tell than that the their then there they this to was we what when where which who why will with you your about explain please should would'.split(
    ' ',
  ),
);

/** The sentences of a text, each as its tokens. Lines that start with `#` are comments. */
export function sentences(text: string): string[][] {
  const found: string[][] = [];
  for (const line of text.split('\n')) {
    let sentence: string[] = [];
    for (const token of line.startsWith('#') ? [] : (line.match(TOKEN) ?? [])) {
      sentence.push(token);
      if (ENDS.has(token)) {
        found.push(sentence);
        sentence = [];
      }
    }
    if (sentence.length > 0) {
      found.push([...sentence, '.']);
    }
  }
  return found;
}

/** The subject of a text: its words without endings, so that `streams` and `streaming` are equal. */
export function topics(tokens: readonly string[]): Set<string> {
  const words = tokens.map((token) => token.toLowerCase()).filter((word) => /^[\p{L}\p{N}]/u.test(word));
  return new Set(words.filter((word) => !COMMON.has(word)).map(stem));
}

/** The same, for text that is not split into sentences. */
export function topicsOf(text: string): Set<string> {
  return topics(text.match(TOKEN) ?? []);
}

function stem(word: string): string {
  return word.length > 4 ? word.replace(/(?:ations?|ings?|ers?|ed|es|s|e)$/, '') : word;
}

/** Tokens with spaces between them, so that together they are a text. */
export function* asText(tokens: Iterable<string>): Generator<string> {
  let previous = '';
  for (const token of tokens) {
    const glued = previous === '' || previous === '(' || NO_SPACE_BEFORE.test(token);
    yield glued ? token : ` ${token}`;
    previous = token;
  }
}
