import { el } from './dom.js';

/** Tabs for narrow screens: one view at a time. Wide screens show all of them, and style.css hides the tabs. */
export class Tabs {
  constructor(entries) {
    this.bar = document.getElementById('tabs');
    this.tabs = entries.map(({ view, label }) => {
      const tab = el('button', {
        type: 'button', role: 'tab', id: `tab-${view}`, 'aria-controls': `view-${view}`, className: 'tab',
      }, label);
      tab.dataset.view = view;
      tab.addEventListener('click', () => this.select(view));
      return tab;
    });
    this.bar.append(...this.tabs);
    this.bar.addEventListener('keydown', (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!step) return;
      const at = this.tabs.findIndex((t) => t.getAttribute('aria-selected') === 'true');
      const next = this.tabs[(at + step + this.tabs.length) % this.tabs.length];
      this.select(next.dataset.view);
      next.focus();
      e.preventDefault();
    });
    const first = location.hash.slice(1);
    this.select(entries.some((e) => e.view === first) ? first : entries[0].view);
  }

  select(view) {
    for (const tab of this.tabs) {
      const on = tab.dataset.view === view;
      tab.setAttribute('aria-selected', String(on));
      tab.tabIndex = on ? 0 : -1;
    }
    for (const node of document.querySelectorAll('.view')) node.classList.toggle('selected', node.dataset.view === view);
  }
}
