// The client of Gemini.
import { GoogleGenAI } from '@google/genai';
import { type ClientCall, serve } from './program.js';

const FUNCTIONS = {
  /** Reports the text of each chunk. */
  async generate(call: ClientCall, url: string) {
    const ai = new GoogleGenAI({ apiKey: 'x', httpOptions: { baseUrl: url } });
    const stream = await ai.models.generateContentStream({
      model: 'gemini',
      contents: 'What is streamed?',
      config: { abortSignal: call.signal },
    });
    for await (const { text } of stream) {
      call.report(text);
    }
  },
};
export type Google = typeof FUNCTIONS;

serve(FUNCTIONS);
