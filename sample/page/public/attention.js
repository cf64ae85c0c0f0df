const IDLE_MS = 600_000;
const ACTIONS = ['pointerdown', 'pointermove', 'keydown', 'scroll'];

/**
 * Calls `lost` with the reason when nobody looks at the page: its tab is hidden, or nobody has used it for ten minutes. Calls `regained` when
 * somebody looks again.
 */
export function watchAttention(lost, regained) {
  let away = false;
  let timer;
  const leave = (why) => {
    if (!away) {
      away = true;
      lost(why);
    }
  };
  const notice = () => {
    clearTimeout(timer);
    if (document.hidden) {
      leave('Paused while the tab is hidden');
      return;
    }
    timer = setTimeout(leave, IDLE_MS, 'Paused: nobody has used the page for ten minutes');
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
