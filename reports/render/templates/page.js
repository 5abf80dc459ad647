"use strict";
const number = text => { const t = text.trim().replace("−", "-"); return t !== "" && t !== "–" && !isNaN(t) ? Number(t) : null; };
const compare = (a, b) => {
  const x = number(a), y = number(b);
  if (x !== null && y !== null) return x - y;
  return (x === null) - (y === null) || a.localeCompare(b, "en", { numeric: true });
};
const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const read = id => { const block = document.getElementById(id); return block && JSON.parse(block.textContent); };

/* Headings become buttons; `sort(column, down)` puts the rows in order. */
function makeSortable(table, sort) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = element("button", head.textContent, { type: "button" });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(column, down);
    });
  });
}

/* A table whose rows are in the page. */
function inPage(table, input, count) {
  const body = table.tBodies[0], rows = [...body.rows];
  makeSortable(table, (column, down) => {
    const text = row => row.cells[column].textContent;
    rows.sort((a, b) => (down ? -1 : 1) * compare(text(a), text(b)));
    rows.forEach(row => row.classList.remove("first"));
    body.append(...rows);
  });
  const tell = () => { count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`; };
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    tell();
  });
  tell();
}

/* A table whose rows are in a block of data: only one leaf of it is in the page at a time. */
const LEAF = 50;
function paged(table, data, input, count, pager, fill) {
  const body = table.tBodies[0], [back, forth] = pager.querySelectorAll("button");
  const texts = data.rows.map(row => row.join(" ").toLowerCase());
  let order = data.rows.map((_, k) => k), start = 0;
  let shown = order;
  const draw = () => {
    body.replaceChildren(...shown.slice(start, start + LEAF).map(k => {
      const row = element("tr");
      data.rows[k].forEach((text, column) => {
        const cell = element("td", undefined, data.columns[column][1] ? { class: "r" } : {});
        if (!fill || !fill(cell, k, column)) cell.textContent = text;
        row.append(cell);
      });
      return row;
    }));
    const total = data.rows.length.toLocaleString("en"), last = Math.min(start + LEAF, shown.length);
    count.textContent = shown.length ? `${(start + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${shown.length.toLocaleString("en")}` +
      (shown.length < data.rows.length ? ` found among ${total}` : "") : `none of ${total}`;
    back.disabled = start === 0; forth.disabled = last >= shown.length;
  };
  const filter = () => { const wanted = input.value.toLowerCase(); shown = wanted ? order.filter(k => texts[k].includes(wanted)) : order; start = 0; draw(); };
  makeSortable(table, (column, down) => {
    order = [...order].sort((a, b) => (down ? -1 : 1) * compare(data.rows[a][column], data.rows[b][column]));
    filter();
  });
  input.addEventListener("input", filter);
  back.addEventListener("click", () => { start = Math.max(0, start - LEAF); draw(); });
  forth.addEventListener("click", () => { start += LEAF; draw(); });
  filter();
}

/* One cell, with everything that is known of it. */
const cells = read("cells-data"), dialog = document.getElementById("cell");
const places = new Map(cells.rows.map((row, k) => [row[0], k]));
function openCell(id) {
  const k = places.get(id);
  if (k === undefined) return;
  const [command, setting, maker, metrics] = cells.details[k], row = cells.rows[k];
  dialog.querySelector("h2").textContent = `Cell ${id}`;
  const facts = dialog.querySelector("dl");
  const pairs = cells.columns.map(([name], column) => [name, row[column]]).slice(1, 6).filter(pair => pair[1] !== "");
  pairs.push(["setting", cells.settings[setting]], ["made with", cells.makers[maker]]);
  if (row[9]) pairs.push(["caution", row[9]]);
  facts.replaceChildren(...pairs.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
  dialog.querySelector("pre").textContent = command;
  dialog.querySelector(".metrics").replaceChildren(...metrics.map(([name, value]) => {
    const item = element("li", cells.metrics[name]);
    item.append(element("span", value === null ? "–" : String(value).replace("-", "−")));
    return item;
  }));
  if (!dialog.open) dialog.showModal();
}
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.querySelector(".copy").addEventListener("click", () => {
  const range = document.createRange();
  range.selectNodeContents(dialog.querySelector("pre"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  if (navigator.clipboard) navigator.clipboard.writeText(range.toString()).catch(() => {});
});
dialog.addEventListener("close", () => { if (location.hash.startsWith("#cell-")) history.replaceState(null, "", location.pathname + location.search); });
const follow = () => { if (location.hash.startsWith("#cell-")) openCell(location.hash.slice(6)); };
addEventListener("hashchange", follow);

for (const table of document.querySelectorAll("table[data-table]")) {
  const name = table.dataset.table, near = document.querySelector(`.tools[data-for="${name}"]`);
  const input = near.querySelector("input"), count = near.querySelector("output"), data = read(`${name}-data`);
  if (!data) { inPage(table, input, count); continue; }
  paged(table, data, input, count, near, name !== "cells" ? null : (cell, k, column) => {
    if (column !== 0) return false;
    const link = element("button", data.rows[k][0], { type: "button", class: "link" });
    link.addEventListener("click", () => openCell(data.rows[k][0]));
    cell.append(link);
    return true;
  });
}
follow();

/* The plot: hover, arrow keys, and one task at a time. */
const plot = document.querySelector("svg.plot");
if (plot) {
  const said = document.getElementById("said"), pick = document.getElementById("pick"), points = [...plot.querySelectorAll(".point")];
  const say = point => { said.textContent = point.dataset.words; };
  for (const point of points) {
    point.addEventListener("mouseenter", () => say(point));
    point.addEventListener("focus", () => say(point));
    point.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const reachable = points.filter(other => !pick.value || other.dataset.task === pick.value);
      const next = reachable[(reachable.indexOf(point) + step + reachable.length) % reachable.length];
      points.forEach(other => other.setAttribute("tabindex", other === next ? "0" : "-1"));
      next.focus();
    });
  }
  pick.addEventListener("change", () => {
    plot.classList.toggle("picked", pick.value !== "");
    for (const mark of plot.querySelectorAll("[data-task]")) mark.classList.toggle("on", mark.dataset.task === pick.value);
    const first = points.find(point => !pick.value || point.dataset.task === pick.value);
    points.forEach(other => other.setAttribute("tabindex", other === first ? "0" : "-1"));
  });
}

/* Paper cannot be clicked: everything is open on it. */
let closed = [];
addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; closed.forEach(d => { d.open = true; }); });
addEventListener("afterprint", () => { closed.forEach(d => { d.open = false; }); });
