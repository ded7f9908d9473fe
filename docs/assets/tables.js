// Tables, formulas and pictures wider than the page scroll by themselves: then the keyboard must
// reach them.
"use strict";
const WIDE = '.md-typeset__scrollwrap, .formula, p:has(> img[src*="pictures/"])';
const reach = () => {
  for (const wrap of document.querySelectorAll(WIDE)) {
    if (wrap.scrollWidth > wrap.clientWidth) wrap.tabIndex = 0;
    else wrap.removeAttribute("tabindex");
  }
};
addEventListener("load", reach);
addEventListener("resize", reach);
