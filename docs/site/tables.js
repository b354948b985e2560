// SPDX-License-Identifier: Apache-2.0
// A table that is wider than the window scrolls; with the keyboard only if it can have the focus.
document$.subscribe(() =>
  requestAnimationFrame(() => {
    for (const frame of document.querySelectorAll(".md-typeset__scrollwrap")) {
      frame.tabIndex = 0;
      frame.setAttribute("role", "region");
      frame.setAttribute("aria-label", "table");
    }
  }),
);
