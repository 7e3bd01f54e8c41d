"use strict";
// Tables that scroll can be scrolled with the keyboard.
(() => {
  function reach() {
    for (const one of document.querySelectorAll(".md-typeset__scrollwrap")) one.tabIndex = 0;
  }
  new MutationObserver(reach).observe(document.body, { childList: true, subtree: true });
  reach();
})();
