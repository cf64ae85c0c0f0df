/** How long a frame may take, in milliseconds: a page that is hidden has none. */
const LONGEST_FRAME_MS = 100;

/** What a page has, and a server and some runtimes do not. */
interface Page {
  readonly document?: { readonly hidden?: boolean };
  requestAnimationFrame?(callback: () => void): number;
  cancelAnimationFrame?(handle: number): void;
}

const page = globalThis as Page;

/** Whether the page is hidden: browsers slow down its timers, and it has no frames. */
export function isHidden(): boolean {
  return page.document?.hidden === true;
}

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
