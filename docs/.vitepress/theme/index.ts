import type { Theme } from 'vitepress';
import DefaultTheme from 'vitepress/theme';
import { CapacityCalculator } from './capacity-calculator.js';

export default {
  extends: DefaultTheme,
  enhanceApp({ app }) {
    app.component('CapacityCalculator', CapacityCalculator);
  },
} satisfies Theme;
