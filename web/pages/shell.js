/** What the pages share besides the socket: finding elements, the navigation, addresses to copy, and Enter to send. */

/**
 * The element of this id, which the page's own HTML promises.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [className]
 * @param {string} [text] shown as text, never as HTML
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className = '', text = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/**
 * Enter sends, Shift+Enter makes a new line, and Enter that ends the composition of a character does neither.
 * @param {HTMLTextAreaElement} area
 */
export function sendOnEnter(area) {
  area.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    area.form?.requestSubmit();
  });
}

/**
 * Copies text where the browser allows it (a secure origin, so also 127.0.0.1), and selects it for copying by hand otherwise.
 * @param {HTMLElement} source
 * @returns {Promise<boolean>} whether it is on the clipboard
 */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent ?? '');
    return true;
  } catch {
    getSelection()?.selectAllChildren(source);
    return false;
  }
}

// One demo alone (`sockeye demo …`) answers every path with its own page, so links to the others would lead nowhere.
const nav = document.querySelector('nav');
const here = `/${document.body.dataset.page ?? ''}`;
if (nav && location.pathname === here) nav.hidden = false;

for (const button of document.querySelectorAll('button[data-copy]')) {
  if (!(button instanceof HTMLButtonElement)) continue;
  const label = button.textContent;
  button.addEventListener('click', async () => {
    const copied = await copy(element(button.dataset.copy ?? '', HTMLElement));
    button.textContent = copied ? 'Copied' : 'Selected';
    setTimeout(() => {
      button.textContent = label;
    }, 1500);
  });
}
