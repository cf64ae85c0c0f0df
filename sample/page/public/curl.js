/** Where the page came from, for a WebSocket. */
function webSocketOrigin() {
  return location.origin.replace(/^http/, 'ws');
}

/** The command to try, with the address the page came from, and a button that copies it. */
export function showCurl(element) {
  const { path, options, once, tool } = element.dataset;
  const url = `${tool === 'wscat' ? webSocketOrigin() : location.origin}${path}`;
  // -N shows what comes when it comes.
  const program = tool ?? (once === undefined ? 'curl -N' : 'curl');
  const command = [program, options, /[?&]/.test(url) ? `'${url}'` : url].filter(Boolean).join(' ');
  const code = document.createElement('code');
  code.textContent = command;
  // It may be wider than the panel: scrollable by keyboard, too.
  code.tabIndex = 0;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', `Copy: ${command}`);
  button.addEventListener('click', () => copy(command, code, button));
  element.replaceChildren(code, button);
}

async function copy(text, code, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    // Not allowed outside of localhost and HTTPS: then it is selected, for Ctrl+C.
    getSelection().selectAllChildren(code);
    button.textContent = 'Selected';
  }
  setTimeout(() => {
    button.textContent = 'Copy';
  }, 1_500);
}
