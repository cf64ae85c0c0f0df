import { NgramModel } from './ngram-model.js';
import { asText, sentences } from './tokenizer.js';

const TEXT = `# A comment.
The cat sleeps on the mat. The dog sleeps in the garden.
Ships sail over the sea. Ships carry cargo over the sea. A harbour shelters ships.`;

/** Returns the same numbers every time. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

const answer = (prompt: string, seed: number) =>
  [...asText(NgramModel.train(TEXT).generate(prompt, numbers(seed)))].join('');

describe('the embedded model', () => {
  it('splits a text into sentences of words and punctuation', () => {
    expect(sentences('# No.\nIt speaks HTTP/1.1, (yes). Last-Event-ID!\nNo end')).toEqual([
      ['It', 'speaks', 'HTTP/1.1', ',', '(', 'yes', ')', '.'],
      ['Last-Event-ID', '!'],
      ['No', 'end', '.'],
    ]);
  });

  it('gives the same answer for the same random numbers', () => {
    expect(answer('ships?', 1)).toBe(answer('ships?', 1));
    expect(new Set([1, 2, 3, 4, 5].map((seed) => answer('ships?', seed))).size).toBeGreaterThan(1);
  });

  it('begins its answer with a word of the question', () => {
    const answers = Array.from({ length: 50 }, (_, seed) => answer('What does a ship do?', seed));

    const about = answers.filter((text) => /ship/i.test(text.split('.')[0] ?? ''));
    expect(about.length).toBeGreaterThan(40);
  });

  it('answers an empty question, and one with only unknown words', () => {
    expect(answer('Quantum?', 3)).toMatch(/\w\.$/);
    expect(answer('', 3)).toMatch(/\w\.$/);
  });

  it('does not repeat a sentence', () => {
    const said = answer('sea', 7).split('. ');
    expect(new Set(said).size).toBe(said.length);
  });
});
