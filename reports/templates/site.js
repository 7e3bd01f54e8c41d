"use strict";
// Tables that are wider than their place say that they scroll.
(() => {
  const main = document.getElementById("main");

  function look() {
    for (const one of main.querySelectorAll(".scroll")) {
      const hidden = one.scrollWidth - one.clientWidth;
      one.classList.toggle("wide", hidden > 1);
      one.classList.toggle("more", hidden - one.scrollLeft > 1);
    }
  }

  new MutationObserver(look).observe(main, { childList: true, subtree: true });
  for (const event of ["load", "resize", "toggle"]) addEventListener(event, look, true);
  addEventListener("scroll", (event) => event.target !== document && look(), true);
  look();
})();
