/** Answers a prompt, token by token. */
export abstract class ChatModel {
  /** Shown to the user. */
  abstract readonly name: string;

  /** @param signal aborted when the rest of the answer is not needed */
  abstract answer(prompt: string, signal: AbortSignal): AsyncIterable<string>;
}
