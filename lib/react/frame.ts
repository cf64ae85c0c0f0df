/** How long a frame may take, in milliseconds: a page that is hidden has none. */
const LONGEST_FRAME_MS = 100;

/** The part of a page that has frames. */
interface Page {
  requestAnimationFrame?(callback: () => void): number;
  cancelAnimationFrame?(handle: number): void;
}

const page = globalThis as Page;

/** Resolves when the page is about to draw its next frame, and after 100 ms at the latest. */
export function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const frame = page.requestAnimationFrame?.(done) ?? 0;
    const timer = setTimeout(done, LONGEST_FRAME_MS);
    function done(): void {
      page.cancelAnimationFrame?.(frame);
      clearTimeout(timer);
      resolve();
    }
  });
}
