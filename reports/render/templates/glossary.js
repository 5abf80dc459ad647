/* A term shows its definition beside it; without this script, or without popovers, it is a link to the glossary. */
const definition = document.getElementById("definition"), EDGE = 8;
function define(link) {
  const place = link.getAttribute("href"), box = link.getBoundingClientRect();
  definition.querySelector("span").textContent = document.querySelector(place).textContent;
  definition.querySelector("a").setAttribute("href", place);
  link.after(definition);  // so that Tab goes from the term to the link in its definition
  definition.showPopover();
  const room = document.documentElement.clientWidth - definition.offsetWidth - EDGE;
  definition.style.left = `${scrollX + Math.max(EDGE, Math.min(box.left, room))}px`;
  definition.style.top = `${scrollY + box.bottom + 4}px`;
}
for (const link of document.querySelectorAll("a.term")) {
  link.title = document.querySelector(link.getAttribute("href")).textContent;
  if (definition.showPopover) link.addEventListener("click", event => { event.preventDefault(); define(link); });
}
definition.querySelector("a").addEventListener("click", () => definition.hidePopover());
