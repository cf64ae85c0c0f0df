import { sentences, topics, topicsOf } from './tokenizer.js';

const ORDER = 3;
const LONGEST_SENTENCE = 40;
const SENTENCES = 4;
/** The weight of a sentence that matches the prompt. */
const RELEVANCE = 150;
/** How often the model uses a shorter context than it knows. Without this, it would only quote. */
const FORGETFULNESS = 0.12;
const TEMPERATURE = 0.8;
const SEPARATOR = '\u0000';
const START = '\u0001';

/** A token that follows a context, and the sentence that contains it. */
interface Occurrence {
  readonly token: string;
  readonly sentence: number;
}

type Random = () => number;

/** Counts which token follows up to three others in a text, and prefers sentences that match the prompt. */
export class NgramModel {
  private readonly followers = new Map<string, Occurrence[]>();
  private readonly about: Set<string>[] = [];
  private readonly frequency = new Map<string, number>();

  static train(text: string): NgramModel {
    const model = new NgramModel();
    sentences(text).forEach((sentence, index) => {
      model.learn(sentence, index);
    });
    return model;
  }

  /**
   * Generates a few sentences.
   * @param random returns numbers from 0 to 1. The same numbers result in the same answer
   */
  *generate(prompt: string, random: Random = Math.random): Generator<string> {
    const weights = this.weigh(topicsOf(prompt));
    const said = new Set<string>();
    for (let count = 0, tries = 0; count < SENTENCES && tries < SENTENCES * 4; tries++) {
      const sentence = this.sentence(weights, random);
      const text = sentence.join(' ');
      if (!said.has(text)) {
        said.add(text);
        count++;
        yield* sentence;
      }
    }
  }

  private learn(sentence: readonly string[], index: number): void {
    const about = topics(sentence);
    this.about.push(about);
    for (const topic of about) {
      this.frequency.set(topic, (this.frequency.get(topic) ?? 0) + 1);
    }
    const padded = [...Array<string>(ORDER).fill(START), ...sentence];
    for (let at = ORDER; at < padded.length; at++) {
      for (let order = 1; order <= ORDER; order++) {
        const context = padded.slice(at - order, at).join(SEPARATOR);
        const known = this.followers.get(context) ?? [];
        known.push({ token: padded[at] as string, sentence: index });
        this.followers.set(context, known);
      }
    }
  }

  /** Returns the weight of every sentence: a rare word in common counts more than a frequent one. */
  private weigh(asked: ReadonlySet<string>): number[] {
    const total = this.about.length;
    const scores = this.about.map((about) => {
      let score = 0;
      for (const topic of asked) {
        score += about.has(topic) ? Math.log(1 + total / (this.frequency.get(topic) ?? total)) : 0;
      }
      return score;
    });
    const best = Math.max(...scores, 1);
    return scores.map((score) => 1 + RELEVANCE * (score / best) ** 2);
  }

  private sentence(weights: readonly number[], random: Random): string[] {
    const context = Array<string>(ORDER).fill(START);
    const sentence: string[] = [];
    while (sentence.length < LONGEST_SENTENCE) {
      const token = this.next(context, weights, random);
      if (token === undefined) {
        break;
      }
      sentence.push(token);
      context.shift();
      context.push(token);
    }
    return sentence;
  }

  private next(context: readonly string[], weights: readonly number[], random: Random): string | undefined {
    const started = context[ORDER - 2] !== START;
    const order = started && random() < FORGETFULNESS ? ORDER - 1 : ORDER;
    const candidates = this.followers.get(context.slice(-order).join(SEPARATOR)) ?? [];
    const chances = new Map<string, number>();
    for (const { token, sentence } of candidates) {
      chances.set(token, (chances.get(token) ?? 0) + (weights[sentence] ?? 1));
    }
    return sampled(chances, random);
  }
}

function sampled(chances: ReadonlyMap<string, number>, random: Random): string | undefined {
  const sharpened = [...chances].map(([token, weight]) => [token, weight ** (1 / TEMPERATURE)] as const);
  let left = random() * sharpened.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [token, weight] of sharpened) {
    left -= weight;
    if (left <= 0) {
      return token;
    }
  }
  return sharpened.at(-1)?.[0];
}
