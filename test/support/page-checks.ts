import type { Page } from 'playwright-core';

/** WCAG 2.2, success criterion 2.5.8. */
const SMALLEST_TARGET = 24;
/** WCAG 2.2, success criterion 1.4.3, level AA. */
const LOWEST_CONTRAST = 4.5;

/** Returns the controls of a page that are too small. */
export function tooSmall(page: Page): Promise<string[]> {
  return page.evaluate(`[...document.querySelectorAll('a, button, input, select, summary')]
    .map((element) => ({ element, box: element.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 0 && Math.min(box.width, box.height) < ${SMALLEST_TARGET} - 0.01)
    .map(({ element, box }) => element.outerHTML.slice(0, 80) + ': ' + box.width + ' × ' + box.height)`);
}

/** Returns the texts of a page whose contrast to the background is too low. */
export function tooFaint(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const channels = (color) => {
      const [red, green, blue, alpha = 1] = color.match(/[\\d.]+/g).map(Number);
      return { rgb: [red, green, blue], alpha };
    };
    const backgroundOf = (element) => {
      for (let each = element; each; each = each.parentElement) {
        const { rgb, alpha } = channels(getComputedStyle(each).backgroundColor);
        if (alpha === 1) {
          return rgb;
        }
      }
      return [255, 255, 255];
    };
    const luminance = (rgb) => {
      const [red, green, blue] = rgb.map((value) => value / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const faint = [];
    for (const element of document.querySelectorAll('body *')) {
      const text = [...element.childNodes].filter(({ nodeType }) => nodeType === 3).map(({ data }) => data.trim()).join('');
      if (text === '' || element.closest('[hidden], script, style, noscript, :disabled') || !element.checkVisibility()) {
        continue;
      }
      const [light, dark] = [channels(getComputedStyle(element).color).rgb, backgroundOf(element)].map(luminance).sort((a, b) => b - a);
      const contrast = (light + 0.05) / (dark + 0.05);
      if (contrast < ${LOWEST_CONTRAST}) {
        faint.push(element.outerHTML.slice(0, 80) + ': ' + contrast.toFixed(2));
      }
    }
    return faint;
  })()`);
}

/** Returns by how many pixels a page is wider than its window. */
export function overflowOf(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
}
