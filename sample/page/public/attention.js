const IDLE_MS = 600_000;
const ACTIONS = ['pointerdown', 'pointermove', 'keydown', 'scroll'];

/**
 * Calls `lost` when nobody looks at the page: its tab is hidden, or nobody has used it for ten minutes. Calls `regained` when somebody looks again.
 */
export function watchAttention(lost, regained) {
  let away = false;
  let timer;
  const leave = () => {
    if (!away) {
      away = true;
      lost();
    }
  };
  const notice = () => {
    clearTimeout(timer);
    if (document.hidden) {
      leave();
      return;
    }
    timer = setTimeout(leave, IDLE_MS);
    if (away) {
      away = false;
      regained();
    }
  };
  document.addEventListener('visibilitychange', notice);
  for (const action of ACTIONS) {
    addEventListener(action, notice, { passive: true });
  }
  notice();
}
