// Tables that are wider than the page scroll by themselves: then the keyboard must reach them.
"use strict";
const reach = () => {
  for (const wrap of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (wrap.scrollWidth > wrap.clientWidth) wrap.tabIndex = 0;
    else wrap.removeAttribute("tabindex");
  }
};
addEventListener("load", reach);
addEventListener("resize", reach);
