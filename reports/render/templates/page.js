const tables = new Map(), waiting = [];
for (const table of document.querySelectorAll("table[data-table]")) {
  const name = table.dataset.table, tools = document.querySelector(`.tools[data-for="${name}"]`);
  const open = name === "cells" ? k => openCell(cells.rows[k][0]) : (k, column) => openWhy(name, k, column);
  const data = read(`${name}-data`), make = rows => tables.set(name, new Table(table, tools, rows, open));
  if (typeof data === "string") waiting.push(unpack(data).then(make)); else make(data);
}

/* Figures are packed; all are opened at once, so that a page can be printed as soon as it is read. */
for (const image of document.querySelectorAll("img[data-svg]")) waiting.push(unpack(image.dataset.svg).then(svg => {
  image.src = "data:image/svg+xml," + encodeURIComponent(svg);
  return image.decode().catch(() => {});  // a link to a place waits until the figures above it have their heights
}));

/* Links to a cell, to a row's provenance, to a place, and to the rows of a table that have words: #table-tasks:CAR-FT. */
const follow = () => {
  const [place, words] = location.hash.slice(1).split(":");
  if (place.startsWith("cell-")) { openCell(place.slice(5)); return; }
  for (const box of [dialog, why]) if (box.open) box.close();
  if (place.startsWith("why-")) { followWhy(decodeURIComponent(location.hash.slice(5))); return; }
  const target = place && document.getElementById(place);
  if (!target) return;
  for (let box = target; box; box = box.parentElement) if (box instanceof HTMLDetailsElement) box.open = true;
  const table = words !== undefined && tables.get(place.replace(/^table-/, ""));
  if (table) { table.input.value = decodeURIComponent(words); table.filter(); }
  (target.closest(".about")?.previousElementSibling ?? target).scrollIntoView();
};
addEventListener("hashchange", follow);
Promise.all(waiting).then(follow);

/* Paper cannot be clicked: everything is open on it. */
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(box => { box.open = true; }));
