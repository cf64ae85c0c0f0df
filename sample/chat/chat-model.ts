/** Answers a prompt token by token. */
export abstract class ChatModel {
  /** Shown to the user. */
  abstract readonly name: string;

  /** @param signal aborted when nobody wants the rest of the answer */
  abstract answer(prompt: string, signal: AbortSignal): AsyncIterable<string>;
}
